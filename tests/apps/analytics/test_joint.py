"""What parties find out together: right, at the stated cost, and nothing of too few rows."""

from typing import Any

import numpy as np
import pytest

from apps.analytics.errors import QueryError
from apps.analytics.exact import VALUE_BITS
from apps.analytics.joint import Joint, Rank, as_quantile
from mpcnet.session import Session
from protocols.ring.ring import Ring
from tests.parties import run_parties

QUANTILES = (0, 0.1, 0.5, 0.77, 1)
METHODS = ("lower", "higher")


@pytest.mark.parametrize("n", [2, 3, 5])
async def test_sums_are_exact_at_any_number_of_parties(n: int) -> None:
    limit = (1 << 105) // n
    mine = [np.array([limit - rank, rank - limit, -rank], dtype=object) for rank in range(n)]

    async def program(session: Session) -> Any:
        joint = Joint(session)
        sums = await joint.sums(mine[session.rank], 2)
        rounds = session.rounds
        counts = await joint.counts(np.array([session.rank, 1 << 57]))
        return sums.tolist(), counts.tolist(), rounds, session.rounds - rounds

    for sums, counts, rounds, more in (await run_parties(program, n)).results:
        assert sums == sum(mine).tolist()
        assert counts == [n * (n - 1) // 2, n << 57]
        assert (rounds, more) == (4, 1)


@pytest.mark.parametrize("case", ["ties", "extremes"])
async def test_numbers_are_found_by_their_rank(case: str) -> None:
    edge = (1 << VALUE_BITS) - 1
    columns = {
        "ties": [np.array([5, 5, 5, 9]), np.array([], dtype=np.int64), np.array([-3, 5, 9])],
        "extremes": [np.array([-edge, 0]), np.array([edge]), np.array([-1, edge - 1])],
    }[case]
    everybody = np.concatenate(columns)
    ranks = [Rank(as_quantile(q), up) for q in QUANTILES for up in (False, True)]

    async def program(session: Session) -> Any:
        found = await Joint(session).ranked([np.sort(columns[session.rank])], ranks)
        return found[0].tolist(), session.rounds

    expected = [
        int(np.quantile(everybody, q, method=method)) for q in QUANTILES for method in METHODS
    ]
    if case == "extremes":  # numpy's own go through floats
        ordered = sorted(everybody.tolist())
        places = [0, 0, 0, 1, 2, 2, 3, 4, 4, 4]
        expected = [ordered[place] for place in places]
    for found, rounds in (await run_parties(program, 3)).results:
        assert found == expected
        assert rounds == 48


async def test_a_quotient_is_found_without_its_parts() -> None:
    sums = [[-7, 10**17, 3, -(1 << 90)], [0, 2, -3, 5], [0, 0, 9, 0]]
    counts = [[1, 10, 1, 1 << 35], [1, 0, 1, 0], [0, 0, 1, 0]]

    async def program(session: Session) -> Any:
        mine = np.array(sums[session.rank], dtype=object), np.array(counts[session.rank])
        return (await Joint(session).quotients(*mine)).tolist(), session.rounds

    expected = [
        sum(s) // sum(c)
        for s, c in zip(zip(*sums, strict=True), zip(*counts, strict=True), strict=True)
    ]
    for result in (await run_parties(program, 3)).results:
        assert result == (expected, 84)


async def test_too_few_rows_or_parties_show_nothing() -> None:
    rows = [np.array([5, 2, 0, 4]), np.array([0, 2, 0, 1])]

    async def program(session: Session) -> Any:
        by_rows = await Joint(session, min_parties=1).enough(rows[session.rank])
        rounds = session.rounds
        by_parties = await Joint(session).enough(rows[session.rank])
        least = await Joint(session, min_rows=1, min_parties=1).enough(rows[session.rank], least=2)
        return by_rows.tolist(), by_parties.tolist(), least.tolist(), rounds

    for result in (await run_parties(program)).results:
        yes, no = True, False
        assert result == ([yes, no, no, yes], [no, no, no, yes], [yes, yes, no, yes], 4)


async def test_readers_alone_learn_sums_and_extremes() -> None:
    async def program(session: Session) -> Any:
        joint = Joint(session, readers=[1])
        mine = np.array([session.rank + 1])
        return [
            None if found is None else found.tolist()
            for found in (
                await joint.sums(mine.astype(object), 2),
                await joint.counts(mine),
                await joint.smallest(-mine),
            )
        ]

    outcome = await run_parties(program, 3)
    assert outcome.results == [[None] * 3, [[6], [6], [-3]], [None] * 3]


async def test_what_cannot_be_is_refused_at_once() -> None:
    async def program(session: Session) -> None:
        with pytest.raises(QueryError, match="ring"):
            Joint(session)

    await run_parties(program, ring=Ring(48), scale_bits=16)

    async def another(session: Session) -> None:
        for options in ({"min_rows": 0}, {"min_parties": 3}):
            with pytest.raises(QueryError, match="min_rows"):
                Joint(session, **options)

    await run_parties(another)
    for value in (1.5, 1e-7):
        with pytest.raises(QueryError, match="quantile"):
            as_quantile(value)
