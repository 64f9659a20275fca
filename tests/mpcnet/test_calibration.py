"""Calibration: what it sees, what it refuses, and what it vouches for in a session."""

import asyncio
import logging
import time
from pathlib import Path

import pytest
import structlog
import torch
from torch import Tensor, nn

import mpcnet
from mpcnet.calibration import Calibration, calibrate
from mpcnet.errors import CalibrationError, RangeError
from mpcnet.session import Session
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties

SMALL = Ring(48)


def network(gain: float = 1.0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    with torch.no_grad():
        made[3].weight.mul_(gain)
    return made.requires_grad_(False)


SAMPLES = [torch.linspace(-3, 3, 8).view(1, 1, 8), torch.full((1, 1, 8), 2.0)]


def test_every_layer_is_seen_before_its_truncation() -> None:
    model = network()
    report = mpcnet.calibrate(model, SAMPLES)
    assert (report.ring_bits, report.scale_bits, report.samples) == (48, 16, 2)
    found = {(layer.layer, layer.operator): layer for layer in report.layers}
    assert set(found) >= {("", "input"), ("weights", "input"), ("1", "compare"), ("", "reveal")}
    exact = max(float(model[0](x).abs().max()) for x in SAMPLES)
    assert found["1", "compare"].largest == pytest.approx(exact, abs=1e-3)
    assert found["1", "compare"].allowed == 2.0**14
    assert found["", "input"].largest == 3.0
    logits = max(float(model(x).abs().max()) for x in SAMPLES)
    assert found["", "reveal"].largest == pytest.approx(logits, abs=1e-2)
    assert report.max_abs_error < 1e-3
    assert "1 (compare)" in str(report)


@pytest.mark.parametrize(("gain", "margin"), [(3e4, 1.0), (1e2, 400.0)])
def test_layers_that_do_not_fit_are_named(gain: float, margin: float) -> None:
    model = nn.Sequential(network(), nn.Linear(3, 2)).requires_grad_(False)
    model[1].weight.fill_(1.0)
    with torch.no_grad():
        model[0][0].weight.mul_(gain)
    with pytest.raises(RangeError, match="bits with 16 fractional ones") as caught:
        calibrate(model, SAMPLES, margin=margin)
    assert any(line.startswith("0.1 (compare)") for line in caught.value.layers)
    loose = calibrate(model, SAMPLES, margin=margin, check=False)
    assert {layer.layer for layer in loose.beyond} >= {"0.1"}
    assert not calibrate(model, SAMPLES, margin=1.0, ring_bits=64).beyond


def test_a_product_that_no_word_can_hold_is_seen() -> None:
    """Its int64 sum is zero: 2^64 steps exactly."""

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * x).relu()

    with pytest.raises(RangeError, match="product"):
        calibrate(Square(), [torch.full((3,), 65536.0)])


class Inner(nn.Module):
    """Whose largest value is inside of a function: the sum of squares of a normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x * x.pow(2).mean(-1, keepdim=True).rsqrt(), -1)


def test_what_functions_come_to_on_the_way_counts() -> None:
    calibrate(Inner(), [torch.linspace(-20, 20, 16)])
    with pytest.raises(RangeError):
        calibrate(Inner(), [torch.linspace(-200, 200, 16)])


def test_curves_far_out_are_no_alarm() -> None:
    """Beyond their ends the curve's sum may pass the ring: a bit removes it there."""
    report = calibrate(nn.Sequential(nn.GELU(), nn.SiLU()), [torch.tensor([-3000.0, 0, 3000.0])])
    assert report.max_abs_error < 1e-2


def test_nothing_to_calibrate_with() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        calibrate(network(), [])
    with pytest.raises(ValueError, match=r"margin of 0\.5"):
        calibrate(network(), SAMPLES, margin=0.5)


async def test_inside_a_running_loop() -> None:
    assert not calibrate(network(), SAMPLES).beyond


def test_it_survives_a_file(tmp_path: Path) -> None:
    report = calibrate(network(), SAMPLES)
    report.save(tmp_path / "a.json")
    assert Calibration.load(tmp_path / "a.json") == report
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(CalibrationError, match="no calibration"):
        Calibration.load(tmp_path / "b.json")


async def private(calibration: Calibration | None, ring: Ring, gain: float = 1.0) -> Tensor:
    async def program(session: Session) -> Tensor:
        mine = session.rank == 1
        model = session.private(network(gain), owner=1, calibration=calibration if mine else None)
        x = session.share(SAMPLES[0] if not mine else None, owner=0, shape=SAMPLES[0].shape)
        return await model(x).reveal()

    return (await run_parties(program, ring=ring)).results[0]


async def test_a_calibrated_model_runs() -> None:
    report = await asyncio.to_thread(calibrate, network(), SAMPLES)
    got = await private(report, SMALL)
    torch.testing.assert_close(got, network()(SAMPLES[0]), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("gain", "ring", "why"),
    [(1.0, RING, "calibrated for a ring of 48 bits"), (2.0, SMALL, "of other weights")],
    ids=str,
)
async def test_a_calibration_for_something_else(gain: float, ring: Ring, why: str) -> None:
    report = calibrate(network(), SAMPLES)
    with pytest.raises(CalibrationError, match=why):
        await private(report, ring, gain)


async def test_a_report_of_what_does_not_fit_vouches_for_nothing() -> None:
    report = calibrate(network(), SAMPLES, margin=1e6, check=False)
    with pytest.raises(RangeError):
        await private(report, SMALL)


async def test_no_calibration_is_a_line_in_the_log(own_logging: None) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with structlog.testing.capture_logs() as logs:
        await private(None, SMALL)
        await private(None, RING)
    assert sum("without a calibration" in line["event"] for line in logs) == 1


def test_a_party_alone_looks_out_for_nobody() -> None:
    """The rehearsal of a calibration has no peers, and lasts longer than the first look at them."""

    class Slow(nn.Identity):
        def forward(self, x: Tensor) -> Tensor:
            time.sleep(0.15)
            return x

    report = calibrate(nn.Sequential(Slow(), *network()), SAMPLES * 2)
    assert report.max_abs_error < 1e-3
