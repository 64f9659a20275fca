"""What can be wrong with a table, or with what is asked of it."""

from collections.abc import Sequence

from mpcnet.errors import AppError, FileError

__all__ = ["Disagreement", "QueryError", "TableError"]


class TableError(FileError):
    """A table that cannot be used, by its file or what stands in its place; tells no value."""


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
