"""Is what the parties compute what the model says? Recordings streamed privately, and in the clear.

    python -m tools.speech_private --data recordings.zip
    python -m tools.speech_private --data recordings.zip --rung large --strings 100 --json

Recordings that no training heard go chunk by chunk through the parties, as from a microphone, some
speakers at a time; parties and dealer share this process. Each is held against the same chunks in
the clear, and against one pass over the whole utterance. The exit status is 1 if a transcript
differs.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

import mpcnet
from apps.speech.audio import OffsetFilter
from apps.speech.config import LIVE_WEIGHTS, Network, SpeechConfig
from apps.speech.decoding import error_rate, greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.capture import Block
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Heard, Pace, Switchboard
from apps.speech.prompt_model import DEFAULT_RUNG
from apps.speech.streaming import NetworkStream
from mpcnet import Session
from protocols.ring.library import warm_kernels
from tools.speech_data import FSDD_RATE, HELD_OUT_TAKES, Utterance, join, make_strings, read_fsdd

__all__ = ["Comparison", "compare", "main", "stream_privately"]

_SEED = 2024
_SILENCE_S = 0.25  # around a single digit
_BLOCK = 800  # samples


@dataclass(frozen=True)
class Comparison:
    """One utterance, by the parties and in the clear.

    Attributes:
        truth: what was said.
        private, plain: what the parties heard, and what the model hears in one pass.
        frames: of logits.
        frames_apart: of these, where another class is best.
        private_error: largest difference of a logit from the same chunks in the clear.
        streaming_error: the same between these chunks and one pass, both in the clear.
    """

    truth: str
    private: str
    plain: str
    frames: int
    frames_apart: int
    private_error: float
    streaming_error: float


async def stream_privately(
    config: SpeechConfig,
    model: Network,
    recordings: Sequence[tuple[Tensor, int]],
    *,
    speakers: int,
    pace: Pace,
    suite: str = "additive",
) -> list[Heard]:
    """What parties of this process make of each, with the logits of all its frames.

    Args:
        recordings: waveforms (samples,), and samples a second; each is an utterance.
        speakers: how many speak at once; they take turns with the recordings.
        pace: how they are cut.
        suite: "clear" for parties that hide nothing.
    """
    heard: dict[int, list[Heard]] = {index: [] for index in range(len(recordings))}

    async def speak(board: Switchboard, first: int) -> None:
        own = range(first, len(recordings), speakers)

        def tell(change: Heard, _: object) -> None:
            heard[own[change.utterance]].append(change)

        await board.transcribe(_blocks([recordings[i] for i in own]), tell)

    async def program(session: Session) -> None:
        own = copy.deepcopy(model) if session.rank == 1 else config.build()
        hidden = session.private(own, owner=1)
        if session.rank == 1:
            await follow(session, hidden, config, owner=0)
            return
        board = Switchboard(session, hidden, config, owner=0, pace=pace)
        running = asyncio.ensure_future(board.run())
        await asyncio.gather(*(speak(board, first) for first in range(speakers)))
        board.close()
        await running

    await mpcnet.local(2, suite=suite).run(program)
    return [replace(h[-1], logits=torch.cat([c.logits for c in h], 1)) for h in heard.values()]


@torch.no_grad()
def compare(
    config: SpeechConfig, model: Network, spoken: Utterance, heard: Heard, chunk_frames: int
) -> Comparison:
    """What the parties made of an utterance, beside the model's own.

    Args:
        heard: by the parties, with the logits of all frames.
        chunk_frames: at which the stream in the clear is cut.
    """
    samples = OffsetFilter(config.sample_rate).push(torch.from_numpy(spoken.waveform))
    features = log_mel(samples, config)[None]
    # The last chunk is filled up with silence, which belongs to what the network heard.
    features = torch.nn.functional.pad(features, (0, heard.frames - features.shape[2]))
    whole = model(features)[0]  # (classes, frames)
    stream = NetworkStream(model)
    pieces = [stream.push(chunk) for chunk in features.split(chunk_frames, dim=2)]
    cut = torch.cat([piece[0] for piece in (*pieces, stream.flush()) if piece is not None], 1)
    return Comparison(
        truth=spoken.text,
        private=heard.text,
        plain=greedy_decode(whole, config),
        frames=whole.shape[1],
        frames_apart=int((heard.logits.argmax(0) != whole.argmax(0)).sum()),
        private_error=float((heard.logits - cut).abs().max()),
        streaming_error=float((cut - whole).abs().max()),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    asked = _parse(arguments)
    torch.set_num_threads(1)
    warm_kernels()
    config, model = SpeechConfig.load(asked.weights or LIVE_WEIGHTS[asked.rung])
    spoken = _recordings(asked.data, asked.singles, asked.strings)
    recordings = [(torch.from_numpy(each.waveform), FSDD_RATE) for each in spoken]
    begun = time.perf_counter()
    heard = asyncio.run(
        stream_privately(
            config, model, recordings, speakers=asked.speakers, pace=Pace(asked.chunk, asked.chunk)
        )
    )
    seconds = time.perf_counter() - begun
    chunk_frames = round(asked.chunk * config.sample_rate / config.hop_length)
    compared = [
        compare(config, model, *each, chunk_frames) for each in zip(spoken, heard, strict=True)
    ]
    outcome = {
        "rung": str(asked.weights or asked.rung),
        **_summary(compared),
        "audio_seconds": round(sum(len(each.waveform) for each in spoken) / FSDD_RATE, 1),
        "seconds": round(seconds, 1),
    }
    if asked.json:
        print(json.dumps(outcome))
    else:
        _print(outcome, compared)
    return int(outcome["equal"] < outcome["recordings"])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="FSDD's recordings.zip")
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--rung", choices=LIVE_WEIGHTS, default=DEFAULT_RUNG, help="of the shipped ones"
    )
    model.add_argument("--weights", type=Path, metavar="FILE", help="of a model of your own")
    parser.add_argument("--singles", type=int, default=300, help="recordings of one digit")
    parser.add_argument("--strings", type=int, default=60, help="strings of 2 to 8, joined")
    parser.add_argument("--speakers", type=int, default=6, help="who speak at once")
    parser.add_argument("--chunk", type=float, default=0.4, metavar="S", help="seconds of a chunk")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    return parser.parse_args(arguments)


def _recordings(archive: Path, singles: int, strings: int) -> list[Utterance]:
    recordings = read_fsdd(archive, HELD_OUT_TAKES)
    around = (_SILENCE_S, _SILENCE_S)
    return [
        *(join([recording], around) for recording in recordings[:singles]),
        *make_strings(recordings, strings, _SEED),
    ]


def _summary(compared: Sequence[Comparison]) -> dict[str, Any]:
    truths = [each.truth for each in compared]
    return {
        "recordings": len(compared),
        "equal": sum(each.private == each.plain for each in compared),
        "frames": sum(each.frames for each in compared),
        "frames_apart": sum(each.frames_apart for each in compared),
        "max_private_error": max(each.private_error for each in compared),
        "max_streaming_error": max(each.streaming_error for each in compared),
        "words_wrong_private": error_rate(truths, [c.private for c in compared], words=True),
        "words_wrong_plain": error_rate(truths, [c.plain for c in compared], words=True),
    }


def _print(outcome: dict[str, Any], compared: Sequence[Comparison]) -> None:
    console = Console()
    for each in compared:
        if each.private != each.plain:
            console.print(f"{each.truth!r}: heard {each.private!r}, in the clear {each.plain!r}")
    console.print(
        f"{outcome['equal']} of {outcome['recordings']} transcripts equal the plain model's; "
        f"{outcome['frames_apart']} of {outcome['frames']:,} frames have another best class.\n"
        f"Largest difference of a logit: {outcome['max_private_error']:.1e} from the same chunks "
        f"in the clear, and {outcome['max_streaming_error']:.1e} between those and one pass.\n"
        f"Words wrong: {outcome['words_wrong_private']:.2%} private, "
        f"{outcome['words_wrong_plain']:.2%} in the clear.\n"
        f"{outcome['audio_seconds']:,.0f} s of sound in {outcome['seconds']:,.0f} s."
    )


async def _blocks(recordings: Sequence[tuple[Tensor, int]]) -> AsyncIterator[Block]:
    """As fast as they are taken."""
    loop = asyncio.get_running_loop()
    for waveform, rate in recordings:
        for start in range(0, len(waveform), _BLOCK):
            samples = waveform[start : start + _BLOCK]
            yield Block(samples, rate, loop.time(), last=start + _BLOCK >= len(waveform))
            await asyncio.sleep(0)


if __name__ == "__main__":
    sys.exit(main())
