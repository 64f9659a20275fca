"""Statistics over the tables of several organizations, of which none shows its rows.

    frame = await analytics.read(session, "patients.csv")
    await frame["age"].mean()
    await frame.groupby("ward", ["A", "B", "C"])["cost"].mean()
    await frame.ols("cost", ["age", "bmi"])

Every party holds rows of its own, with the same columns. docs/analytics.md says who learns what.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.analytics.frame import Frame, read

__all__ = ["Frame", "read"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'apps.analytics' has no attribute {name!r}")
    return getattr(import_module("apps.analytics.frame"), name)
