"""Names of operators, masks, messages and requests: one path for all of them."""

import hashlib
from dataclasses import dataclass

__all__ = ["Label"]


@dataclass(frozen=True, slots=True)
class Label:
    """A path such as ``17.relu/wire`` that every party derives alike from the program's order.

    The same path names a mask, tags the messages that open it and addresses the correlated
    randomness that goes with it. A path is used once in a session, and keys are fresh in every
    session; that is what makes a mask serve one value, ever.

    Attributes:
        path: the path.
        trail: up to 16 bytes that stand for the program up to here. It goes into tags alone:
            parties that do not run the same program do not read each other's messages.
    """

    path: str
    trail: bytes = b""

    def __truediv__(self, part: str) -> "Label":
        return Label(f"{self.path}/{part}", self.trail)

    def __str__(self) -> str:
        return self.path

    @property
    def tag(self) -> bytes:
        """The 16-byte message tag: a public hash, wide enough that two paths never meet."""
        return hashlib.blake2b(
            self.path.encode(), digest_size=16, salt=self.trail, person=b"mpcnet tag"
        ).digest()
