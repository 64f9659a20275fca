"""What can go wrong in a protocol.

    ProtocolError
    ├── EncodingError      a number does not fit the fixed-point range
    │   └── ThresholdError     a public number that values are compared with does not
    ├── ShapeError         operands do not fit each other
    │   └── InputShapeError    an input is not of the shape declared for it
    ├── PlaceError         a place to read a table at is outside of it
    ├── PartiesError       a protocol is not made for so many parties
    ├── OwnershipError     an operand was given, or missing, at the wrong party
    ├── OutsiderError      a share from outside that is none, or a suite that takes none
    ├── DeviceError        what a configuration names cannot compute on shares
    ├── MessageError       a peer's message is not what the protocol expects
    ├── RequestError       the dealer refuses a request
    └── RunAheadError      a program asks for more than can wait

No error ever carries a share, a mask, a key or a secret: shapes, ranks and names only.
"""

__all__ = [
    "DeviceError",
    "EncodingError",
    "InputShapeError",
    "MessageError",
    "OutsiderError",
    "OwnershipError",
    "PartiesError",
    "PlaceError",
    "ProtocolError",
    "RequestError",
    "RunAheadError",
    "ShapeError",
    "ThresholdError",
]


class ProtocolError(Exception):
    """Base of everything that a protocol raises itself."""

    @property
    def peer_reason(self) -> str:
        """What peers are told when this ends the session: nothing that they do not know anyhow."""
        return str(self)


class DeviceError(ProtocolError):
    """A device that cannot compute on shares, or is not there.

    Attributes:
        device: its name, as configured.
        why: what is wrong with it, and what to do.
    """

    def __init__(self, device: str, why: str) -> None:
        self.device = device
        self.why = why
        super().__init__(device, why)

    def __str__(self) -> str:
        return f"device {self.device!r}: {self.why}"


class EncodingError(ProtocolError):
    """Numbers that the fixed-point encoding cannot hold.

    The numbers are secrets, so the message says how many there were and what would fit.
    """

    def __init__(self, count: int, bound: float, scale_bits: int) -> None:
        self.count = count
        self.bound = bound
        self.scale_bits = scale_bits
        super().__init__(count, bound, scale_bits)

    def __str__(self) -> str:
        return (
            f"{self.count} value(s) are not finite or not below {self.bound:g} in magnitude, which "
            f"{self.scale_bits} fractional bits leave room for: rescale the input, or choose a "
            f"smaller scale_bits"
        )

    @property
    def peer_reason(self) -> str:
        """Which numbers, and how many, are nobody else's business."""
        return "a number does not fit the fixed-point range; its owner knows more"


class ThresholdError(EncodingError):
    """A function compares with a public number that values at this scale never reach."""

    def __str__(self) -> str:
        return (
            f"a function compares with a number that is not below {self.bound:g} in magnitude, "
            f"where {self.scale_bits} fractional bits let values end: choose a scale_bits of 28 or "
            f"less, or for your own comparison a smaller number"
        )

    @property
    def peer_reason(self) -> str:
        """The number is public, and so is the scale."""
        return str(self)


class ShapeError(ProtocolError):
    """Operands whose shapes do not fit the operation."""


class InputShapeError(ShapeError):
    """An input that is not as large as its owner declared to all."""

    def __init__(self, label: str, actual: tuple[int, ...], declared: tuple[int, ...]) -> None:
        self.label = label
        self.actual = actual
        self.declared = declared
        super().__init__(label, actual, declared)

    def __str__(self) -> str:
        return f"{self.label}: a value of shape {self.actual}, declared {self.declared}"

    @property
    def peer_reason(self) -> str:
        """Without the shape that it has: only the declared one is public."""
        return f"{self.label}: a value is not of the declared shape {self.declared}"


class PlaceError(ProtocolError):
    """Secret places that a table has not; their owner, who alone knows them, has checked."""

    def __init__(self, count: int, rows: int) -> None:
        self.count = count
        self.rows = rows
        super().__init__(count, rows)

    def __str__(self) -> str:
        return f"{self.count} place(s) are not between 0 and {self.rows - 1}, the rows of the table"

    @property
    def peer_reason(self) -> str:
        """How many is nobody else's business."""
        return f"a place is not between 0 and {self.rows - 1}; its owner knows more"


class PartiesError(ProtocolError):
    """A protocol that is not made for so many parties."""


class OwnershipError(ProtocolError):
    """A value given where it is not owned, or missing where it is."""


class OutsiderError(ProtocolError):
    """A share from somebody outside that cannot be one, or a suite without shares to give."""


class MessageError(ProtocolError):
    """A peer sent something that the protocol does not expect at this point."""

    def __init__(self, peer: int, operator: str, why: str) -> None:
        self.peer = peer
        self.operator = operator
        self.why = why
        super().__init__(peer, operator, why)

    def __str__(self) -> str:
        return f"party {self.peer} sent a wrong message for {self.operator}: {self.why}"


class RequestError(ProtocolError):
    """A request for correlated randomness that the dealer does not answer."""


class RunAheadError(ProtocolError):
    """A program issued operators without ever waiting for a result."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(waiting)

    def __str__(self) -> str:
        return (
            f"{self.waiting} operators wait for their turn, because the program never waits for a "
            f"result: `await session.settled()` once in a while, such as after each step"
        )
