"""How often a private logistic regression is right, beside the same in the clear.

    python -m tools.analytics_accuracy

Scikit-learn's breast cancer data, 569 tumours with 30 measures each, at two parties; each tumour is
judged by a model that was trained on the other four fifths.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import mpcnet
from apps import analytics
from apps.analytics.logistic import STEPS, Logistic, newton

__all__ = ["main"]


def main() -> None:
    """Trains private, plain and scikit-learn's models, and prints what they are worth as JSON."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--folds", type=int, default=5, help="default: 5")
    folds = asked.parse_args().folds
    torch.set_num_threads(1)
    x, y = load_breast_cancer(return_X_y=True)
    said = np.zeros((3, len(x)), dtype=bool)
    off = 0.0
    for fold in range(folds):
        judged = np.arange(len(x)) % folds == fold
        private = _private(x[~judged], y[~judged])
        mean, deviation = x[~judged].mean(0), x[~judged].std(0)
        z = (x - mean) / deviation
        plain = _plain(z[~judged], y[~judged])
        known = LogisticRegression(tol=1e-10, max_iter=10_000).fit(z[~judged], y[~judged])
        said[0, judged] = private.predict(x[judged]) > 0.5
        said[1, judged] = z[judged] @ plain[1:] > -plain[0]
        said[2, judged] = known.predict(z[judged])
        off = max(off, float(abs(plain - private.standardized).max()))
    right = (said == y).mean(1)
    report = {
        "judged": len(x),
        "private": right[0],
        "plain": right[1],
        "scikit_learn": right[2],
        "judged_differently": int((said[0] != said[1]).sum()),
        "weights_differ_by": off,
    }
    print(json.dumps(report))


def _private(x: Any, y: Any) -> Logistic:
    columns = [f"x{i}" for i in range(x.shape[1])]
    table = pd.DataFrame(x, columns=columns).assign(y=y)

    async def program(session: mpcnet.Session) -> Any:
        frame = await analytics.read(session, table[session.rank :: 2])
        return await frame.logit("y", columns)

    found: Logistic = mpcnet.run(program, parties=2)[0]
    return found


def _plain(z: Any, y: Any) -> Any:
    ones = torch.from_numpy(np.insert(z, 0, 1.0, axis=1))
    return newton(ones, torch.from_numpy(y).double(), len(y), 1.0, STEPS)[0].numpy()


if __name__ == "__main__":
    main()
