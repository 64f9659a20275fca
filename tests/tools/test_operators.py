"""docs/operators.md says what the code does."""

from tools.operator_calls import FAMILIES
from tools.operator_errors import Found, bound, measured_errors, repeatable
from tools.operators import PAGE, best, listed, measure, outdated, unlisted

EVERY = 9
"""Of the calls, so many as are measured again."""


def test_the_page_names_every_operator() -> None:
    assert unlisted(PAGE.read_text(encoding="utf-8")) == [], "python -m tools.operators"


def test_calls_have_names_of_their_own() -> None:
    texts = [call.text for family in FAMILIES.values() for call in family]
    assert len(texts) == len(set(texts))


async def test_the_page_shows_rounds_and_errors() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = {call for call, rounds, _ in listed(text).values() if rounds != "0"}
    calls = [call for family in FAMILIES.values() for call in family if call.text in shown]
    with repeatable():
        found = await measured_errors(calls[::EVERY])
    assert len(found) > 10
    assert outdated(text, found) == [], "python -m tools.operators"
    some = next(iter(found))
    assert outdated(text, {some: Found(found[some].rounds + 1, 0.0)}) == [some]
    assert outdated(text, {some: Found(found[some].rounds, 1e6)}) == [some]


def test_errors_are_told_in_powers_of_two() -> None:
    assert [bound(x) for x in (0.0, 0.01, 2.0, 2.1, 63.0)] == ["0", "2", "2", "4", "64"]


async def test_a_call_shows_what_it_asks_for() -> None:
    (call,) = [call for call in FAMILIES["reducing"] if call.text == "x.sum()"]
    (measured,) = await measure([call])
    assert measured.rounds == measured.sent == 0
    assert best([measured], "aten.sum.default") is measured
    assert best([measured], "aten.mul.Tensor") is None
