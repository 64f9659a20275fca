"""The policy file: what is refused in it, and that rules come back as they were written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from mpcnet.errors import ConfigError
from mpcnet.policy.facts import changes, rule_for
from mpcnet.policy.rules import (
    InputRule,
    Limits,
    Policy,
    RevealRule,
    fits,
    load_policy,
    rule_text,
    shape_text,
)
from tests.mpcnet.policy.facts import FACTS, rule

WHOLE = rule(
    (InputRule(at="wages.py:3", shape="*x3", times=1), InputRule(elements=5)),
    (RevealRule(to=("boris",), at="wages.py:9", shape="single", times=2),),
    runs_per_day=3,
    not_after=datetime(2027, 1, 1, tzinfo=UTC),
)


def test_rules_come_back_as_they_were_written(tmp_path: Path) -> None:
    other = msgspec.structs.replace(WHOLE, name='the "second"', limits=Limits())
    file = tmp_path / "policy.toml"
    file.write_text(rule_text(WHOLE, first=True) + rule_text(other, first=False))
    assert load_policy(file).rules == (WHOLE, other)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("runs_per_day", "runs_a_day", r"rules\[0\].limits.runs_a_day: .*'runs_per_day'"),
        ("[[rules.reveals]]", "[[rules.reveal]]", r"rules\[0\].reveal: .*'reveals'"),
        ('"boris"', '"bob"', r"rules\[0\].reveals\[0\].to: 'bob' is none .* anna, boris"),
        ('"*x3"', '"3 rows"', r"rules\[0\].inputs\[0\].shape: '3 rows' is no shape"),
        ("times = 1", "times = -1", r"rules\[0\].inputs\[0\].times"),
        ("source = ", "sauce = ", r"rules\[0\].program.sauce: .*'source'"),
        ("+00:00\n", "\n", r"rules\[0\].limits.not_after: needs an offset"),
    ],
)
def test_what_is_wrong_in_a_policy_is_named(
    tmp_path: Path, right: str, wrong: str, told: str
) -> None:
    file = tmp_path / "policy.toml"
    text = rule_text(WHOLE, first=True)
    assert right in text
    file.write_text(text.replace(right, wrong))
    with pytest.raises(ConfigError, match=told):
        load_policy(file)


def test_an_empty_policy_is_one_that_refuses_everything(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").touch()
    assert load_policy(tmp_path / "policy.toml") == Policy()
    assert rule_for(Policy(), FACTS) == "no rule is for the app 'script'"


def test_shapes() -> None:
    assert [shape_text(shape) for shape in ((), (3,), (2, 4))] == ["single", "3", "2x4"]
    fitting = {"single": (), "*": (7,), "*x3": (10, 3), "2x4": (2, 4)}
    assert [fits(*pair) for pair in fitting.items()] == [True] * 4
    other = {"single": (1,), "*": (), "*x3": (3, 4), "2x4": (4, 2)}
    assert [fits(*pair) for pair in other.items()] == [False] * 4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"source": "sha256:xx"}, ["source has changed"]),
        ({"mpcnet": "0.2.0"}, ["mpcnet has changed"]),
        ({"protocol": "suite clear"}, ["protocol has changed"]),
        ({"settings": {"file": "sha256:dd"}}, ["app.arguments is gone"]),
        ({"settings": FACTS.settings | {"function": "sha256:ff"}}, ["app.function is new"]),
        (
            {"parties": ("anna sha256:01", "boris sha256:99", *FACTS.parties[2:])},
            ["boris has another certificate"],
        ),
        (
            {"parties": ("anna sha256:01", "eve sha256:99", *FACTS.parties[2:])},
            ["eve stands where boris did"],
        ),
        ({"parties": FACTS.parties[:3]}, ["there are 3 participants, not 4"]),
    ],
    ids=["source", "version", "protocol", "gone", "new", "certificate", "party", "count"],
)
def test_what_changed_is_named(changed: dict[str, object], told: list[str]) -> None:
    now = msgspec.structs.replace(FACTS, **changed)  # type: ignore[arg-type]
    assert changes(FACTS, now) == told
    assert rule_for(Policy(rules=(rule(),)), now) == (
        f"since rule 'wages' was approved, {', '.join(told)}"
    )


def test_a_star_stands_for_anything_and_the_last_rule_that_fits_counts() -> None:
    loose = msgspec.structs.replace(
        FACTS,
        mpcnet="*",
        parties=("anna sha256:01", "boris *", "*", "dealer sha256:04"),
        settings={"file": "sha256:dd", "arguments": "*"},
    )
    assert changes(loose, FACTS) == []
    first = msgspec.structs.replace(rule(), program=loose)
    second = msgspec.structs.replace(rule(), name="again")
    assert rule_for(Policy(rules=(first, second)), FACTS) is second
