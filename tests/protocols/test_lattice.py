"""Tables that are masked once and read at places: right, as cheap as declared, hard enough."""

import math

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.table import hide_table_cost, table_sums_cost
from protocols.clear import ClearSuite
from protocols.errors import PlaceError
from protocols.lattice import HERMITE, PublicRows, deviation_bits, dimension
from protocols.prg import Key
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties
from tests.protocols.ringvalues import given, revealed

ROWS, WIDTH = 37, 3
PLACES = torch.tensor([[0, 36, 5, 5], [9, 0, 0, 0], [0, 0, 0, 0], [17, 8, 36, 1], [20, 21, 22, 0]])

SIEVE = 0.292
"""Binary logarithm of what a sieve takes, for each dimension of a block."""


def root_hermite(block: int) -> float:
    """Binary logarithm of the factor that BKZ with such blocks reaches (Chen, 2013)."""
    body = (math.pi * block) ** (1 / block) * block / (2 * math.pi * math.e)
    return math.log2(body) / (2 * (block - 1))


def dual_bits(n: int, modulus_bits: int, gap: float) -> float:
    """What telling a masked table from noise takes, by a short vector of the dual lattice."""
    for block in range(60, 1500):
        if 2 * math.sqrt(n * modulus_bits * root_hermite(block)) <= gap:
            return SIEVE * block
    return math.inf


def primal_bits(n: int, modulus_bits: int, deviation: float) -> float:
    """What finding S takes, by its unusually short vector (Alkim et al., 2016)."""

    def found(block: int) -> bool:
        root, short = root_hermite(block), deviation + math.log2(block) / 2
        sizes = range(n // 4, 4 * n, n // 8)  # how many rows are looked at
        return any(
            short <= (2 * block - m - n - 2) * root + modulus_bits * m / (m + n + 1) for m in sizes
        )

    low, high = 60, 1500
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return SIEVE * high


@pytest.mark.parametrize(
    ("ring", "scale_bits"), [(RING, f) for f in (8, 16, 22, 30)] + [(Ring(48), f) for f in (16, 22)]
)
def test_known_attacks_take_more_than_is_feasible(ring: Ring, scale_bits: int) -> None:
    n, deviation = dimension(scale_bits, ring), deviation_bits(scale_bits)
    for times, least in (0, 149), (1, 143), (1000, 100):  # that each row was revealed
        smaller = deviation - math.log2(times + 1) / 2
        assert dual_bits(n, ring.bits, ring.bits - smaller) > least
        assert primal_bits(n, ring.bits, smaller) > least
    assert root_hermite(527) == pytest.approx(HERMITE, rel=0.01)


def test_the_dimensions_that_the_documents_state() -> None:
    assert (dimension(22, RING), dimension(16, Ring(48))) == (1600, 1280)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("ring", [RING, Ring(48)], ids=str)
async def test_sums_and_their_cost(n: int, ring: Ring) -> None:
    f = ring.scale_bits
    table = torch.linspace(-1000, 1000, ROWS * WIDTH).view(ROWS, WIDTH)
    coded = (table.double() * 2.0**f).round().to(torch.int64)

    async def program(session: Session) -> tuple[Tensor | None, int]:
        suite = session.suite
        held, places = given(session, coded, 1), given(session, PLACES, 0, scale_bits=0)
        sums = suite.table_sums(held, places, skip=0)
        assert (sums.scale_bits, sums.owner) == (2 * f, None)
        depth = (await sums.share).depth
        return await revealed(session, sums, [0]), depth

    outcome = await run_parties(program, n, ring=ring)
    expected = coded[PLACES].mul((PLACES != 0).unsqueeze(2)).sum(1) << f
    errors = (outcome.results[0][0] - expected).double() / 2.0 ** deviation_bits(f)
    assert float(errors.abs().max()) < 6 * math.sqrt(20)  # deviations, of four places
    assert float(errors[0].abs().max()) > 0.0
    cost = table_sums_cost(len(PLACES), WIDTH, f, ring)
    assert max(depth for _, depth in outcome.results) == cost.rounds
    assert outcome.online_bits[0, 1] == cost.bits
    assert outcome.offline_bits[n, n - 1] == cost.offline_bits
    sent = hide_table_cost((ROWS, WIDTH), ring)
    assert outcome.online_bits[1, 0] == sent.bits - 256 + len(PLACES) * WIDTH * ring.bits


async def test_a_revealed_row_is_no_equation_on_the_secret() -> None:
    """Else as many rows as S has would tell S, and with it all others: each comes with new errors,
    which a row that is in a sum very often does not outgrow."""
    table = torch.zeros(ROWS, 32, dtype=torch.int64)
    places = torch.tensor([[5] * 9, [5] * 9])

    async def program(session: Session) -> Tensor:
        held, where = given(session, table, 1), given(session, places, 0, scale_bits=0)
        return await revealed(session, session.suite.table_sums(held, where), [0])

    one, other = (await run_parties(program, 2)).results[0].double() / 2.0 ** deviation_bits(22)
    apart = float((one - other).square().mean().sqrt()) / 9  # two fresh errors of each row
    assert 0.9 < apart < 2.2


def test_making_rows_of_a_takes_the_same_work_for_all_places() -> None:
    """The reader's message waits for it: its delay must not tell how many words a text has."""

    def made(places: Tensor) -> list[int]:
        asked: list[int] = []
        rows = PublicRows(Key.fresh(), 4)
        make = rows.rows
        rows.rows = lambda numbers: asked.append(len(numbers)) or make(numbers)  # type: ignore
        rows.sums(places, 0)
        return asked

    assert made(PLACES) == made(torch.zeros_like(PLACES))
    assert sum(made(PLACES)) == PLACES.numel()


def test_rows_of_a_are_the_same_in_any_order_and_no_two_alike() -> None:
    rows = PublicRows(Key.fresh(), 33)
    some = rows.rows(torch.tensor([70, 3, 500_000, 3]))
    torch.testing.assert_close(some[0], rows.chunk(50, 90)[20], rtol=0, atol=0)
    assert torch.equal(some[1], some[3])
    assert len(rows.chunk(0, 90).unique()) == 90 * 33
    assert len(set(rows.chunk(0, 2).flatten().tolist()) & set(some[2].tolist())) == 0


@pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
@pytest.mark.parametrize("owner", [0, 1])
async def test_a_place_that_is_not_there(suite: type, owner: int) -> None:
    async def program(session: Session) -> None:
        held = given(session, torch.ones(ROWS, WIDTH, dtype=torch.int64), 1)
        places = given(session, PLACES + 1, owner, scale_bits=0)
        await revealed(session, session.suite.table_sums(held, places))

    with pytest.raises(PlaceError, match=r"1 place\(s\)|2 place\(s\)") as error:
        await run_parties(program, 2, suite)
    assert "2" not in error.value.peer_reason


async def test_what_a_reader_gets_hides_the_table() -> None:
    """Two tables of all zeros and the same: masked, every bit of their words is a fair coin."""

    async def program(session: Session) -> Tensor:
        suite = session.suite
        assert isinstance(suite, AdditiveSuite)
        zeros = torch.zeros(256, 8, dtype=torch.int64)
        tables = [given(session, zeros, 1) for _ in range(2)]
        for table in tables:
            suite.prepare_table(table)
        masked = [(await table.table.hidden).value for table in tables if table.table]
        return torch.stack(masked) if session.rank == 0 else torch.empty(0)

    first, second = (await run_parties(program)).results[0]
    for words in (first, second, first - second):
        bits = torch.stack([(words >> k) & 1 for k in range(64)]).double().flatten(1).mean(1)
        assert float((bits - 0.5).abs().max()) < 6 * 0.5 / math.sqrt(words.numel())
