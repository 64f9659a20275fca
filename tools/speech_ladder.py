"""What each rung of the ladder of streaming models costs for a second of speech.

    python -m tools.speech_ladder
    python -m tools.speech_ladder --chunk 0.8

Parties and dealer share this process. Rounds and bytes are exact and do not depend on the weights,
which are random here; processor time is that of all three together, one thread, medians of
chunks, the rungs in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import mpcnet
from apps.speech.prompt_model import LADDER, PromptNetwork, look_ahead
from apps.speech.streaming import NetworkStream
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.ring.library import warm_kernels

__all__ = ["main"]

_CLASSES, _FEATURES, _FRAMES_A_SECOND = 11, 40, 100
_SETTLING, _COUNTED = 3, 6  # chunks
_DEALER = 2


def main() -> None:
    """Streams chunks through every rung, and prints what a second takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chunk", type=float, default=0.4, help="seconds")
    parser.add_argument("--turns", type=int, default=3, help="of all rungs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warm_kernels()
    chunk = round(arguments.chunk * _FRAMES_A_SECOND / 4) * 4
    readings: dict[str, list[tuple[float, ...]]] = {rung: [] for rung in LADDER}
    for _ in range(arguments.turns):
        for rung in LADDER:
            readings[rung] += mpcnet.run(_Program(rung, chunk).run, parties=2)[0]
    table = Table(title=f"Per second of speech, chunks of {chunk} frames")
    for heading in (
        "rung", "width", "layers", "look-ahead, ms", "parameters", "ReLU outputs", "rounds a chunk",
        "speaker sends, kB", "model sends, kB", "dealer sends, kB", "processor, s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for rung, (width, layers) in LADDER.items():
        network = _network(rung)
        columns = zip(*readings[rung], strict=True)
        rounds, *sent, processor_s = (median(column) for column in columns)
        scale = _FRAMES_A_SECOND / chunk
        table.add_row(
            rung,
            str(width),
            str(len(layers) + 1),
            f"{10 * look_ahead(layers)}",
            f"{sum(p.numel() for p in network.parameters()):,}",
            f"{_relu_outputs(network):,}",
            f"{rounds:.0f}",
            *(f"{scale * size / 1e3:.0f}" for size in sent),
            f"{scale * processor_s:.3f}",
        )
    Console(width=160).print(table)


class _Program:
    """A rung's chunks one by one, at both parties."""

    def __init__(self, rung: str, chunk: int) -> None:
        self._rung, self._chunk = rung, chunk
        self._sent = [0, 0, 0]  # payload bytes so far: of the speaker, the model, the dealer

    async def run(self, session: Session) -> list[tuple[float, ...]]:
        """For each chunk that counts: rounds, bytes of each participant, processor time."""
        model = session.private(_network(self._rung), owner=1)
        stream = NetworkStream(model)
        await session.prepared()
        readings = []
        for index in range(_SETTLING + _COUNTED):
            begun_s, before = time.process_time(), await self._counted(session)
            await self._one(session, stream)
            after = await self._counted(session)
            sent = [now - then for now, then in zip(after, before, strict=True)]
            if index >= _SETTLING:
                readings.append((session.rounds, *sent, time.process_time() - begun_s))
        return readings

    async def _one(self, session: Session, stream: NetworkStream) -> None:
        shape = (1, _FEATURES, self._chunk)
        slot = asyncio.get_running_loop().create_future() if session.rank == 0 else None
        with torch.no_grad():
            logits = stream.push(session.share(slot, owner=0, shape=shape))
        if not isinstance(logits, SecretTensor):
            raise TypeError("a chunk settled no frame: give a longer one")
        revealed = logits.reveal(to=0)
        await session.prepared()
        if slot is not None:
            slot.set_result(4 * torch.rand(shape))
        await revealed

    async def _counted(self, session: Session) -> list[int]:
        """Payload bytes that each participant has sent to the parties so far."""
        await session.barrier()
        stats = session.suite.party.exchange.stats
        self._sent[session.rank] = sum(link.payload_sent for link in stats.values())
        if session.rank == 1:
            self._sent[_DEALER] = stats[_DEALER].payload_received
        await session.barrier()
        return list(self._sent)


def _network(rung: str) -> PromptNetwork:
    width, layers = LADDER[rung]
    return PromptNetwork(_CLASSES, _FEATURES, width=width, layers=layers).requires_grad_(False)


def _relu_outputs(network: PromptNetwork) -> int:
    """In a second of speech."""
    outputs, frames = 0, _FRAMES_A_SECOND
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv1d)]
    for convolution in convolutions[:-1]:
        frames //= convolution.stride[0]
        outputs += frames * convolution.out_channels
    return outputs


if __name__ == "__main__":
    main()
