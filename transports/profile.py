"""What a network is like, in numbers: named profiles, and others written as text. No I/O here.

A profile describes a link from the party that dials to the one that listens, since of two parties
the one behind the poorer line (a phone, a satellite terminal) is the one that can only dial.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from transports.errors import ProfileError

__all__ = ["PROFILES", "Outage", "Path", "Profile", "parse_profile"]

_LONGEST_DELAY_S: Final = 4.0  # a greeting goes there and back in ten seconds
_LEAST_BITS_S: Final = 1000.0
_MOST_LOSS: Final = 0.5

PROFILES: Final[Mapping[str, str]] = {
    "lan": "delay=100us,jitter=20us,rate=1gbit",
    "metro": "delay=2.5ms,jitter=200us,rate=1gbit",
    "continent": "delay=20ms,jitter=1ms,rate=100mbit,loss=0.01%",
    "transatlantic": "delay=45ms,jitter=2ms,rate=100mbit,loss=0.01%",
    "satellite": "delay=300ms,jitter=10ms,rate=5mbit/50mbit,loss=0.1%",
    "4g": "delay=25ms,jitter=10ms,rate=10mbit/30mbit,loss=0.1%",
    "lossy-wifi": "delay=3ms,jitter=3ms,rate=50mbit,loss=1%",
}
"""Round numbers of the right size; docs/networks.md has the reason for each."""


@dataclass(frozen=True, order=True)
class Outage:
    """The link carries nothing from `start_s` after it was opened, for `length_s`."""

    start_s: float
    length_s: float


@dataclass(frozen=True)
class Path:
    """One direction of a link.

    Attributes:
        delay_s: from one end to the other, of the last bit.
        jitter_s: how much more or less the delay may be, evenly spread.
        rate_bits_s: at which bits are put on the line; infinite for no limit.
        burst_bytes: that may go at once after a pause: the depth of the token bucket.
        loss: probability that a packet has to be sent again.
        outages: in order, apart from one another.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    rate_bits_s: float = math.inf
    burst_bytes: int = 0
    loss: float = 0.0
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True)
class Profile:
    """Both directions of a link.

    Attributes:
        text: what it was parsed from.
        there: from the side that dialled to the side that listened.
        back: from the side that listened to the side that dialled.
        seed: of jitter and loss; equal seeds give equal networks.
    """

    text: str
    there: Path
    back: Path
    seed: int = 0

    @property
    def rtt_s(self) -> float:
        """There and back of a small message on an idle link, without jitter."""
        return self.there.delay_s + self.back.delay_s


def parse_profile(text: str) -> Profile:
    """A network out of text.

    Args:
        text: a name out of `PROFILES`, or `key=value` pairs, or a name and then pairs that change
            it, between commas: `delay=40ms,jitter=2ms,rate=100mbit,loss=0.1%`,
            `satellite,loss=0,outage=2s@10s`. `a/b` is `a` on the way there and `b` on the way
            back.

    Raises:
        ProfileError: and what is wrong with which part.
    """
    parts = [part.strip() for part in text.split(",")]
    if "=" not in parts[0]:
        if parts[0] not in PROFILES:
            known = ", ".join(PROFILES)
            raise ProfileError(
                text,
                f"there is no profile {parts[0]!r}; there are {known}, or write delay=40ms,...",
            )
        parts = [*PROFILES[parts[0]].split(","), *parts[1:]]
    reader = _Reader(text)
    for part in parts:
        reader.read(part)
    return reader.profile()


class _Reader:
    """A profile in the making."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ways = [Path(), Path()]
        self._seed = 0

    def read(self, part: str) -> None:
        """Takes one `key=value`."""
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or (key not in _FIELDS and key != "seed"):
            known = ", ".join((*_FIELDS, "seed"))
            raise ProfileError(self._text, f"{part!r} is none of {known}, each with = and a value")
        if key == "seed":
            self._seed = int(self._number(key, value, {"": 1.0}))
            return
        values = value.split("/")
        if len(values) > 2:
            raise ProfileError(self._text, f"{part!r} has more than a value there and one back")
        for way, one in enumerate((values[0], values[-1])):
            old = self._ways[way]
            self._ways[way] = replace(old, **_FIELDS[key](self, key, one.strip(), old))

    def profile(self) -> Profile:
        """The whole, if its parts fit together."""
        for path in self._ways:
            if path.jitter_s > path.delay_s:
                why = "jitter goes both ways, so it cannot be more than the delay"
                raise ProfileError(self._text, why)
            for earlier, later in zip(path.outages, path.outages[1:], strict=False):
                if earlier.start_s + earlier.length_s >= later.start_s:
                    raise ProfileError(self._text, "two outages overlap; write them as one")
        return Profile(self._text, self._ways[0], self._ways[1], self._seed)

    def seconds(self, key: str, value: str, _: Path) -> dict[str, Any]:
        """A delay or a jitter."""
        seconds = self._number(key, value, _TIMES)
        if seconds > _LONGEST_DELAY_S:
            raise ProfileError(self._text, f"{key}={value} is longer than {_LONGEST_DELAY_S:g} s")
        return {f"{key}_s": seconds}

    def rate(self, key: str, value: str, _: Path) -> dict[str, Any]:
        """Bits per second."""
        rate = self._number(key, value, {"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9})
        if rate < _LEAST_BITS_S:
            raise ProfileError(self._text, f"{key}={value} is less than 1 kbit (a second)")
        return {"rate_bits_s": rate}

    def burst(self, key: str, value: str, _: Path) -> dict[str, Any]:
        """Bytes."""
        units = {"B": 1, "kB": 1e3, "MB": 1e6, "KiB": 1 << 10, "MiB": 1 << 20}
        return {"burst_bytes": int(self._number(key, value, units))}

    def loss(self, key: str, value: str, _: Path) -> dict[str, Any]:
        """A share of packets."""
        loss = self._number(key, value, {"%": 0.01, "": 1.0})
        if loss > _MOST_LOSS:
            raise ProfileError(self._text, f"{key}={value} is more than {_MOST_LOSS:.0%}")
        return {"loss": loss}

    def outage(self, key: str, value: str, old: Path) -> dict[str, Any]:
        """`length@start`."""
        length, at, start = value.partition("@")
        if not at:
            raise ProfileError(self._text, f"{key}={value} is not like {key}=2s@10s, 2 s from 10 s")
        outage = Outage(self._number(key, start, _TIMES), self._number(key, length, _TIMES))
        return {"outages": tuple(sorted((*old.outages, outage)))}

    def _number(self, key: str, value: str, units: Mapping[str, float]) -> float:
        match = _NUMBER.fullmatch(value.strip())
        if match is not None and (match["unit"] in units or float(match["number"]) == 0):
            return float(match["number"]) * units.get(match["unit"], 0.0)
        named = [unit for unit in units if unit]
        how = f"a number and one of {', '.join(named)}" if named else "a whole number"
        raise ProfileError(self._text, f"{key}={value} is not {how}")


_NUMBER: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z%]*)")
_TIMES: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_FIELDS: Final[Mapping[str, Callable[[_Reader, str, str, Path], dict[str, Any]]]] = {
    "delay": _Reader.seconds,
    "jitter": _Reader.seconds,
    "rate": _Reader.rate,
    "burst": _Reader.burst,
    "loss": _Reader.loss,
    "outage": _Reader.outage,
}
