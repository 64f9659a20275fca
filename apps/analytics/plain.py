"""The same queries in the clear, on the rows of all: what a demonstration compares itself with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from apps.analytics.logistic import STEPS, newton
from apps.analytics.query import Query
from apps.analytics.table import COMPARISONS, pandas

__all__ = ["plain_answer"]


def plain_answer(table: Any, query: Query, categories: Mapping[str, Sequence[str | float]]) -> Any:
    """By pandas and numpy, in double precision.

    Args:
        table: a DataFrame.
    """
    for column, comparison, value in query.where:
        table = table[COMPARISONS[comparison](table[column], value) & table[column].notna()]
    columns = list(query.columns)
    statistic = query.statistic.removesuffix("_alone")
    if query.statistic == "ols":
        return _least_squares(table, columns[0], query.on)
    if query.statistic == "logit":
        return _logistic(table, columns[0], query.on)
    if query.statistic == "hist":
        edges = list(query.numbers)
        return pandas().Series(np.histogram(table[columns[0]].dropna(), edges)[0])
    if query.statistic == "value_counts":
        return table[columns[0]].value_counts().reindex(list(categories[columns[0]])).fillna(0)
    if query.by:
        keys = [pandas().Categorical(table[key], list(categories[key])) for key in query.by]
        groups = table.groupby(keys, observed=False)
        if query.statistic == "size":
            return groups.size()
        chosen = groups[columns[0] if len(columns) == 1 else columns]
        if query.statistic == "quantile":
            parts = {q: chosen.quantile(q) for q in query.numbers}
            return pandas().concat(parts, axis=1) if len(parts) > 1 else parts[query.numbers[0]]
        return getattr(chosen, statistic)()
    numeric = table.select_dtypes("number")
    chosen = numeric[columns] if columns else numeric
    if len(columns) == 1 and query.statistic not in ("corr", "cov"):
        chosen = table[columns[0]]
    if query.statistic == "quantile":
        return chosen.quantile(list(query.numbers) if len(query.numbers) > 1 else query.numbers[0])
    return getattr(chosen, statistic)()


def _least_squares(table: Any, target: str, on: Sequence[str]) -> Any:
    """A DataFrame as `LeastSquares.table` gives it."""
    complete = table[[*on, target]].dropna().to_numpy(dtype=np.float64)
    x, y = np.insert(complete[:, :-1], 0, 1.0, axis=1), complete[:, -1]
    weights, left_over, _, _ = np.linalg.lstsq(x, y, rcond=None)
    variance = left_over[0] / (len(x) - x.shape[1])
    errors = np.sqrt(variance * np.linalg.inv(x.T @ x).diagonal())
    columns = {"coefficient": weights, "error": errors, "t": weights / errors}
    return pandas().DataFrame(columns, index=["intercept", *on])


def _logistic(table: Any, target: str, on: Sequence[str]) -> Any:
    """A DataFrame as `Logistic.table` gives it, by the same steps in double precision."""
    complete = table[[*on, target]].dropna().to_numpy(dtype=np.float64)
    x, y = complete[:, :-1], torch.from_numpy(complete[:, -1])
    means, deviations = x.mean(0), x.std(0)
    z = torch.from_numpy(np.insert((x - means) / deviations, 0, 1.0, axis=1))
    weights = newton(z, y, len(z), 1.0, STEPS)[0].numpy()
    slopes = weights[1:] / deviations
    coefficients = np.array([weights[0] - slopes @ means, *slopes])
    columns = {
        "coefficient": coefficients,
        "odds ratio": np.exp(coefficients),
        "standardized": weights,
    }
    return pandas().DataFrame(columns, index=["intercept", *on])
