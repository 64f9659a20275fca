"""TOML out and in again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpcnet.tables import render_toml

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"0\n": []})
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(render_toml(document)) == document


def test_paths_and_nothing() -> None:
    document = {"file": Path("/a b/ü\x7f"), "absent": None, "inner": {"absent": None, "x": (1,)}}
    read = tomllib.loads(render_toml(document))
    assert read == {"file": "/a b/ü\x7f", "inner": {"x": [1]}}


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        render_toml({"key": b"secret"})
