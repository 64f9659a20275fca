"""Live speech among parties of one process: the plain text, whatever comes when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import msgspec
import pytest
import torch
from torch import Tensor

import mpcnet
from apps.speech.decoding import greedy_decode
from apps.speech.live.capture import Block, capture, paced
from apps.speech.live.feed import Chunk, Feed
from apps.speech.live.meter import Meter
from apps.speech.live.steps import Step, follow
from apps.speech.live.switchboard import Heard, Pace, Switchboard, listen
from apps.speech.live.voice import VoiceGate
from mpcnet import Session
from mpcnet.errors import AppError
from tests.apps.speech.tiny_live import CONFIG, network, speech, whole_pass


async def at_once(waveforms: Sequence[Tensor], block: int = 1000) -> AsyncIterator[Block]:
    """Recordings faster than anybody speaks."""
    loop = asyncio.get_running_loop()
    for waveform in waveforms:
        for start in range(0, len(waveform), block):
            samples = waveform[start : start + block]
            yield Block(samples, 8000, loop.time(), last=start + block >= len(waveform))
            await asyncio.sleep(0.01)


async def run_live(
    blocks: AsyncIterator[Block], gate: VoiceGate | None = None, pace: Pace | None = None
) -> tuple[list[Heard], Meter]:
    heard: list[Heard] = []

    async def program(session: Session) -> Meter | None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
            return None

        def tell(change: Heard, _: Meter) -> None:
            heard.append(change)

        return await listen(session, model, CONFIG, blocks, tell, owner=0, gate=gate, pace=pace)

    meter, _ = await mpcnet.local(2).run(program)
    assert meter is not None
    return heard, meter


def logits_of(heard: Sequence[Heard], utterance: int) -> Tensor:
    return torch.cat([h.logits for h in heard if h.utterance == utterance], dim=1)


async def test_every_utterance_has_the_logits_of_its_whole_pass() -> None:
    waveforms = [speech(0.7, 1), speech(0.05, 2), speech(0.3, 3)]
    heard, meter = await run_live(at_once(waveforms), pace=Pace(0.2, in_flight=3))
    finals = [h for h in heard if h.final]
    assert [h.utterance for h in finals] == [0, 1, 2]
    for waveform, final in zip(waveforms, finals, strict=True):
        whole = whole_pass(waveform, final.frames)
        logits = logits_of(heard, final.utterance)
        torch.testing.assert_close(logits, whole, atol=1e-3, rtol=1e-3)
        assert final.text == greedy_decode(whole, CONFIG)
    texts = [h.text for h in heard if h.utterance == 0]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    reading = meter.reading()
    assert reading["heard_seconds"] == pytest.approx(1.05 + 0.03, abs=0.01)
    assert reading["latency_p95"] > 0


async def test_silence_is_not_sent_and_utterances_part_at_pauses() -> None:
    pause = torch.zeros(16_000)
    waveform = torch.cat([pause, speech(0.5, 1), pause, speech(0.5, 2), pause])
    heard, meter = await run_live(at_once([waveform]), VoiceGate(), Pace(0.8))
    assert [h.utterance for h in heard if h.final] == [0, 1]
    assert 2.0 < meter.heard_s < 4.0  # of 7 seconds: what was said, a lead, and the hang


async def test_nothing_heard_is_nothing_said() -> None:
    heard, meter = await run_live(at_once([torch.zeros(4000)]), VoiceGate())
    assert not heard
    assert meter.heard_s == 0.0


async def test_what_breaks_the_microphone_ends_the_session() -> None:
    async def broken() -> AsyncIterator[Block]:
        yield Block(torch.full((400,), torch.nan), 8000, 0.0)
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        await run_live(broken())


async def test_speakers_come_and_go_and_one_who_leaves_in_mid_word_harms_nobody() -> None:
    waveforms = [speech(0.5, 1), speech(0.3, 2)]
    heard: list[list[Heard]] = [[], [], []]
    leaver_heard = asyncio.Event()

    def hear(i: int, text: Heard) -> None:
        heard[i].append(text)
        if i == 2:
            leaver_heard.set()

    async def endless() -> AsyncIterator[Block]:
        while True:
            yield Block(speech(0.1, 5), 8000, asyncio.get_running_loop().time())
            await asyncio.sleep(0.1)

    async def program(session: Session) -> None:
        model = session.private(network(), owner=1)
        if session.rank == 1:
            await follow(session, model, CONFIG, owner=0)
            return
        board = Switchboard(session, model, CONFIG, owner=0, pace=Pace(0.2))
        sources = [at_once([waveforms[0]]), at_once([waveforms[1]]), endless()]
        speaking = [
            asyncio.ensure_future(board.transcribe(source, lambda h, _, i=i: hear(i, h)))
            for i, source in enumerate(sources)
        ]
        program = asyncio.ensure_future(board.run())
        await asyncio.gather(*speaking[:2])
        await leaver_heard.wait()
        speaking[2].cancel()
        board.close()
        await program
        with pytest.raises(AppError, match="comes to its end"):
            await board.transcribe(endless(), lambda h, m: None)

    await mpcnet.local(2).run(program)
    for number, waveform in enumerate(waveforms):
        final = heard[number][-1]
        assert final.final
        whole = whole_pass(waveform, final.frames)
        torch.testing.assert_close(logits_of(heard[number], 0), whole, atol=1e-3, rtol=1e-3)
    assert not heard[2][-1].final


def feed(**options: int) -> Feed:
    given = {
        "num_features": 2,
        "chunk_frames": 8,
        "widest_frames": 32,
        "in_flight": 2,
        "unit": 4,
        "tail_frames": 4,
    }
    return Feed(7, changed=asyncio.Event(), **(given | options))


def fill(source: Feed) -> Chunk:
    step = source.ready()
    assert step is not None
    chunk = source.open(step)
    assert chunk.slot.done()
    return chunk


async def test_chunks_widen_instead_of_queueing_and_become_narrow_again() -> None:
    source = feed()
    source.put(torch.ones(2, 16), [0.0] * 16)
    assert fill(source).frames == 16
    source.put(torch.ones(2, 8), [0.0] * 8)
    assert fill(source).frames == 8
    source.put(torch.ones(2, 27), [0.0] * 27)
    assert source.ready() is None  # two are under way
    source.settled()
    assert fill(source).frames == 24  # at once: the other three may be the last for a while
    source.put(torch.ones(2, 1), [0.0])
    source.settled()
    assert source.ready() == Step("chunk", 7, 8)
    source.put(torch.ones(2, 100), [0.0] * 100)
    assert source.ready() == Step("chunk", 7, 32)


async def test_an_end_fills_the_open_chunk_with_silence() -> None:
    source = feed()
    chunk = source.open(Step("chunk", 7, 8))
    source.put(torch.ones(2, 2), [1.0, 2.0])
    source.end_utterance()
    assert (await chunk.slot)[0].sum(dim=0).tolist() == [2.0, 2.0] + [0.0] * 6
    assert chunk.heard == 2
    assert source.ready() == Step("end", 7)
    assert source.end() is chunk.utterance
    source.end_utterance()  # twice is once
    idle = source.open(Step("chunk", 7, 8))
    source.close()
    assert idle.slot.done()
    assert source.ready() == Step("stop", 7)


async def test_sound_faster_than_speech_has_to_wait() -> None:
    source = feed()
    source.put(torch.ones(2, 200), [0.0] * 200)
    waiting = asyncio.ensure_future(source.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    for _ in range(2):
        assert fill(source).frames == 32
        await asyncio.sleep(0)
        source.settled()
    assert not waiting.done()  # 136 frames wait, and 128 may
    fill(source)
    await waiting


@pytest.mark.parametrize(
    "step", [["chunk", 0, 0], ["end", 0, 4], ["chunk", 0, 1 << 13], ["chunk", 256, 4], ["jump", 0]]
)
def test_a_step_that_makes_no_sense_is_refused(step: list[object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(step, Step)


async def test_turns_are_told_by_the_seconds_of_sound() -> None:
    turns: list[tuple[bool, int, float]] = []

    def turn(begins: bool, utterance: int, seconds: float) -> None:
        turns.append((begins, utterance, round(seconds, 2)))

    waveforms = [torch.cat([torch.zeros(8000), speech(0.5, 1), torch.zeros(8000)]), speech(0.5, 2)]
    heard = feed(num_features=6, in_flight=1000, chunk_frames=400, widest_frames=4000)
    await capture(at_once(waveforms, 4000), CONFIG, heard, Meter(), VoiceGate(), turn)
    begun, ended, again, over = turns
    assert (begun[:2], ended[:2], again[:2], over[:2]) == (
        (True, 0),
        (False, 0),
        (True, 1),
        (False, 1),
    )
    assert begun[2] == pytest.approx(0.75, abs=0.1)  # 0.3 s before the gate opened
    assert ended[2] == pytest.approx(2.1, abs=0.1)  # 0.6 s after the voice
    assert 2.5 <= again[2] < over[2] == 3.0


async def test_what_nobody_waits_for_is_dropped() -> None:
    source = feed()
    chunk = source.open(Step("chunk", 7, 8))
    source.put(torch.ones(2, 4), [0.0] * 4)
    source.abandon()
    assert not bool((await chunk.slot).any())
    assert source.ready() == Step("stop", 7)


async def test_recordings_come_as_fast_as_they_were_spoken() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    blocks = [b async for b in paced([(torch.zeros(700), 8000), (torch.zeros(400), 16_000)])]
    assert loop.time() - begun >= 0.11
    assert [len(b.samples) for b in blocks] == [160, 160, 160, 160, 60, 320, 80]
    assert [b.last for b in blocks] == [False] * 4 + [True, False, True]
    assert blocks[-1].at - begun == pytest.approx(0.1125, abs=0.01)


def test_the_meter_counts_time_once_where_chunks_overlap() -> None:
    meter = Meter()
    meter.heard_s = 2.0
    for filled_at in (1.0, 1.2):
        meter.chunk(
            frames=40, captured=(filled_at - 0.4, filled_at), filled_at=filled_at,
            revealed_at=filled_at + 0.5, read_at=filled_at + 0.6, processor_s=0.1,
        )  # fmt: skip
    meter.frames([0.9, 1.0], 1.5)
    reading = meter.reading()
    assert reading["real_time_factor"] == pytest.approx(0.35)
    assert reading["stages"] == pytest.approx(
        {"capture": 0.4, "share": 0.0, "network": 0.4, "compute": 0.1, "reveal": 0.1}
    )
    assert (reading["behind"], reading["latency_max"]) == (0.5, pytest.approx(0.6))
    assert "behind 0.50 s" in meter.line()
    assert reading["behind_slope"] == 0.0
    for moment in (2.0, 3.0, 4.0):  # each time a quarter of a second more
        meter.frames([moment - 0.25 * moment], moment)
    assert meter.reading()["behind_slope"] == pytest.approx(0.25, abs=0.05)
