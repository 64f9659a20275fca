"""Networks as text: what is read, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import math

import pytest

from transports.errors import ProfileError
from transports.profile import PROFILES, Outage, Path, parse_profile


def test_a_description() -> None:
    profile = parse_profile("delay=40ms,jitter=2ms,rate=100mbit,loss=0.1%")
    assert profile.there == profile.back == Path(0.04, 0.002, 100e6, 0, 0.001)
    assert profile.rtt_s == pytest.approx(0.08)
    assert profile.text == "delay=40ms,jitter=2ms,rate=100mbit,loss=0.1%"
    assert profile.seed == 0


def test_the_two_ways_may_differ() -> None:
    profile = parse_profile("delay=10ms/30ms,rate=1mbit/2mbit,burst=1kB/0")
    assert profile.there == Path(0.01, 0, 1e6, 1000)
    assert profile.back == Path(0.03, 0, 2e6, 0)
    assert profile.rtt_s == pytest.approx(0.04)


def test_a_name_and_what_changes_it() -> None:
    plain, changed = parse_profile("satellite"), parse_profile("satellite, loss=0, seed=7")
    assert plain.there.loss == 0.001
    assert changed.there == dataclasses.replace(plain.there, loss=0.0)
    assert changed.seed == 7


@pytest.mark.parametrize("name", PROFILES)
def test_named_profiles_can_be_read(name: str) -> None:
    profile = parse_profile(name)
    for path in (profile.there, profile.back):
        assert 0 < path.delay_s < 1
        assert 0 < path.jitter_s <= path.delay_s
        assert 1e6 <= path.rate_bits_s < math.inf


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250us", 250e-6), ("1.5ms", 0.0015), ("2s", 2.0), ("0", 0.0), ("0ms", 0.0), (" 3 ms", 0.003)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_profile(f"delay={text}").there.delay_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "bits"), [("9600bit", 9600), ("64kbit", 64e3), ("2.5gbit", 2.5e9)]
)
def test_rates(text: str, bits: float) -> None:
    assert parse_profile(f"rate={text}").there.rate_bits_s == bits


def test_without_a_rate_there_is_no_limit() -> None:
    assert parse_profile("delay=1ms").there.rate_bits_s == math.inf


def test_outages_come_in_order() -> None:
    profile = parse_profile("outage=1s@30s,outage=500ms@10s/250ms@9s")
    assert profile.there.outages == (Outage(10, 0.5), Outage(30, 1))
    assert profile.back.outages == (Outage(9, 0.25), Outage(30, 1))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no profile ''; there are lan, metro"),
        ("moon", "no profile 'moon'; there are lan"),
        ("delay", "no profile 'delay'"),
        ("lan,delay", "'delay' is none of delay, jitter, rate, burst, loss, outage, seed"),
        ("delays=4ms", "'delays=4ms' is none of delay"),
        ("delay=40", "delay=40 is not a number and one of us, ms, s"),
        ("delay=-1ms", "delay=-1ms is not a number"),
        ("delay=1e9ms", "is not a number"),
        ("delay=5s", "longer than 4 s"),
        ("delay=1ms/2ms/3ms", "more than a value there and one back"),
        ("delay=1ms,jitter=2ms", "cannot be more than the delay"),
        ("delay=5ms/1ms,jitter=2ms", "cannot be more than the delay"),
        ("rate=100", "one of bit, kbit, mbit, gbit"),
        ("rate=100MB", "one of bit, kbit, mbit, gbit"),
        ("rate=0", "less than 1 kbit"),
        ("loss=51%", "more than 50%"),
        ("loss=1ms", "one of %"),
        ("burst=1mbit", "one of B, kB, MB, KiB, MiB"),
        ("outage=2s", "not like outage=2s@10s"),
        ("outage=2s@10", "outage=10 is not a number"),
        ("outage=2s@10s,outage=2s@11s", "two outages overlap"),
        ("seed=x", "seed=x is not a whole number"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(text)
    assert why in caught.value.why
    assert str(caught.value) == f"network {text!r}: {caught.value.why}"
