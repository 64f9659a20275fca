"""What participants must have alike, as they say it when they meet: a digest, and what it is of.

The digest decides. The items behind it, such as `protocol.scale_bits=22`, are there so that an
error can name what differs; `transports.errors.HandshakeError` reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["configuration_text", "digest_of", "program_text"]

_HEX: Final = 8  # digits of a certificate's fingerprint that an item shows
_PROGRAM_HEX: Final = 4  # of a setting of the program: the dealer reads them, too


def digest_of(facts: Mapping[str, Any]) -> str:
    """Hex SHA-256 of facts that JSON can hold."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def configuration_text(facts: Mapping[str, Any]) -> str:
    """The greeting's configuration.

    Args:
        facts: as `Config.agreed` gives them.
    """
    items = {f"parties[{i}]": _entry(each) for i, each in enumerate(facts["parties"])}
    items["dealer"] = _entry(facts["dealer"])
    items |= {f"protocol.{key}": str(value) for key, value in facts["protocol"].items()}
    return _text(digest_of(facts), items)


def program_text(digest: str, app: str, version: str, public: Mapping[str, Any]) -> str:
    """The greeting's program.

    Args:
        digest: of all of it.
        version: of mpcnet.
        public: the app's settings that all parties have alike; a few digits of a digest of each are
            shown, and no value.
    """
    items = {"mpcnet": version, "app.name": app}
    for key, value in public.items():
        items[f"app.{key}"] = digest_of({key: value})[:_PROGRAM_HEX]
    return _text(digest, items)


def _entry(entry: Mapping[str, str | None] | None) -> str:
    if entry is None:
        return "none"
    certificate = entry["certificate"]
    shown = "" if certificate is None else f":{certificate.rpartition(':')[2][:_HEX]}"
    return f"{entry['name']}{shown}"


def _text(digest: str, items: Mapping[str, str]) -> str:
    return " ".join([digest, *(f"{key}={value}" for key, value in items.items())])
