"""Regressions beside numpy's and scikit-learn's, and the private model on patients set aside."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression

import mpcnet
from apps import analytics
from apps.analytics.errors import QueryError, TableError
from apps.analytics.least_squares import _solved
from apps.analytics.logistic import Logistic, newton
from mpcnet.session import Session

COLUMNS = [f"x{i}" for i in range(10)]


def fitted(parts: list[pd.DataFrame], what: str, target: str, **options: Any) -> Any:
    """The regression on all columns, the same at all parties."""

    async def program(session: Session) -> Any:
        frame = await analytics.read(session, parts[session.rank])
        return await getattr(frame, what)(target, COLUMNS, **options)

    first, *others = mpcnet.run(program, parties=len(parts))
    for other in others:
        np.testing.assert_array_equal(first.coefficients, other.coefficients)
    return first


def test_least_squares_are_those_of_numpy() -> None:
    x, y = load_diabetes(return_X_y=True, scaled=False)
    table = pd.DataFrame(x, columns=COLUMNS).assign(y=y)
    found = fitted([table[:100], table[100:110], table[110:]], "ols", "y")
    wide = np.insert(x, 0, 1.0, axis=1)
    weights, left_over, _, _ = np.linalg.lstsq(wide, y, rcond=None)
    variance = left_over[0] / (len(x) - 11)
    np.testing.assert_allclose(found.coefficients, weights, rtol=1e-5)
    np.testing.assert_allclose(
        found.errors, np.sqrt(variance * np.linalg.inv(wide.T @ wide).diagonal()), rtol=1e-5
    )
    assert found.rows == 442
    assert found.r_squared == pytest.approx(1 - left_over[0] / ((y - y.mean()) ** 2).sum())
    np.testing.assert_allclose(found.predict(x), wide @ weights, rtol=1e-6)
    assert list(found.table.index) == ["intercept", *COLUMNS]


def test_a_column_that_rounding_alone_tells_from_another_is_refused() -> None:
    chance = np.random.default_rng(2)
    table = pd.DataFrame(chance.normal(170, 9, (40, 10)), columns=COLUMNS)
    table["x9"] = table["x0"] / 2.54 + table["x1"]
    with pytest.raises(QueryError, match="follows from the others"):
        fitted([table[:20].assign(y=table["x2"]), table[20:].assign(y=1.0)], "ols", "y")


def test_many_columns_take_no_longer_than_people_wait() -> None:
    """Fractions took minutes for 60 columns, in which no peer got a sign of life."""
    x = np.random.default_rng(3).normal(size=(200, 24))
    wide = np.insert(x, 0, 1.0, axis=1)
    whole = (
        np.rint(np.insert(wide, 25, x @ np.arange(24.0), axis=1) * 2.0**20)
        .astype(int)
        .astype(object)
    )
    begun = time.process_time()
    found = _solved(tuple(map(str, range(25))), whole.T @ whole, 20, True)
    assert time.process_time() - begun < 1
    np.testing.assert_allclose(found.coefficients[1:], np.arange(24.0), atol=1e-5)


def test_a_private_model_is_right_as_often_as_a_plain_one() -> None:
    """On 500 tumours, by a model that two parties trained on 69 others."""
    x, y = load_breast_cancer(return_X_y=True)
    x, judged = x[:, :10], 500
    table = pd.DataFrame(x[judged:], columns=COLUMNS).assign(y=y[judged:])
    found: Logistic = fitted([table[:30], table[30:]], "logit", "y", steps=5)
    plain, mean, deviation = in_the_clear(x[judged:], y[judged:])
    np.testing.assert_allclose(found.standardized, plain, atol=1e-3)
    model = LogisticRegression(tol=1e-8).fit((x[judged:] - mean) / deviation, y[judged:])
    assert abs(model.coef_[0] - found.standardized[1:]).max() < 0.01
    others = (x[:judged] - mean) / deviation
    private = found.predict(x[:judged]) > 0.5
    assert (private == (others @ plain[1:] > -plain[0])).sum() >= judged - 1  # 0.2 points
    assert (private == y[:judged]).mean() > 0.9


def in_the_clear(x: Any, y: Any) -> tuple[Any, Any, Any]:
    mean, deviation = x.mean(0), x.std(0)
    z = torch.from_numpy(np.insert((x - mean) / deviation, 0, 1.0, axis=1))
    return newton(z, torch.from_numpy(y).double(), len(x), 1.0, 5)[0].numpy(), mean, deviation


def test_newton_leaves_room_for_many_rows() -> None:
    """More rows than sums have room for: what is added is made smaller first."""
    chance = torch.Generator().manual_seed(1)
    z = torch.randn(100_000, 3, generator=chance, dtype=torch.float64)
    z = (z - z.mean(0)) / z.std(0, correction=0)
    z[:, 0] = 1.0
    odds = torch.sigmoid(z @ torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64))
    y = (torch.rand(len(z), generator=chance) < odds).double()
    found, last = newton(z, y, len(z), 0.0, 6)
    assert torch.allclose(found, torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64), atol=0.03)
    assert last.abs().max() < 1e-6


def test_an_outcome_is_zero_or_one() -> None:
    table = pd.DataFrame(np.eye(12, 10), columns=COLUMNS).assign(y=0.5)
    with pytest.raises(TableError, match="other than 0 and 1"):
        fitted([table, table], "logit", "y")
