"""One case of the benchmark at one party: set up, run, and what it took here."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import Tensor, nn

from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.shares import Share, Sharing
from tools.bench_cases import Case, layer_elements

__all__ = ["Outcome", "Run", "measure"]

_MODEL_OWNER: Final = 1  # also the party that checks the result; a model's input is of party 0
_WARM_UP_SCALE: Final = 64
_SPLIT_STEP: Final = 2.0**-10


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as this party saw it.

    Attributes:
        seconds: online, from all parties' being prepared until this one holds its share.
        cpu_seconds: of this process, from then until every party holds its share.
        offline_seconds: from the operation's being issued until all parties are prepared.
        offline_cpu_seconds: of this process in that time.
        dealer_cpu_seconds: of the dealer's process, over the whole run.
        rounds: online messages on the longest chain behind the share.
        bytes_sent: online, to all other parties, as frames take them.
        payload_sent: of these, without headers and padding.
        ahead_bytes: payload sent to other parties before any input was there.
        offline_bytes: payload received from the dealer.
        error: largest difference from torch in float64, where this party checks.
    """

    seconds: float
    cpu_seconds: float
    offline_seconds: float
    offline_cpu_seconds: float
    dealer_cpu_seconds: float
    rounds: int
    bytes_sent: int
    payload_sent: int
    ahead_bytes: int
    offline_bytes: int
    error: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A case at one party.

    Attributes:
        runs: those that count, in order.
        setup_seconds: for hiding a model's weights, once; 0 without a model.
        peak_bytes: growth of resident memory in the first run, from before its inputs were shared.
        layer_bytes: ring elements of operands, weights and result of the largest layer.
    """

    runs: list[Run]
    setup_seconds: float
    peak_bytes: int
    layer_bytes: int


async def measure(session: Session, case: Case, scale: int, runs: int, dealer_pid: int) -> Outcome:
    """Runs a case: small, then once in full to warm up, then as often as asked.

    Args:
        scale: the operands are 1 / scale of the full size.
        dealer_pid: the dealer's process, on this machine.
    """
    small = _Trial(session, case, max(scale, _WARM_UP_SCALE), dealer_pid)
    await small.set_up()
    await small.run(seed=0)
    trial = _Trial(session, case, scale, dealer_pid)
    setup_seconds = await trial.set_up()
    await trial.run(seed=1)
    return Outcome(
        runs=[await trial.run(seed=2 + number) for number in range(runs)],
        setup_seconds=setup_seconds,
        peak_bytes=trial.peak_bytes,
        layer_bytes=8 * layer_elements(case, scale),
    )


class _Trial:
    """A case at one size."""

    def __init__(self, session: Session, case: Case, scale: int, dealer_pid: int) -> None:
        self.peak_bytes = 0
        self._session = session
        self._case = case
        self._scale = scale
        self._dealer_pid = dealer_pid
        self._model: nn.Module | None = None

    async def set_up(self) -> float:
        """Hides the weights, if there are any; the seconds that it took."""
        await self._session.barrier()
        started = time.perf_counter()
        if self._case.model is not None:
            device = "cpu" if self._session.rank == _MODEL_OWNER else "meta"
            with torch.device(device):
                model = self._case.build(self._scale)
            if model is not None:
                self._model = self._session.private(model, owner=_MODEL_OWNER)
            await self._session.prepared()
        return time.perf_counter() - started

    async def run(self, seed: int) -> Run:
        """One run, on operands of its own."""
        session, suite = self._session, self._session.suite
        operands = self._case.operands(self._scale, seed)
        parts = [self._parts(x, seed) for x in operands]
        gc.collect()
        memory = _Memory()
        held = [await self._share(own) for own in parts]
        memory.forget_peak()
        await session.barrier()
        issued = _Reading.take(session, self._dealer_pid)
        gates = [_Gate(x) for x in held]
        secrets: list[Tensor] = [session.wrap(gate.sharing) for gate in gates]
        result = self._case.apply(self._model, secrets)
        if not isinstance(result, SecretTensor):
            raise TypeError(f"{self._case.name} gave no secret")
        # Some operators put their truncation off until it is needed; here it is.
        whole = result.sharing.scale_bits <= suite.scale_bits
        forced = result.sharing if whole else suite.rescale(result.sharing)
        await session.prepared()
        prepared = _Reading.take(session, self._dealer_pid)
        for gate in gates:
            gate.open()
        share = await forced.share
        done = time.perf_counter()
        await session.barrier()
        ended = _Reading.take(session, self._dealer_pid)
        self.peak_bytes = self.peak_bytes or memory.growth()
        value = await session.wrap(forced).reveal(to=_MODEL_OWNER)
        error = self._error(value, operands) if session.rank == _MODEL_OWNER else 0.0
        return Run(
            seconds=done - prepared.clock,
            cpu_seconds=ended.cpu - prepared.cpu,
            offline_seconds=prepared.clock - issued.clock,
            offline_cpu_seconds=prepared.cpu - issued.cpu,
            dealer_cpu_seconds=ended.dealer_cpu - issued.dealer_cpu,
            rounds=share.depth,
            bytes_sent=ended.bytes_sent - prepared.bytes_sent,
            payload_sent=ended.payload_sent - prepared.payload_sent,
            ahead_bytes=ended.ahead_sent - issued.ahead_sent,
            offline_bytes=ended.dealt - issued.dealt,
            error=error,
        )

    def _parts(self, operand: Tensor, seed: int) -> list[Tensor]:
        """What each party puts in, in order of rank: all add up to the operand."""
        if self._case.model is not None:
            return [operand]
        generator = torch.Generator().manual_seed(seed)
        rest, parts = operand, []
        for _ in self._session.names[1:]:
            part = torch.rand(operand.shape, generator=generator, dtype=torch.float64)
            part = (part / _SPLIT_STEP).round() * _SPLIT_STEP
            parts.append(part)
            rest = rest - part
        return [*parts, rest]

    async def _share(self, parts: Sequence[Tensor]) -> Sharing:
        """An operand as a sharing that is there: what encoding it takes is not measured."""
        me = self._session.rank
        shared = [
            self._session.share(x if rank == me else None, owner=rank, shape=x.shape)
            for rank, x in enumerate(parts)
        ]
        total: Tensor = shared[0]
        for other in shared[1:]:
            total = total + other
        if not isinstance(total, SecretTensor):
            raise TypeError("a sum of secrets is a secret")
        await total.sharing.share
        return total.sharing

    def _error(self, value: Tensor, operands: Sequence[Tensor]) -> float:
        model = self._case.build(self._scale)
        exact = self._case.apply(None if model is None else model.double(), operands)
        return float((value.double() - exact.double()).abs().max())


class _Gate:
    """A sharing that is there already and is let in later, as an input that comes in.

    Shares that depend on no input are known before: they are not held back.
    """

    def __init__(self, held: Sharing) -> None:
        self._share = held.share.result()
        future: asyncio.Future[Share] = asyncio.get_running_loop().create_future()
        self._let_in = future
        if self._share.offline:
            self.open()
        self.sharing = Sharing(held.shape, held.scale_bits, future, held.owner)

    def open(self) -> None:
        """Lets it in; a second time does nothing."""
        if not self._let_in.done():
            self._let_in.set_result(self._share)


@dataclass(frozen=True)
class _Reading:
    """Clocks and counters of one moment."""

    clock: float
    cpu: float
    dealer_cpu: float
    bytes_sent: int
    payload_sent: int
    ahead_sent: int
    dealt: int

    @classmethod
    def take(cls, session: Session, dealer_pid: int) -> _Reading:
        """What they show now."""
        party = session.suite.party
        stats = party.exchange.stats
        links = [stats[peer] for peer in party.peers]
        return cls(
            # The clock of another process's processor time, by its number: see
            # clock_getcpuclockid in Linux and glibc.
            dealer_cpu=time.clock_gettime((~dealer_pid << 3) | 2),
            bytes_sent=sum(link.online_bytes_sent for link in links),
            payload_sent=sum(link.online_payload_sent for link in links),
            ahead_sent=sum(link.offline_payload_sent for link in links),
            dealt=stats[party.size].offline_payload_received,
            cpu=time.process_time(),
            clock=time.perf_counter(),
        )


class _Memory:
    """How far the resident memory of this process grows from here on; Linux counts it."""

    def __init__(self) -> None:
        self._before = self._read("VmRSS")

    def forget_peak(self) -> None:
        """The peak is from now on, the growth from the beginning."""
        Path("/proc/self/clear_refs").write_text("5")

    def growth(self) -> int:
        """Bytes."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        for line in Path("/proc/self/status").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key == name:
                return int(rest.split()[0]) * 1024
        raise RuntimeError(f"this system does not count {name} in /proc/self/status")
