"""The rules of an emulated link, one by one and together; no I/O and no clock."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.profile import Outage, Path
from transports.shaper import PACKET_BYTES, Shaper


def shaper(path: Path, *, rtt_s: float = 0.1, seed: int = 0, opened: float = 0.0) -> Shaper:
    return Shaper(path, rtt_s, seed, opened)


def test_nothing_in_the_way() -> None:
    free = shaper(Path())
    assert [free.put(1000, now) for now in (0.0, 0.5, 0.5, 7.0)] == [0.0, 0.5, 0.5, 7.0]


def test_delay() -> None:
    late = shaper(Path(delay_s=0.25))
    assert [late.put(size, now) for size, now in ((1, 0.0), (10**9, 1.0))] == [0.25, 1.25]


def test_rate() -> None:
    line = shaper(Path(delay_s=1.0, rate_bits_s=8000))  # 1000 bytes a second
    assert line.put(500, 0.0) == 1.5
    assert line.put(500, 0.0) == 2.0  # waits for the one before it
    assert line.put(1000, 10.0) == 12.0  # the line was idle; nothing was saved up
    assert line.put(0, 10.5) == 12.0


@pytest.mark.parametrize("size", [1, 77, 1448, 16384])
def test_rate_is_exact_over_long_runs(size: int) -> None:
    line = shaper(Path(delay_s=0.02, jitter_s=0.01, rate_bits_s=100e6))
    count = 10_000
    out = [line.put(size, 0.0) for _ in range(count)][-1]
    assert out == pytest.approx(0.02 + 8 * size * count / 100e6, abs=0.01)


def test_rate_is_exact_with_losses_and_jitter() -> None:
    path = Path(delay_s=0.02, jitter_s=0.02, rate_bits_s=100e6, loss=0.01)
    line = shaper(path, rtt_s=0.04)
    out = [line.put(25_000, 0.0) for _ in range(4000)][-1]  # 8 s of line time
    assert out == pytest.approx(8.0, abs=0.5)


def test_bucket_lets_a_burst_through() -> None:
    line = shaper(Path(rate_bits_s=8000, burst_bytes=2000), opened=-10.0)
    assert [line.put(1000, 0.0) for _ in range(4)] == [0.0, 0.0, 1.0, 2.0]
    assert [line.put(1000, 100.0) for _ in range(3)] == [100.0, 100.0, 101.0]


def test_bucket_does_not_change_the_rate_of_a_long_run() -> None:
    line = shaper(Path(rate_bits_s=8e6, burst_bytes=100_000), opened=-10.0)
    assert [line.put(1000, 0.0) for _ in range(10_000)][-1] == pytest.approx(9.9)


def test_order_is_kept_under_jitter() -> None:
    line = shaper(Path(delay_s=0.05, jitter_s=0.05))
    outs = [line.put(100, now / 10_000) for now in range(10_000)]
    assert outs == sorted(outs)
    assert len(set(outs)) < len(outs)  # some had to wait for those before them


def test_jitter_is_spread_evenly() -> None:
    line = shaper(Path(delay_s=0.05, jitter_s=0.02))
    took = [line.put(100, float(now)) - now for now in range(20_000)]
    assert min(took) >= 0.03 - 1e-9
    assert max(took) <= 0.07 + 1e-9
    assert statistics.mean(took) == pytest.approx(0.05, abs=0.0005)
    assert statistics.stdev(took) == pytest.approx(0.04 / math.sqrt(12), rel=0.02)


@pytest.mark.parametrize("size", [1, 1448, 1449, 10 * 1448, 300_000])
def test_share_of_lost_packets(size: int) -> None:
    line = shaper(Path(loss=0.02))
    packets = 0
    while packets < 200_000:
        line.put(size, 0.0)
        packets += math.ceil(size / PACKET_BYTES)
    # Repetitions are lost as often: a packet is lost 1 / (1 - p) times for each loss.
    assert line.losses / packets == pytest.approx(0.02 / 0.98, rel=0.1)


def test_a_lost_packet_in_the_middle_comes_a_round_trip_later() -> None:
    stalls = losses_of_one(packets=1000, loss=0.0005)
    assert stalls
    found = [round(stall, 2) for stall in stalls]
    assert {0.1, 0.2} <= set(found) <= {0.1, 0.2, 0.3, 0.4}  # at the tail; lost again
    assert found.count(0.1) > 0.98 * len(found)


def test_a_lost_packet_at_the_tail_is_noticed_by_a_probe() -> None:
    stalls = losses_of_one(packets=3, loss=0.001)
    assert min(stalls) == pytest.approx(0.2)
    line = shaper(Path(loss=0.5), rtt_s=0.001)
    assert min(
        s for s in (line.put(1, now) - now for now in range(0, 9000, 90)) if s
    ) == pytest.approx(0.01)


def losses_of_one(packets: int, loss: float) -> list[float]:
    """How late pieces are in which something was lost; the round trip is 0.1 s, the rate high."""
    line = shaper(Path(loss=loss, rate_bits_s=1e12))
    stalls = []
    for now in range(0, 400_000, 100):
        late = line.put(packets * PACKET_BYTES, float(now)) - now
        if late > 0.01:
            stalls.append(late)
    return stalls


def test_what_is_lost_again_waits_for_timeouts_that_double() -> None:
    line = shaper(Path(loss=0.5), rtt_s=0.05)
    found = {round(line.put(1, now) - now, 6) for now in range(0, 10**6, 1000)}
    assert {0.0, 0.1, 0.3, 0.7, 1.5} <= found  # a probe after 0.1 s, timeouts of 0.2, 0.4, 0.8 s


def test_everything_behind_a_loss_waits() -> None:
    line = shaper(Path(delay_s=0.01, loss=0.01), rtt_s=0.5)
    outs = [line.put(100, now / 1000) for now in range(2000)]
    held = [out - now / 1000 for now, out in enumerate(outs)]
    worst = held.index(max(held))
    assert outs[worst] == outs[worst + 1] == outs[worst + 100]


def test_outage() -> None:
    line = shaper(Path(delay_s=0.5, rate_bits_s=8000, outages=(Outage(10, 5),)), opened=100.0)
    assert line.put(1000, 109.0) == 110.5  # was on the line when the outage began: still arrives
    assert line.put(1000, 109.5) == 116.5
    assert line.put(1000, 112.0) == 117.5
    assert line.put(1000, 130.0) == 131.5


def test_outage_interrupts_a_transmission() -> None:
    line = shaper(Path(rate_bits_s=8000, outages=(Outage(1, 2), Outage(4, 10))))
    assert line.put(3000, 0.0) == 15.0  # one second before, one between, one after


def test_outage_without_a_rate() -> None:
    line = shaper(Path(delay_s=0.1, outages=(Outage(1, 2),)))
    assert [line.put(10**9, now) for now in (0.9, 1.0, 2.9, 3.0)] == pytest.approx(
        [1.0, 3.1, 3.1, 3.1]
    )


def test_equal_seeds_give_equal_links() -> None:
    path = Path(delay_s=0.05, jitter_s=0.02, rate_bits_s=1e7, loss=0.05)
    sizes = [random.Random(1).randrange(100_000) for _ in range(500)]

    def run(seed: int) -> list[float]:
        line = shaper(path, seed=seed)
        return [line.put(size, now / 10) for now, size in enumerate(sizes)]

    assert run(1) == run(1)
    assert run(1) != run(2)


paths = st.builds(
    lambda delay, jitter, rate, burst, loss, outages: Path(
        delay,
        min(jitter, delay),
        rate,
        burst,
        loss,
        tuple(Outage(10.0 * i, length) for i, length in enumerate(outages)),
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([1e4, 1e6, 1e9, math.inf]),
    st.sampled_from([0, 1000, 1_000_000]),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.lists(st.floats(0.01, 9), max_size=4),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(paths, st.lists(st.tuples(st.integers(0, 300_000), st.floats(0, 5)), max_size=40))
def test_what_holds_of_every_link(path: Path, pieces: list[tuple[int, float]]) -> None:
    line = Shaper(path, 2 * path.delay_s, 0, 0.0)
    now = total = before = 0.0
    for size, pause in pieces:
        now += pause
        out = line.put(size, now)
        assert out >= before  # never out of order
        assert out >= now + path.delay_s - path.jitter_s - 1e-9  # never too early
        total += size
        earliest = 8 * (total - path.burst_bytes) / path.rate_bits_s
        assert out >= earliest + path.delay_s - path.jitter_s - 1e-6  # never faster than the rate
        before = out


@pytest.mark.parametrize("rate", [1e4, 1e6, 1e9, 1e11, math.inf])
def test_pieces_and_windows_are_bounded(rate: float) -> None:
    line = shaper(Path(delay_s=0.3, rate_bits_s=rate), rtt_s=0.6)
    assert 16 << 10 <= line.piece_bytes <= 256 << 10
    assert 1 << 20 <= line.window_bytes <= 256 << 20
