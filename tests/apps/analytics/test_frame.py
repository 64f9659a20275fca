"""Joint tables beside pandas, with all that tables may have in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mpcnet
from apps import analytics
from apps.analytics.errors import Disagreement, QueryError
from apps.analytics.frame import Frame
from mpcnet.current import current_session, reveal
from mpcnet.session import Session
from tests.parties import run_parties

Ask = Callable[[Frame], Awaitable[Any]]


async def joint(parts: list[pd.DataFrame], ask: Ask, **options: Any) -> list[Any]:
    """What `ask` says at each party, of a table that has these parts."""

    async def program(session: Session) -> Any:
        return await ask(await analytics.read(session, parts[session.rank], **options))

    return (await run_parties(program, len(parts))).results


def stays() -> pd.DataFrame:
    chance = np.random.default_rng(5)
    x = chance.normal(-40, 30, 30).round(2)
    x[::7] = np.nan
    ties = chance.integers(0, 4, 30)
    return pd.DataFrame({"x": x, "ties": ties, "same": 2.5, "ward": list("aabbc") * 6})


async def test_a_table_with_an_empty_part_is_as_in_pandas() -> None:
    whole = stays()
    parts = [whole[:9], whole[:0], whole[9:]]

    async def ask(frame: Frame) -> Any:
        return await frame.describe(), await frame.corr(), await frame[["x", "ties"]].cov()

    numbers = whole[["x", "ties", "same"]]
    for described, correlated, varied in await joint(parts, ask):
        names = list(described.columns)
        pd.testing.assert_frame_equal(described, numbers.describe()[names], rtol=1e-7)
        with np.errstate(all="ignore"):
            expected = numbers.corr().loc[names, names]
        pd.testing.assert_frame_equal(correlated, expected, rtol=1e-7)
        pd.testing.assert_frame_equal(varied, whole[["x", "ties"]].cov(), rtol=1e-6)


async def test_groups_too_small_stay_hidden() -> None:
    whole = stays().drop(index=[4, 9])  # leaves four rows of ward c

    async def ask(frame: Frame) -> Any:
        wards = frame.groupby("ward", ["a", "b", "c", "d"])
        return await wards["ties"].sum(), await wards.size(), await frame["ward"].value_counts(
            ["c", "b", "a"]
        ), await frame["ties"].hist([0, 1, 2, 3, 9])  # fmt: skip

    for sums, sizes, counts, bins in await joint([whole[:10], whole[10:]], ask):
        expected = whole.groupby("ward")["ties"].sum().to_dict()
        assert sums.dropna().to_dict() == {ward: expected[ward] for ward in "ab"}
        assert sizes.dropna().to_dict() == counts.dropna().to_dict() == {"a": 12, "b": 12}
        assert list(counts.index) == ["c", "b", "a"]
        expected = np.histogram(whole["ties"], [0, 1, 2, 3, 9])[0]
        assert bins.fillna(0).tolist() == np.where(expected < 5, 0, expected).tolist()


async def test_what_one_party_has_alone_stays_hidden() -> None:
    """Or its own sum would be everybody's; groups without columns of numbers have sizes."""
    whole = stays()
    alone = whole["ward"][:20] != "c"
    parts = [whole[:20][~alone], pd.concat([whole[:20][alone], whole[20:]])]

    async def ask(frame: Frame) -> Any:
        return await frame[["ward"]].groupby("ward", ["a", "b", "c"]).size()

    for sizes in await joint(parts, ask, min_rows=1):
        assert sizes.fillna(0).to_dict() == {"a": 0, "b": 0, "c": 6}


async def test_one_row_is_shown_if_all_agreed() -> None:
    parts = [pd.DataFrame({"a": [7.25]}), pd.DataFrame({"a": []})]

    async def ask(frame: Frame) -> Any:
        return [await getattr(frame["a"], what)() for what in ("mean", "var", "median", "max")]

    shown = await joint(parts, ask, min_rows=1, min_parties=1)
    for results in (shown, await joint(parts, ask, min_rows=1)):
        hidden = np.isnan(results[0])
        assert hidden.tolist() in ([False, True, False, False], [True] * 4)
        assert results[0][0] == 7.25 or hidden.all()


async def test_a_quantile_can_be_left_vague() -> None:
    whole = pd.DataFrame({"a": np.arange(100.0)})

    async def ask(frame: Frame) -> Any:
        exact = await frame["a"].quantile([0.25, 0.5], interpolation="higher")
        return exact.tolist(), await frame["a"].median(resolution=10.0), await frame["a"].quantile(
            0.5, interpolation="midpoint"
        )  # fmt: skip

    for exact, vague, middle in await joint([whole[::2], whole[1::2]], ask):
        assert exact == [25.0, 50.0]
        assert vague == 52.0  # of 48 to 56: the median of intervals of 8
        assert middle == 49.5


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (pd.DataFrame({"b": [1.0]}), "no column 'a' at boris.*no column 'b' at anna"),
        (pd.DataFrame({"a": ["x"]}), "column 'a' holds number at anna, text at boris"),
        (pd.DataFrame({"a;b": ["x"]}), "the columns here are '(a|a;b)'"),
    ],
    ids=["other columns", "text", "semicolons"],
)
async def test_tables_that_differ_are_told_apart(other: pd.DataFrame, why: str) -> None:
    async def ask(frame: Frame) -> None:
        raise AssertionError("there is no joint table")

    with pytest.raises(Disagreement, match=why) as told:
        await joint([pd.DataFrame({"a": [1.0]}), other], ask)
    assert told.value.hints
    assert not any(hint in told.value.peer_reason for hint in told.value.hints)


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda frame: frame["z"].mean(), "no column 'z'"),
        (lambda frame: frame["ward"].mean(), "holds text"),
        (lambda frame: frame["x"].hist([1, 1]), "edges"),
        (lambda frame: frame["x"].quantile(0.5, interpolation="nearest"), "interpolation"),
        (lambda frame: frame.groupby("ward").size(), "name the categories"),
        (lambda frame: frame.groupby("ward", [1, 2]).size(), "text, and a number"),
        (lambda frame: frame.where("ward", "<", "b").count(), "order"),
        (lambda frame: frame.where("x", "~", 1).count(), "comparison"),
        (lambda frame: frame.ols("x", []), "a target and other"),
        (lambda frame: frame.ols("x", ["same"]), "constant, or follows"),
        (lambda frame: frame.logit("ties", ["x"], steps=0), "one step"),
        (lambda frame: frame[["ward"]].mean(), "no column of the table"),
        (lambda frame: frame.where("ward", "==", "NA").count(), "no value"),
        (lambda frame: frame["ward"].value_counts(["NA"]), "no value"),
        (lambda frame: frame["x"].median(resolution=float("nan")), "resolution"),
    ],
    ids=[
        "name",
        "kind",
        "edges",
        "interpolation",
        "categories",
        "groups",
        "order",
        "comparison",
        "none",
        "constant",
        "steps",
        "empty",
        "missing",
        "missing category",
        "resolution",
    ],
)
async def test_what_is_not_computed_is_refused_alike(ask: Ask, why: str) -> None:
    whole = stays()

    async def refused(frame: Frame) -> str:
        with pytest.raises(QueryError, match=why):
            await ask(frame)
        return "refused"

    assert await joint([whole[:15], whole[15:]], refused) == ["refused"] * 2


@pytest.mark.parametrize(
    ("what", "numbers"),
    [
        ("count", [1]),
        ("sum", [2]),
        ("mean", [4]),
        ("var", [9]),
        ("min", [1]),
        ("max", [1]),
        ("mean_alone", [1] * 12),
    ],
)
async def test_no_more_is_opened_than_is_said(
    what: str, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there are enough rows; then residues, or the results, or their digits."""
    opened: list[list[int]] = [[], []]

    def noted(x: Any, to: Any = None) -> Any:
        opened[current_session().rank].append(x.numel())
        return reveal(x, to)

    monkeypatch.setattr(mpcnet, "reveal", noted, raising=False)
    whole = stays()

    async def ask(frame: Frame) -> Any:
        return await getattr(frame["ties"], what)()

    results = await joint([whole[:15], whole[15:]], ask)
    expected = getattr(whole["ties"], what.removesuffix("_alone"))()
    assert results == [pytest.approx(expected)] * 2
    assert opened == [[1, *numbers]] * 2


async def test_quantiles_need_all_as_readers() -> None:
    async def refused(frame: Frame) -> Any:
        mean = await frame["x"].mean()
        with pytest.raises(QueryError, match="all parties"):
            await frame["x"].median()
        return mean

    anna, boris = await joint([stays(), stays()], refused, to=["boris"])
    assert (anna, boris) == (None, pytest.approx(stays()["x"].mean()))
