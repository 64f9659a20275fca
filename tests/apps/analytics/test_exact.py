"""Exact sums, against Python's own integers, and the residues that carry them."""

import numpy as np
import pytest

from apps.analytics.exact import MODULI, cross, from_residues, residues, total

LARGEST = (1 << 59) - 1


@pytest.mark.parametrize("rows", [0, 1, 8192, 20_001])
def test_sums_and_products_are_exact(rows: int) -> None:
    x = np.random.default_rng(rows).integers(-LARGEST, LARGEST, size=(rows, 3))
    assert total(x[:, 0]) == sum(x[:, 0].tolist())
    assert (cross(x, x[:, :2]) == x.astype(object).T @ x[:, :2].astype(object)).all()


def test_a_column_of_extremes_does_not_overflow() -> None:
    x = np.full((50_000, 1), -LARGEST, dtype=np.int64)
    assert total(x[:, 0]) == -50_000 * LARGEST
    assert cross(x, x)[0, 0] == 50_000 * LARGEST**2


@pytest.mark.parametrize("count", [2, 3])
def test_residues_tell_the_sum(count: int) -> None:
    limit = 1 << (55 * count - 4)
    parts = [np.array([limit, -limit, -1, 0, 7 - limit], dtype=object) for _ in range(3)]
    found = [sum(column) % m for column, m in _columns(parts, count)]
    assert (from_residues(np.array(found).reshape(count, -1)) == sum(parts)).all()
    with pytest.raises(ValueError, match="too large"):
        residues(parts[0] * 16, count, 3)


def _columns(parts: list[np.ndarray], count: int) -> list[tuple[tuple[int, ...], int]]:
    given = [residues(part, count, 3).tolist() for part in parts]
    return [(tuple(one[m][i] for one in given), MODULI[m]) for m in range(count) for i in range(5)]
