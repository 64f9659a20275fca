"""docs/operators.md says what the code does."""

from tools.operator_calls import FAMILIES
from tools.operators import PAGE, best, listed, measure, unlisted

EVERY = 9
"""Of the calls, so many as are measured again."""


def test_the_page_names_every_operator() -> None:
    assert unlisted(PAGE.read_text(encoding="utf-8")) == [], "python -m tools.operators"


def test_calls_have_names_of_their_own() -> None:
    texts = [call.text for family in FAMILIES.values() for call in family]
    assert len(texts) == len(set(texts))


async def test_the_page_shows_the_rounds() -> None:
    rows = listed(PAGE.read_text(encoding="utf-8"))
    shown = {text: rounds for text, rounds in rows.values() if rounds not in ("", "0")}
    calls = [call for family in FAMILIES.values() for call in family if call.text in shown]
    some = await measure(calls[::EVERY])
    found = {each.call.text: str(each.rounds) for each in some}
    assert found == {text: shown[text] for text in found}, "python -m tools.operators"


async def test_a_call_shows_what_it_asks_for() -> None:
    (call,) = [call for call in FAMILIES["reducing"] if call.text == "x.sum()"]
    (measured,) = await measure([call])
    assert measured.rounds == measured.sent == 0
    assert measured.error < 1e-5
    assert best([measured], "aten.sum.default") is measured
    assert best([measured], "aten.mul.Tensor") is None
