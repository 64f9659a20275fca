"""Queries as parties run them, from files, against pandas on all rows together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mpcnet
from apps.analytics.app import APP, QUERIES
from apps.analytics.program import AnalyticsSettings
from mpcnet.errors import AppError, ConfigError
from mpcnet.plan import DemoPlan
from mpcnet.session import Session
from mpcnet.tables import convert_table
from tests.parties import run_parties

MORE = (
    "median cost by ward",
    "quantile nights cost 0.1 0.5",
    "max age bmi by ward",
    "size by ward readmitted",
    "cov age bmi",
    "var bmi where ward != burns",
    "mean_alone cost by ward",
    "min cost",
)


def planned(tmp_path: Path, *arguments: str) -> DemoPlan:
    parser = argparse.ArgumentParser()
    APP.add_demo_arguments(parser)
    return APP.demo(parser.parse_args(arguments), tmp_path)


def outcome_of(plan: DemoPlan) -> dict[str, Any]:
    """What the demonstration shows, with all parties in this process."""
    files = [
        convert_table(Path("x.toml"), "app", table, AnalyticsSettings)
        for table in plan.settings.values()
    ]

    async def program(session: Session) -> Any:
        return await APP.run(session, files[session.rank], lambda name, fields: None)

    found = mpcnet.run(program, parties=plan.parties)
    results = {name: {"result": one} for name, one in zip(plan.parties, found, strict=True)}
    return APP.conclude(plan, results)


def test_the_demonstration_agrees_with_pandas(tmp_path: Path) -> None:
    plan = planned(tmp_path, "--rows", "3000")
    assert plan.extra["queries"] == list(QUERIES)
    quick = [query for query in QUERIES if query.split()[0] not in ("describe", "median", "logit")]
    plan.extra["queries"] = quick  # the others have tests of their own
    for settings in plan.settings.values():
        settings["queries"] = quick
    outcome = outcome_of(plan)
    assert [len(a["cells"]) for a in outcome["answers"]] == [1, 2, 5, 5, 5, 2, 16, 15]
    assert outcome["max_relative_difference"] < 1e-8
    assert sum(outcome["rows"].values()) == 3_000
    APP.table(outcome)


def test_more_queries_agree_with_pandas(tmp_path: Path) -> None:
    queries = [word for query in MORE for word in ("--query", query)]
    plan = planned(tmp_path, "--rows", "900", "--parties", "2", *queries, "--categories",
                   "readmitted=0,1", "--min-rows", "1")  # fmt: skip
    outcome = outcome_of(plan)
    assert [len(a["cells"]) for a in outcome["answers"]] == [5, 4, 10, 10, 4, 1, 5, 1]
    for answer in outcome["answers"]:
        differences = [cell["difference"] for cell in answer["cells"].values()]
        assert max(d for d in differences if d is not None) < 1e-8, answer["query"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "average cost",
        "mean",
        "quantile cost",
        "hist cost",
        "ols cost",
        "ols cost on",
        "size",
        "corr a b by c",
        "mean cost where age",
        "mean cost where age ~ 3",
        "mean cost where age > 3 and",
        "mean cost where age > 3 or b > 3",
    ],
)
def test_a_query_that_is_none_stops_the_configuration(query: str, tmp_path: Path) -> None:
    table = {"table": "mine.csv", "queries": [query]}
    with pytest.raises(ConfigError, match=r"quer|missing|where"):
        convert_table(tmp_path / "a.toml", "app", table, AnalyticsSettings)


def test_parties_agree_on_all_but_their_tables() -> None:
    settings = AnalyticsSettings(table=Path("mine.csv"), queries=("mean a",))
    others = msgspec.structs.replace(settings, table=Path("theirs.csv"))
    assert APP.public(settings) == APP.public(others)
    assert APP.public(settings) != APP.public(msgspec.structs.replace(settings, min_rows=1))


async def test_it_says_that_it_cannot_be_prepared() -> None:
    settings = AnalyticsSettings(table=Path("mine.csv"), queries=("mean a",))

    async def program(session: Session) -> None:
        with pytest.raises(AppError, match="ahead of time"):
            await APP.rehearse(session, settings, lambda name, fields: None)

    await run_parties(program)


def test_a_table_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(AppError, match="there is no such table"):
        planned(tmp_path, str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--query", "count age")
