"""Each example as its user runs it, with all parties in this process, and the figures it ends with.

Fewer steps than by default, so that it takes a second: the code is the same, and the training in
the clear that each example compares itself with is as short.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import mpcnet

ROOT = Path(__file__).parents[3]


def run(script: str, parties: int, *arguments: str) -> list[Any]:
    """What it returns at each party."""
    file = ROOT / "apps" / "examples" / script
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(file), *arguments])
        return mpcnet.run(runpy.run_path(str(file))["main"], parties=parties)


@pytest.mark.parametrize("script", ["logistic_regression.py", "linear_svm.py"])
def test_linear_models_are_those_of_the_clear(script: str) -> None:
    for found in run(script, 2, "--steps", "6"):
        assert found["private"] == found["plain"] > 0.9
        assert found["difference"] < 1e-4


def test_a_convolutional_network_learns_digits() -> None:
    anna, boris = run("digits.py", 2, "--epochs", "1", "--batch", "250")
    assert anna == boris
    assert anna["private"] == pytest.approx(anna["plain"], abs=0.01)
    assert anna["plain"] > 0.6


def test_adam_places_wines() -> None:
    for found in run("wines.py", 2, "--steps", "4"):
        assert found["private"] == pytest.approx(found["plain"], abs=0.01)
        assert found["plain"] > 0.8


def test_quantiles_and_correlations_of_three() -> None:
    for found in run("quantiles.py", 3):
        assert found["difference"] < 1e-6
        assert found["correlations"] < 1e-5


def test_a_portfolio_is_worth_the_same() -> None:
    fund, desk, house = run("portfolio.py", 3)
    assert house == {}
    for found in (fund, desk):
        assert found["private"] == pytest.approx(found["plain"], abs=1e-3)
    assert fund["difference"] < 1e-3


@pytest.mark.parametrize(("fortunes", "richer"), [("3 4", "boris"), ("4 3", "anna")])
def test_the_richer_millionaire_is_named(fortunes: str, richer: str) -> None:
    assert run("millionaires.py", 2, "--fortunes", *fortunes.split()) == [richer] * 2


def test_a_shop_learns_what_to_offer() -> None:
    _, shop = run("bandit.py", 2, "--batches", "6")
    assert shop["private"] == pytest.approx(shop["plain"], abs=0.01)
    assert shop["same"] > 0.99
    assert shop["plain"] > 0.2  # an offer at random is taken by one in ten
