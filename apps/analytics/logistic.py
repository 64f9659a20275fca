"""Logistic regression whose steps nobody sees: Newton's method on secrets."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, log2, sqrt
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mpcnet
from apps.analytics.errors import QueryError, TableError
from apps.analytics.exact import cross, total
from apps.analytics.joint import Joint
from apps.analytics.least_squares import complete_rows
from apps.analytics.selection import Moments
from apps.analytics.table import LocalTable, pandas

__all__ = ["STEPS", "Logistic", "fit_logistic", "newton"]

STEPS: Final = 8
"""Of Newton's method: enough where no weight is large; `Logistic.last_step` tells."""

_LEAST_CURVATURE: Final = 1e-3
"""Of the Hessian that a step divides by: below it an inverse is not worth its digits."""

_ROOM: Final = 1 << 14
"""Rows whose gradients are added as they are; sums of more are made smaller first."""


@dataclass(frozen=True)
class Logistic:
    """The odds of a 1.

    Attributes:
        names: of the coefficients; the first is the intercept's.
        coefficients: of the columns as they are in the tables.
        standardized: of the columns less their means, in deviations.
        rows: with values in all columns.
        last_step: by how much the last step changed a standardized coefficient, at most.
    """

    names: tuple[str, ...]
    coefficients: NDArray[np.float64]
    standardized: NDArray[np.float64]
    rows: int
    last_step: float

    @property
    def table(self) -> Any:
        """A DataFrame with a row for each coefficient."""
        columns = {
            "coefficient": self.coefficients,
            "odds ratio": np.exp(self.coefficients),
            "standardized": self.standardized,
        }
        return pandas().DataFrame(columns, index=list(self.names))

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Odds of a 1: (rows, columns) -> (rows,), between 0 and 1."""
        logits: NDArray[np.float64] = x @ self.coefficients[1:] + self.coefficients[0]
        odds: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        return odds


async def fit_logistic(
    joint: Joint, local: LocalTable, target: str, on: Sequence[str], penalty: float, steps: int
) -> Logistic | None:
    """See `Frame.logit`.

    Raises:
        QueryError: too few rows, a constant column, or options that cannot be.
        TableError: the target is not 0 or 1 in a row of this party.
    """
    if not on or len({target, *on}) <= len(on):
        raise QueryError("a regression needs a target and other columns, each once")
    if penalty < 0 or steps < 1:
        raise QueryError("a penalty is not negative, and there is one step or more")
    if joint.readers is not None:
        raise QueryError("means and deviations are learned by all parties: name no readers")
    mine = complete_rows(local, [*on, target])
    unit = 1 << local.scale_bits
    outcome = mine[:, -1]
    if not np.isin(outcome, (0, unit)).all():
        raise TableError(local.source, f"column {target!r} has a number other than 0 and 1")
    if not (await joint.enough(np.array([len(mine)]), least=len(on) + 2)).all():
        raise QueryError(
            f"too few rows have all of {', '.join([*on, target])} to show a regression"
        )
    moments = await _moments(joint, mine[:, :-1], local.scale_bits)
    means = np.array([m.mean for m in moments])
    deviations = np.array([sqrt(m.variance(0)) for m in moments])
    if not deviations.all():
        raise QueryError("a column of the regression is constant")
    x = torch.from_numpy((mine[:, :-1] / unit - means) / deviations)
    y = torch.from_numpy(outcome // unit).double()
    rows = moments[0].rows
    with joint.stage():
        every_x = torch.cat(await mpcnet.share_each(_with_ones(x)))
        every_y = torch.cat(await mpcnet.share_each(y))
        weights, last = newton(every_x, every_y, rows, penalty, steps)
        revealed = await mpcnet.reveal(torch.cat([weights, last.abs().max()[None]]))
    *standardized, last_step = revealed.double().tolist()
    return _in_units(on, np.array(standardized), means, deviations, rows, last_step)


async def _moments(joint: Joint, mine: NDArray[np.int64], scale_bits: int) -> list[Moments]:
    squares = cross(mine, mine).diagonal()
    sums = [total(column) for column in mine.T]
    table = np.array([[len(mine)] * len(sums), sums, squares], dtype=object)
    found = await joint.sums(table, 3)
    columns = [] if found is None else found.T.tolist()
    return [
        Moments(n, Fraction(s, 1 << scale_bits), Fraction(q, 1 << 2 * scale_bits))
        for n, s, q in columns
    ]


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x], dim=1)


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def newton(x: Tensor, y: Tensor, rows: int, penalty: float, steps: int) -> tuple[Tensor, Tensor]:
    """Weights of a logistic regression, and the last step.

    Shapes:   x (rows, k), the first column ones, the others of mean 0 and deviation 1; y (rows)
    Cost:     on secrets 18 rounds a step, and 2 for each turn of `_inverse`
    """
    size = x.shape[1]
    ridge = torch.full((size,), penalty / rows, dtype=x.dtype)
    ridge[0] = 0.0  # the intercept's
    floor = ridge.clamp(min=_LEAST_CURVATURE)
    # Probabilities times their complements are a fourth at most, and the squares of a column of
    # deviation 1 are as many as the rows: so the trace is known, and no eigenvalue is larger.
    highest = size / 4 + float(floor.max())
    smaller = 2.0 ** -max(0, ceil(log2(rows / _ROOM)))
    weights = x.new_zeros(size)
    step = weights
    for _ in range(steps):
        p = torch.sigmoid(x @ weights)
        error = x.t() @ ((p - y) * smaller) * (1 / (rows * smaller)) + ridge * weights
        curved = x * ((p - p * p) * smaller)[:, None]
        hessian = x.t() @ curved * (1 / (rows * smaller)) + torch.diag(floor)
        step = _inverse(hessian, highest, float(floor.min())) @ error
        weights = weights - step
    return weights, step


def _inverse(x: Tensor, highest: float, lowest: float) -> Tensor:
    """Of a symmetric matrix with eigenvalues between these, by products alone.

    With e = 1 - x / highest it is (1 + e) (1 + e^2) (1 + e^4) ... / highest: the square of the next
    factor and the product with this one go at the same time.
    """
    one = torch.eye(len(x), dtype=x.dtype)
    rest = one - x / highest
    inverse = (one + rest) / highest
    for _ in range(ceil(log2(highest / lowest)) + 2):
        rest = rest @ rest
        inverse = inverse + inverse @ rest
    return inverse


def _in_units(
    on: Sequence[str],
    standardized: NDArray[np.float64],
    means: NDArray[np.float64],
    deviations: NDArray[np.float64],
    rows: int,
    last_step: float,
) -> Logistic:
    slopes = standardized[1:] / deviations
    coefficients = np.array([standardized[0] - slopes @ means, *slopes])
    return Logistic(("intercept", *on), coefficients, standardized, rows, last_step)
