"""The price of an option, privately, in the clear, and by the formula of Black and Scholes."""

import argparse
import math
from pathlib import Path
from statistics import NormalDist

import msgspec
import pytest

import mpcnet
from apps.pricing.app import APP
from apps.pricing.option import PricingSettings, in_the_clear
from mpcnet.errors import AppError
from mpcnet.session import Session


def test_the_private_price_is_that_of_the_clear(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    APP.add_demo_arguments(parser)
    plan = APP.demo(parser.parse_args(["--paths", "1024"]), tmp_path)
    settings = [msgspec.convert(plan.settings[name], PricingSettings) for name in plan.parties]

    async def program(session: Session) -> object:
        return await APP.run(session, settings[session.rank], lambda name, fields: None)

    results = mpcnet.run(program, parties=plan.parties)
    assert [sorted(result) for result in results] == [
        ["bytes_sent", "price", "rounds"],
        *[["bytes_sent", "delta", "rounds"]] * 2,
    ]
    named = zip(plan.parties, results, strict=True)
    outcome = APP.conclude(plan, {name: {"result": result} for name, result in named})
    for figure in outcome["figures"]:
        assert figure["private"] == pytest.approx(figure["plain"], abs=1e-3)
    assert len({str(APP.public(one)) for one in settings}) == 1
    APP.table(outcome)


def test_the_simulation_finds_the_formula_of_one_stock() -> None:
    settings = PricingSettings(issuer="i", years=2.0, rate=0.02, groups=1024, strike=110.0,
                               holding=(1.0,))  # fmt: skip
    spot, volatility = 100.0, 0.3
    price, (delta,), error = in_the_clear(settings, [(spot, volatility)])
    spread = volatility * math.sqrt(2.0)
    above = (math.log(spot / 110.0) + 0.04) / spread + spread / 2
    normal = NormalDist().cdf
    exact = spot * normal(above) - 110.0 * math.exp(-0.04) * normal(above - spread)
    assert price == pytest.approx(exact, abs=4 * error)
    assert delta == pytest.approx(normal(above), abs=0.01)


def test_what_fixed_point_has_no_room_for_is_refused_by_its_owner() -> None:
    """The price was wrong by a factor of five, silently."""
    given = PricingSettings(issuer="i", years=1.0, groups=4, strike=1.8e6, holding=(1e4,))
    with pytest.raises(AppError, match=r"app\.holding"):
        in_the_clear(given, [(180.0, 0.2)])
    given = msgspec.structs.replace(given, strike=180.0, holding=(1.0,))
    with pytest.raises(AppError, match=r"app\.unit"):
        in_the_clear(given, [(18_000.0, 0.2)])


def test_a_party_without_its_figures_is_told_which() -> None:
    async def program(session: Session) -> None:
        await APP.run(session, PricingSettings(issuer="anna", years=1.0), lambda n, f: None)

    with pytest.raises(AppError, match="app"):
        mpcnet.run(program, parties=2)
