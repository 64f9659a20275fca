"""Made-up stays at made-up hospitals, for demonstrations and measurements."""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from apps.analytics.table import pandas

__all__ = ["WARDS", "make_stays", "write_table"]

WARDS: Final = ("medicine", "surgery", "geriatrics", "paediatrics", "burns")

_SHARES: Final = (0.42, 0.36, 0.14, 0.075, 0.005)


def make_stays(rows: int, seed: int) -> Any:
    """A DataFrame of so many stays, the same for the same seed.

    Every twentieth body mass index is missing, as it is in life.
    """
    chance = np.random.default_rng(seed)
    ward = chance.choice(len(WARDS), rows, p=_SHARES)
    age = np.clip(chance.normal(np.array([58, 52, 82, 8, 45])[ward], 14), 0, 104).astype(np.int64)
    bmi = np.round(chance.normal(26, 4.5, rows), 1)
    bmi[chance.random(rows) < 0.05] = np.nan
    nights = chance.poisson(2 + age / 25)
    cost = np.round(chance.lognormal(6.5, 0.5, rows) + 412.5 * nights, 2)
    odds = 1 / (1 + np.exp(3.2 - 0.02 * age - 0.12 * nights))
    back = (chance.random(rows) < odds).astype(np.int64)
    columns = {"age": age, "bmi": bmi, "nights": nights, "cost": cost, "readmitted": back}
    return pandas().DataFrame({"ward": np.array(WARDS)[ward], **columns})


def write_table(table: Any, path: Path) -> None:
    """Writes a DataFrame as the name's ending says: a Parquet or a CSV file."""
    arrow = import_module("pyarrow").Table.from_pandas(table, preserve_index=False)
    if path.suffix == ".parquet":
        import_module("pyarrow.parquet").write_table(arrow, path)
    else:
        import_module("pyarrow.csv").write_csv(arrow, path)
