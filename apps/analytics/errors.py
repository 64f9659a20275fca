"""What can be wrong with a table, or with what is asked of it."""

from mpcnet.errors import AppError, FileError

__all__ = ["Disagreement", "QueryError", "TableError"]


class TableError(FileError):
    """A table that cannot be used, by its file or what stands in its place; tells no value."""


class Disagreement(AppError):
    """The parties' tables do not go together.

    Attributes:
        why: a clause for each party in which they differ, from what all were told.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the parties' tables do not go together: {self.why}"

    @property
    def peer_reason(self) -> str:
        return str(self)


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
