"""What can go wrong with a store of prepared randomness.

StoreError (a ProtocolError)
├── StoreDamaged      a file of it is not what was written
├── StoreUnsafe       others could read it, or it is another party's
├── StoreEmpty        nothing in it fits this run, and nothing else is allowed
├── SlotTaken         another process was faster
└── Unprepared        the program asks for what was not prepared for it
"""

from pathlib import Path

from protocols.errors import ProtocolError

__all__ = [
    "Disagreement",
    "SlotTaken",
    "StoreDamaged",
    "StoreEmpty",
    "StoreError",
    "StoreUnsafe",
    "Unprepared",
]


class StoreError(ProtocolError):
    """Base of these."""

    @property
    def peer_reason(self) -> str:
        """Without file names."""
        return "its store of prepared randomness cannot be used; its log knows more"


class StoreDamaged(StoreError):
    """A file of the store is not what was written.

    Attributes:
        path: the file.
        why: what is wrong with it, as a clause.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged: {self.why}. Delete it (never put an old copy in its place: "
            f"what was used once must not come back) and run `mpcnet prepare` for new ones"
        )


class StoreUnsafe(StoreError):
    """A store that must not be used where and as it is.

    Attributes:
        path: of the store, or of what in it is meant.
        why: what is wrong and what helps, as a clause.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


class StoreEmpty(StoreError):
    """Nothing prepared is left for this run at all parties, and the dealer must not be asked.

    Attributes:
        why: at whom what is missing, as a clause.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return (
            f"no prepared run can be used: {self.why}. Run `mpcnet prepare` at all parties and the "
            f"dealer, or leave out --store-only"
        )

    @property
    def peer_reason(self) -> str:
        return f"it uses prepared runs only (--store-only), and {self.why}"


class Disagreement(StoreError):
    """The parties do not want to prepare the same."""

    @property
    def peer_reason(self) -> str:
        """Only public facts."""
        return str(self)


class SlotTaken(StoreError):
    """Another process of this party marked the slot first."""


class Unprepared(StoreError):
    """The program asked for randomness that was not prepared for it.

    Attributes:
        label: of the request.
    """

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label

    def __str__(self) -> str:
        return (
            f"{self.label} was not prepared: what the program computes depends on more than its "
            f"public shapes, so that its runs cannot be prepared; run it without --store"
        )

    @property
    def peer_reason(self) -> str:
        return f"{self.label} was not prepared"
