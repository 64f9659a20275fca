"""Fits of functions by waves, and waves that every machine computes alike."""

import math

import pytest
import torch

from protocols.errors import ShapeError
from protocols.functions.series import Curve, Parity, Period, fitted
from protocols.powers import power_of_two, wave_powers
from protocols.ring.ring import RING, Ring
from tests.protocols.ringvalues import uniform

FITS: list[tuple[Curve, float]] = [
    (Curve(torch.tanh, -5.0, 5.0, Period(4, 1), "odd"), 1e-5),
    (Curve(torch.reciprocal, 0.875, 8.0, Period(5, 3)), 1e-6),
    (Curve(torch.cosh, -2.0, 2.0, Period(3, 1), "even"), 1e-6),
]


@pytest.mark.parametrize(("curve", "error"), FITS)
def test_a_series_is_as_close_as_it_says(curve: Curve, error: float) -> None:
    series = fitted(curve, error)
    x = torch.linspace(curve.lowest, curve.highest, 3001, dtype=torch.float64)
    assert series.error <= error
    assert (series(x) - curve.function(x)).abs().max() <= 1.1 * series.error
    assert series.coefficients.abs().max() < 100
    assert fitted(curve, error) is series


@pytest.mark.parametrize(("curve", "error"), FITS)
def test_fewer_waves_would_not_do(curve: Curve, error: float) -> None:
    assert fitted(curve, error).waves > fitted(curve, 16 * error).waves


@pytest.mark.parametrize(("parity", "column"), [("odd", 0), ("even", 1)])
def test_symmetric_curves_need_one_kind_of_wave(parity: Parity, column: int) -> None:
    function = torch.tanh if parity == "odd" else torch.cosh
    series = fitted(Curve(function, -2.0, 2.0, Period(3, 1), parity), 1e-4)
    assert not series.coefficients[:, column].any()


def test_a_constant_is_added() -> None:
    curve, error = FITS[0]
    series = fitted(curve, error)
    x = torch.linspace(-4, 4, 9)
    assert torch.allclose(series.raised(2.5)(x), series(x) + 2.5)


def test_periods() -> None:
    assert Period(5, 3).length == pytest.approx(32 / 3)
    assert Period(5, 3).turn(59, RING) == 3
    assert Period(5, 3).turn(22, RING) == 3 << 37
    assert Period(5, 3).turn(43, Ring(48)) == 3 << 16
    for scale_bits, ring in ((60, RING), (44, Ring(48))):
        with pytest.raises(ShapeError, match=f"period.*{ring}"):
            Period(5, 3).turn(scale_bits, ring)


def test_powers_of_two() -> None:
    x = torch.linspace(0, 1, 5000, dtype=torch.float64)
    assert (power_of_two(x) / torch.exp2(x) - 1).abs().max() < 4e-15


@pytest.mark.parametrize("turn", [1, 3 << 37, 12345])
def test_waves(turn: int) -> None:
    x = uniform((9000,), 3)
    for begin, k, rows in wave_powers(x, turn, 40):
        part = (x[begin : begin + rows.shape[1]] * turn).double() * (2 * math.pi * 2.0**-64)
        cos, sin, minus = torch.from_numpy(rows)
        assert (cos - torch.cos((k + 1) * part)).abs().max() < 1e-11
        assert (sin - torch.sin((k + 1) * part)).abs().max() < 1e-11
        assert torch.equal(minus, -cos)
