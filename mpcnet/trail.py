"""The trail of a program: its steps, the lines that took them, and a digest of all of them.

A step is whatever makes the program issue operators: an operator of torch, a share, a reveal. Every
party takes the same steps with the same public facts (shapes, whole numbers, axes), or they compute
different things; so the digest goes into the tags of messages, which costs nothing, and parties
that went apart never read each other's messages.

Real public numbers count with seven digits, and tensors of them with their shape alone: the last
bit of a sine is not the same on all machines.
"""

import hashlib
import sys
import sysconfig
from collections import deque
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
import torch
from torch import Tensor

from mpcnet.tensor import SecretTensor
from protocols.ring.bilinear import Shape

__all__ = [
    "MOST_STEPS",
    "Record",
    "Step",
    "Trail",
    "current_place",
    "place_of_error",
    "told",
]

MOST_STEPS: Final = 256
"""In one record."""

_KEPT: Final = 1 << 14  # steps
_MOST_COUNTED: Final = 1 << 16  # elements of a tensor of whole numbers whose values count
_LONGEST: Final = 80  # characters of a name or a place

_Raw: TypeAlias = tuple[str, tuple[Shape, ...], tuple[str, int], int, bytes]
"""A step as it is kept, without the work of telling it: name, shapes, line, label, digest."""

Word = Annotated[str, msgspec.Meta(max_length=_LONGEST, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Step(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One step of a program.

    Attributes:
        name: what was done, and to what shapes: `mul 3x4, 4`.
        place: the line of the program: `train.py:12`; "" if no line of it was running.
        digest: of the program up to the end of this step.
        label: the number of its first operator.
    """

    name: Word
    place: Word
    digest: Word
    label: int

    def __str__(self) -> str:
        return f"{self.place} ({self.name})" if self.place else self.name


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a party is in its program; what parties tell each other when one waits for long.

    Attributes:
        count: steps so far.
        finished: whether the program has ended.
        start: the first of `steps`, from 0.
        steps: some of them, in order.
    """

    count: Annotated[int, msgspec.Meta(ge=0)]
    finished: bool
    start: Annotated[int, msgspec.Meta(ge=0)]
    steps: Annotated[list[Step], msgspec.Meta(max_length=MOST_STEPS)]

    def at(self, index: int) -> Step | None:
        """The step of that number, if it is among those here."""
        here = self.start <= index < self.start + len(self.steps)
        return self.steps[index - self.start] if here else None


class Trail:
    """The steps of this party's program so far; old ones are forgotten.

    Attributes:
        count: steps so far.
        finished: whether the program has ended.
    """

    def __init__(self) -> None:
        self.count = 0
        self.finished = False
        self._digest = bytes(16)
        self._labels = 0
        self._past: deque[_Raw] = deque(maxlen=_KEPT)  # all steps but the last
        self._last: _Raw = ("", (), ("", 0), 0, b"")
        self._depth = 0
        self._upcoming: tuple[str, tuple[object, ...]] | None = None

    def begin(self, name: str, *facts: object) -> None:
        """A step begins; it counts only if operators are issued before its end.

        Args:
            facts: what all parties give alike: shapes, numbers, secrets for their shapes.
        """
        if not self._depth:
            self._upcoming = (name, facts)
        self._depth += 1

    def end(self) -> None:
        """The step that began last ends."""
        self._depth -= 1
        if not self._depth:
            self._upcoming = None

    def note(self, name: str, *facts: object) -> None:
        """A whole step that issues no operator."""
        self._take(name, facts)

    def mark(self, path: str) -> bytes:
        """Counts an operator in, by its path; returns the digest of the program with it."""
        if self._upcoming is not None:
            name, facts = self._upcoming
            self._upcoming = None
            self._take(name, facts)
        elif not self._depth:
            self._take(path.partition(".")[2], ())
        self._labels += 1
        self._fold(path)
        return self._digest

    @property
    def digest(self) -> bytes:
        """Of the program up to here."""
        return self._digest

    def record(self, start: int) -> Record:
        """Where the program is now, with some steps from `start` on."""
        oldest = self.count - 1 - len(self._past)
        start = max(start, oldest, 0)
        kept = [*self._past, (*self._last[:4], self._digest)] if self.count else []
        steps = kept[start - oldest :][:MOST_STEPS]
        return Record(self.count, self.finished, start, [_step(raw) for raw in steps])

    def step_of(self, label: int) -> int:
        """The step that issued an operator, by the number of the operator; the last if unknown."""
        index = self.count - 1
        if label < self._last[3]:
            for _, _, _, first, _ in reversed(self._past):
                index -= 1
                if first <= label:
                    break
        return max(index, 0)

    def place_of(self, label: int) -> str:
        """The line that asked for an operator, by the operator's number."""
        index = self.step_of(label)
        steps = self.record(index).steps
        return steps[0].place if steps else ""

    def _take(self, name: str, facts: tuple[object, ...]) -> None:
        if self.count:
            self._past.append((*self._last[:4], self._digest))
        self.count += 1
        words, shapes = [name], list[Shape]()
        _tell(facts, words, shapes)
        self._last = (name, tuple(shapes), _place(), self._labels, b"")
        self._fold(" ".join(words))

    def _fold(self, text: str) -> None:
        folded = hashlib.blake2b(text.encode(), digest_size=16, key=self._digest)
        self._digest = folded.digest()


def _step(raw: _Raw) -> Step:
    name, shapes, (file, line), label, digest = raw
    told = ", ".join("x".join(map(str, shape)) or "single" for shape in shapes)
    what = f"{name} {told}" if told else name
    return Step(what[:_LONGEST], _shown(file, line) if file else "", digest[:8].hex(), label)


def told(fact: object) -> str:
    """A public fact in words that are the same at all parties."""
    words: list[str] = []
    _tell(fact, words, [])
    return " ".join(words)


def _tell(fact: object, words: list[str], shapes: list[Shape]) -> None:
    """Adds a public fact in words that are the same at all parties, and shapes of secrets."""
    if isinstance(fact, SecretTensor):
        shapes.append(tuple(fact.shape))
        words.append(f"secret{tuple(fact.shape)}")
    elif isinstance(fact, float):
        words.append(f"{fact:.6e}")
    elif fact is None or isinstance(fact, bool | int | str | torch.dtype):
        words.append(str(fact))
    elif isinstance(fact, torch.Size):
        shapes.append(tuple(fact))
        words.append(f"shape{tuple(fact)}")
    elif isinstance(fact, list | tuple):
        words.append("[")
        for each in fact:
            _tell(each, words, shapes)
        words.append("]")
    elif isinstance(fact, dict):
        _tell([(str(key), fact[key]) for key in sorted(fact, key=str)], words, shapes)
    elif isinstance(fact, Tensor):
        words.append(_tensor_text(fact))
    else:
        words.append(type(fact).__name__)  # a device, which may differ, and the like


def _tensor_text(tensor: Tensor) -> str:
    shape = f"{tensor.dtype}{tuple(tensor.shape)}"
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"
    if not plain or tensor.numel() > _MOST_COUNTED or tensor.is_complex():
        return shape
    if tensor.is_floating_point():
        return shape if tensor.dim() else f"{tensor.item():.6e}"
    values = tensor.detach().contiguous().numpy().tobytes()
    return f"{shape}{hashlib.blake2b(values, digest_size=16).hexdigest()}"


# --- lines ----------------------------------------------------------------------------------------


def _folder(package: str) -> str:
    spec = find_spec(package)
    return "" if spec is None or spec.origin is None else f"{Path(spec.origin).parent}/"


_BELOW: Final = (
    *(folder for p in ("mpcnet", "protocols", "transports", "torch") if (folder := _folder(p))),
    f"{Path(sysconfig.get_path('stdlib')) / 'asyncio'}/",
    *(str(Path(sysconfig.get_path("stdlib")) / f) for f in ("contextlib.py", "functools.py")),
    "<frozen ",
    "<string>",
)
"""Files whose lines are no lines of a program."""


@lru_cache(maxsize=4096)
def _is_below(file: str) -> bool:
    return file.startswith(_BELOW)


def _place() -> tuple[str, int]:
    """File and number of the innermost line of the program that runs now."""
    frame = sys._getframe(2)
    while not (found := not _is_below(frame.f_code.co_filename)) and frame.f_back is not None:
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if found else ("", 0)


def current_place() -> str:
    """The innermost line of the program that runs now, as `train.py:12`; "" if there is none."""
    file, line = _place()
    return _shown(file, line) if file else ""


def place_of_error(error: BaseException) -> str:
    """The innermost line of the program that an error came through; "" if there is none."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not _is_below(file):
            place = _shown(file, trace.tb_lineno)
        trace = trace.tb_next
    return place


def _shown(file: str, line: int) -> str:
    # A folder's name would tell peers about this machine. Cells of notebooks have odd names.
    name = "".join(c for c in file.rpartition("/")[2] if c.isprintable())
    return f"{name[-(_LONGEST - 12) :]}:{line}"
