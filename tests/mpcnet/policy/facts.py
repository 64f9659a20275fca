"""A rule for tests of policies, and what it is about."""

from __future__ import annotations

from typing import Any

from mpcnet.policy.rules import InputRule, Limits, Program, RevealRule, Rule

__all__ = ["FACTS", "rule"]

FACTS = Program(
    app="script",
    mpcnet="0.1.0 sha256:aa",
    source="sha256:bb",
    public="sha256:cc",
    protocol="scale_bits 22, suite additive",
    parties=("anna sha256:01", "boris sha256:02", "clara sha256:03", "dealer sha256:04"),
    settings={"file": "sha256:dd", "arguments": "sha256:ee"},
)


def rule(
    inputs: tuple[InputRule, ...] = (InputRule(),),
    reveals: tuple[RevealRule, ...] = (),
    **limits: Any,
) -> Rule:
    """A rule of anna, boris or clara."""
    return Rule(
        name="wages", program=FACTS, inputs=inputs, reveals=reveals, limits=Limits(**limits)
    )
