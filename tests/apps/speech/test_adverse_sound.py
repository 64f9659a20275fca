"""Sound as it comes in real life, through the whole of a live run: the words that were said."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import mpcnet
from apps.speech.audio import OffsetFilter, read_wav, resample
from apps.speech.config import LIVE_WEIGHTS, Network, SpeechConfig
from apps.speech.decoding import GreedyDecoder
from apps.speech.live.capture import Block, capture
from apps.speech.live.client import of_file
from apps.speech.live.feed import Feed, Moments
from apps.speech.live.meter import Meter
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Heard, Pace, listen
from apps.speech.outcome import SAMPLES
from apps.speech.prompt_model import DEFAULT_RUNG, shrinkage
from apps.speech.streaming import NetworkStream
from mpcnet import Session
from tests.apps.speech.tiny_live import CONFIG, network, speech

SAMPLE = "emergency.wav"
RATE = 8000


@pytest.fixture(scope="module")
def shipped() -> tuple[SpeechConfig, Network]:
    return SpeechConfig.load(LIVE_WEIGHTS[DEFAULT_RUNG])


@torch.no_grad()
async def text_of(shipped: tuple[SpeechConfig, Network], sound: Tensor, rate: int) -> str:
    """What a live run hears, with the parties left out: here it is the sound that matters."""
    config, model = shipped
    feed = Feed(
        0, config.num_features, changed=asyncio.Event(), chunk_frames=40, widest_frames=160,
        in_flight=1000, unit=shrinkage(config.layers), tail_frames=config.tail_frames,
    )  # fmt: skip

    async def blocks() -> AsyncIterator[Block]:
        for block in sound.split(rate // 50):
            yield Block(block, rate, 0.0)

    await capture(blocks(), config, feed, Meter())
    stream, decoder = NetworkStream(model), GreedyDecoder(config)
    while (step := feed.ready()) is not None and step.kind == "chunk":
        logits = stream.push(await feed.open(step).slot)
        assert logits is not None
        assert bool(logits.isfinite().all())
        decoder.push(logits[0])
    logits = stream.flush()
    if logits is not None:
        decoder.push(logits[0])
    return decoder.text


async def texts(
    shipped: tuple[SpeechConfig, Network], sounds: Mapping[str, tuple[Tensor, int]]
) -> dict[str, str]:
    return {name: await text_of(shipped, *sound) for name, sound in sounds.items()}


async def test_what_microphones_do_to_a_voice(
    shipped: tuple[SpeechConfig, Network], tmp_path: Path
) -> None:
    waveform, rate = read_wav(SAMPLES / SAMPLE)
    assert rate == RATE
    stereo = tmp_path / "left-only.wav"
    channels = np.stack([waveform.numpy(), np.zeros(len(waveform), np.float32)], axis=1)
    soundfile.write(stereo, np.repeat(channels, 6, axis=0), 48_000, subtype="PCM_24")
    hum = 0.02 * torch.sin(2 * math.pi * 50 * torch.arange(len(waveform)) / RATE)
    sounds = {
        **{f"{r} Hz": (resample(waveform, RATE, r), r) for r in (16_000, 44_100, 48_000)},
        "one channel of two, 24 bits": read_wav(stereo),
        "clipped": ((4 * waveform).clamp(-1, 1), RATE),
        "beyond full scale": (3 * waveform, RATE),
        "offset": (waveform + 0.2, RATE),
        "soft": (0.02 * waveform, RATE),
        "hum": (waveform + hum, RATE),
        "after silence": (torch.cat([torch.zeros(RATE), waveform]), RATE),
    }
    truth = json.loads((SAMPLES / "truth.json").read_text())[SAMPLE]
    assert await texts(shipped, sounds) == dict.fromkeys(sounds, truth)


async def test_what_is_no_speech_has_no_words(shipped: tuple[SpeechConfig, Network]) -> None:
    torch.manual_seed(0)
    tone = torch.sin(2 * math.pi * 50 * torch.arange(RATE) / RATE)
    sounds = {
        "silence": torch.zeros(RATE),
        "one sample": torch.ones(1),
        "an offset": torch.full((RATE,), 0.5),
        "a soft hiss": 0.001 * torch.randn(RATE),
        "a soft hum": 0.02 * tone,
        "no numbers": torch.full((RATE // 2,), torch.nan),
    }
    said = await texts(shipped, {name: (sound, RATE) for name, sound in sounds.items()})
    assert said == dict.fromkeys(sounds, "")


@pytest.mark.parametrize("sizes", [[8000], [1, 2, 3, 1594, 6400], [1599, 1, 1, 6399], [160] * 50])
def test_an_offset_is_taken_off_whatever_the_blocks(sizes: list[int]) -> None:
    sound = speech(1.0, 1)
    whole = OffsetFilter(RATE).push(sound)
    blocks = OffsetFilter(RATE)
    pieces = [blocks.push(block) for block in (sound + 0.25).split(sizes)]
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-6, rtol=0)
    assert OffsetFilter(RATE).push(torch.full((3000,), 0.3)).abs().max() < 1e-6


def test_a_voice_passes_the_filter_of_offsets() -> None:
    tone = torch.sin(2 * math.pi * 120 * torch.arange(RATE) / RATE)
    torch.testing.assert_close(OffsetFilter(RATE).push(tone)[1600:], tone[1600:], atol=0.05, rtol=0)


def test_moments_are_forgotten_but_for_the_last() -> None:
    moments = Moments()
    moments.extend([0.0, 0.1, 0.2])
    moments.forget(2)
    moments.extend([0.3])
    assert (len(moments), moments[2], moments[3]) == (4, 0.2, 0.3)
    with pytest.raises(IndexError, match="forgotten"):
        moments[1]
    moments.forget(100)
    assert moments[3] == 0.3


async def test_a_client_speaks_files_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(44_100 * 75, 0.5, np.float32), 44_100)  # above the usual limit
    sound = of_file(path)
    heard = b"".join([await anext(sound) for _ in range(5)])
    await sound.aclose()
    assert 0.08 < len(heard) / 2 / 16_000 <= 0.1
    assert abs(np.frombuffer(heard, np.int16)[200:] - 16_384).max() < 200


async def test_an_hour_of_speech_would_take_no_more_room_than_a_minute() -> None:
    told, counts = itertools.count(1), list[int]()

    async def endless() -> AsyncIterator[Block]:
        loop = asyncio.get_running_loop()
        for _ in range(30):
            yield Block(speech(0.2, 1), RATE, loop.time())
            await asyncio.sleep(0)

    def tell(_: Heard, __: Meter) -> None:
        if next(told) % 3 == 0:
            counts.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))

    async def program(session: Session) -> None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
        else:
            await listen(session, model, CONFIG, endless(), tell, owner=0, pace=Pace(0.4, 0.4, 2))

    await mpcnet.local(2, suite="clear").run(program)
    assert len(counts) >= 4
    assert counts[-1] < max(counts[1:3]) * 1.1
