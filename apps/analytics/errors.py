"""What can be wrong with a table, or with what is asked of it."""

from collections.abc import Sequence
from pathlib import Path

from mpcnet.errors import AppError

__all__ = ["Disagreement", "QueryError", "TableError"]


class TableError(AppError):
    """A table that cannot be used; tells places in it, and no value.

    Attributes:
        source: the file, or what stands in its place.
        why: what is wrong, as a clause.
    """

    def __init__(self, source: Path | str, why: str) -> None:
        super().__init__(source, why)
        self.source = str(source)
        self.why = why

    def __str__(self) -> str:
        return f"{self.source}: {self.why}"


class Disagreement(AppError):
    """The parties' tables do not go together.

    Attributes:
        why: a clause for each party in which they differ, from what all were told.
        hints: clauses about this party's own table, for itself alone.
    """

    def __init__(self, why: str, hints: Sequence[str] = ()) -> None:
        super().__init__(why, hints)
        self.why = why
        self.hints = tuple(hints)

    def __str__(self) -> str:
        return "; ".join([self.peer_reason, *self.hints])

    @property
    def peer_reason(self) -> str:
        return f"the parties' tables do not go together: {self.why}"


class QueryError(AppError):
    """A statistic that is not computed, or not of such columns; all parties find the same.

    Attributes:
        why: what is wrong and what would be right.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why

    @property
    def peer_reason(self) -> str:
        return self.why
