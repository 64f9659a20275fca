"""Finding out, in the clear and at their owner, whether a model's values fit a small ring.

A ring of 48 bits has room for magnitudes below 2^(46 - 2f), 16 384 at f = 16, in all that a model
comes to on the way. What passes it comes back as another number, and nobody sees it happen: the
parties see masked values only. So the model's owner looks before, on inputs like those to come.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mpcnet.errors import CalibrationError, RangeError
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.clear.recording import RecordingSuite, Sighting
from protocols.device import Device
from protocols.party import Party
from protocols.ring.ring import Ring, RingBits
from protocols.shares import Sharing
from transports import Exchange, Limits

__all__ = ["Calibration", "LayerRange", "calibrate"]

MARGIN: Final = 4.0

Sample: TypeAlias = Tensor | Sequence[Tensor]

_Number = Annotated[float, msgspec.Meta(ge=0)]


class LayerRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The largest magnitude that one layer met.

    Attributes:
        layer: the module's path in the model; "" outside of all modules.
        operator: what needs the room: an input, a truncation, a comparison, a reveal.
        largest: before any truncation.
        allowed: what it has to stay below.
    """

    layer: str
    operator: str
    largest: _Number
    allowed: _Number

    @property
    def headroom_bits(self) -> float:
        """Powers of two between the two; negative where it does not fit."""
        return math.log2(self.allowed / self.largest) if self.largest else math.inf

    def __str__(self) -> str:
        name = self.layer or "the model itself"
        return f"{name} ({self.operator}): {self.largest:.6g} of {self.allowed:.6g}"


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `calibrate` found. It tells how large a model's values are, so it is the owner's.

    Attributes:
        ring_bits, scale_bits: of the ring and the encoding that it holds for.
        margin: how many times larger than in the samples values may become.
        model: a digest of the model's weights.
        samples: how many there were.
        max_abs_error: largest difference of the outputs from those of the plain model.
        layers: in the order of the first use; of several uses of a layer, the worst.
    """

    ring_bits: RingBits
    scale_bits: int
    margin: float
    model: str
    samples: int
    max_abs_error: float
    layers: tuple[LayerRange, ...]

    def __str__(self) -> str:
        head = f"ring of {self.ring_bits} bits, {self.scale_bits} of them fractional"
        lines = [f"{head}; {self.samples} samples, off by {self.max_abs_error:.2g} at most"]
        lines += [f"  {layer}, {layer.headroom_bits:.1f} bits left" for layer in self.layers]
        return "\n".join(lines)

    @property
    def beyond(self) -> tuple[LayerRange, ...]:
        """The layers that do not fit, times the margin."""
        return tuple(x for x in self.layers if x.largest * self.margin >= x.allowed)

    def check(self) -> None:
        """Raises:
        RangeError: some layers do not fit.
        """
        if self.beyond:
            raise RangeError(self.ring_bits, self.scale_bits, [str(x) for x in self.beyond])

    def check_for(self, model: nn.Module, ring_bits: int, scale_bits: int) -> None:
        """Whether it may vouch for a model in a session.

        Raises:
            CalibrationError: it is of another model, or for another ring or scale.
            RangeError: some layers do not fit.
        """
        if (self.ring_bits, self.scale_bits) != (ring_bits, scale_bits):
            raise CalibrationError(
                f"the model was calibrated for a ring of {self.ring_bits} bits with scale_bits = "
                f"{self.scale_bits}, and the session has {ring_bits} and {scale_bits}: calibrate "
                f"it for these, or configure those"
            )
        if self.model != _digest(model):
            raise CalibrationError("the calibration is of other weights: calibrate these, too")
        self.check()

    def save(self, path: Path | str) -> None:
        """Writes it as JSON."""
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def load(cls, path: Path | str) -> Calibration:
        """Reads what `save` wrote.

        Raises:
            CalibrationError: the file is something else.
        """
        try:
            return msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except msgspec.MsgspecError as error:
            raise CalibrationError(f"{path} is no calibration: {error}") from None


def calibrate(
    model: nn.Module,
    samples: Sequence[Sample],
    *,
    ring_bits: RingBits = 48,
    scale_bits: int | None = None,
    margin: float = MARGIN,
    check: bool = True,
) -> Calibration:
    """Runs a model on samples as the protocols would, in the clear, and compares magnitudes.

    It goes through the same table of operators and the same functions as on secrets, so what they
    come to on the way counts as well: sums of a softmax, squares of a normalisation. Values are
    whole words here and are not cut off. Nothing is sent; call it where the weights are.

    Args:
        model: as it will be given to `Session.private`; stays as it is.
        samples: inputs like those to come, the extreme ones above all; each a tensor, or the
            tensors that the model takes.
        ring_bits, scale_bits: of the sessions to come; by default the scale that suits the ring.
        margin: how many times larger than in the samples values may become: 4 leaves two bits.
        check: raises where layers do not fit; else see `Calibration.beyond`.

    Raises:
        RangeError: values of some layers are too large for the ring.
        UnsupportedOperator, EncodingError: as on secrets.
        ValueError: no samples, or a margin below 1.
    """
    if not samples or not margin >= 1:
        raise ValueError(f"calibration with {len(samples)} samples and a margin of {margin}")
    ring = Ring(ring_bits)
    tuples = [(x,) if isinstance(x, Tensor) else tuple(x) for x in samples]
    # In a thread of its own, so that it works where a loop is running already.
    with ThreadPoolExecutor(1, "calibrate") as thread:
        run = thread.submit(lambda: asyncio.run(_recorded(model, tuples, ring, scale_bits)))
        suite_scale, sightings, error = run.result()
    found = Calibration(
        ring_bits=ring_bits,
        scale_bits=suite_scale,
        margin=margin,
        model=_digest(model),
        samples=len(samples),
        max_abs_error=error,
        layers=_worst(sightings),
    )
    if check:
        found.check()
    return found


class _Rehearsal(Session):
    """A session that comes before the calibration."""

    def _vouch(self, model: nn.Module, calibration: Calibration | None) -> None:
        """That is what it is for."""


async def _recorded(
    model: nn.Module, samples: Sequence[tuple[Tensor, ...]], ring: Ring, scale_bits: int | None
) -> tuple[int, list[Sighting], float]:
    """The scale, what was met, and how far the outputs are from the plain model's."""
    exchange = Exchange(0, {}, Limits(), {0: "calibration"})
    device, stack = Device(exchange.holding), [""]
    suite = RecordingSuite(Party(exchange, 0, 1, device), scale_bits, ring, lambda: stack[-1])
    error = 0.0
    try:
        session = _Rehearsal(suite, ["calibration"])
        plain, hidden = deepcopy(model), deepcopy(model)

        async def program(session: Session) -> None:
            nonlocal error
            with _following(hidden, stack):
                stack.append("weights")
                session.private(hidden, owner=0)
                stack.pop()
                for sample in samples:
                    error = max(error, await _compared(session, plain, hidden, sample))
            await suite.settled()

        with torch.no_grad():
            await session.run(program)
        return suite.scale_bits, suite.sightings, error
    finally:
        await suite.close()
        device.close()
        await exchange.close()


async def _compared(
    session: Session, plain: nn.Module, hidden: nn.Module, sample: tuple[Tensor, ...]
) -> float:
    """How far the outputs are apart."""
    exact = [x for x in tree_leaves(plain(*sample)) if isinstance(x, Tensor)]
    outputs: list[Any] = tree_leaves(hidden(*(_shared(session, x) for x in sample)))
    ours = [await x.reveal() for x in outputs if isinstance(x, SecretTensor)]
    if len(ours) != len(exact):
        return math.inf
    apart = [(a - b).abs().max() for a, b in zip(ours, exact, strict=True) if a.numel()]
    return max((float(x) for x in apart), default=0.0)


def _shared(session: Session, x: Tensor) -> SecretTensor:
    """An input that nobody owns any more, so that the protocols and not their owner do the work."""
    if not x.is_floating_point():
        x = x.to(torch.float64)
    owned = session.share(x, owner=0).sharing
    return session.wrap(Sharing(owned.shape, owned.scale_bits, owned.share))


@contextmanager
def _following(model: nn.Module, stack: list[str]) -> Iterator[None]:
    """While entered, the stack tells which module is running."""
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda m, i, name=name: stack.append(name)))
        hooks.append(module.register_forward_hook(lambda m, i, o: _left(stack), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _left(stack: list[str]) -> None:
    stack.pop()


def _worst(sightings: Sequence[Sighting]) -> tuple[LayerRange, ...]:
    """Of each layer and operator what comes closest."""
    worst: dict[tuple[str, str], LayerRange] = {}
    for seen in sightings:
        step = 2.0**-seen.scale_bits
        found = LayerRange(seen.place, seen.operator, seen.peak * step, 2.0**seen.room_bits * step)
        key = (seen.place, seen.operator)
        if key not in worst or found.headroom_bits < worst[key].headroom_bits:
            worst[key] = found
    return tuple(worst.values())


def _digest(model: nn.Module) -> str:
    """Hex digest of all weights and buffers, by their names."""
    state = hashlib.blake2b(digest_size=16)
    for name, weight in model.state_dict().items():
        state.update(f"{name} {weight.dtype} {tuple(weight.shape)};".encode())
        state.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
