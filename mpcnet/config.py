"""One participant's configuration: a TOML file, checked as a whole before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from mpcnet.agreed import digest_of
from mpcnet.computation import ComputationSettings
from mpcnet.errors import ConfigError
from mpcnet.policy.settings import PolicySettings, policy_complaints
from mpcnet.store import PreprocessingSettings, store_complaints
from mpcnet.tables import convert_table, read_toml
from transports.emulated import network_of
from transports.errors import AddressError, IdentityError, ProfileError
from transports.identity import fingerprint, read_certificate
from transports.profile import parse_profile
from transports.rendezvous import meeting_of
from transports.route import wrong_header, wrong_proxy

__all__ = [
    "Config",
    "IdentityFiles",
    "LinkSettings",
    "PartyEntry",
    "ProtocolSettings",
    "StatusSettings",
    "load_config",
    "valid_name",
]

T = TypeVar("T", bound=msgspec.Struct)

_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_PARTIES: Final = range(2, 17)
_SOCKETS: Final = frozenset({"tcp", "ws", "wss", "relay"})

_SCALES: Final = {48: (16, 20), 64: (22, 24)}
"""Of each ring: fractional bits by default and at the most. (The module of rings needs torch.)"""

Seconds = Annotated[float, Meta(gt=0)]


class IdentityFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where this participant's own key and certificate are, as `mpcnet keygen` wrote them."""

    key: Path
    certificate: Path


class PartyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One participant as all others know it.

    Attributes:
        name: lower-case letters, digits and hyphens.
        url: where it listens, such as "tcp://192.0.2.7:7001"; None for one that only dials.
        certificate: the file with the certificate that it must show; None without TLS. It names
            the participant in the digest.
        further_certificates: files with others that it may show instead, while it changes from
            one to the next; `certificate = ["a.crt", "b.crt"]` in a file means both keys.
    """

    name: str
    url: str | None = None
    certificate: Path | None = None
    further_certificates: tuple[Path, ...] = ()

    @property
    def certificates(self) -> tuple[Path, ...]:
        """All files, the one that names it first; empty without TLS."""
        return () if self.certificate is None else (self.certificate, *self.further_certificates)


class ProtocolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How secrets are computed on; the same at every participant.

    Attributes:
        suite: "additive", or "clear", which hides nothing and serves debugging.
        scale_bits: fractional bits of the fixed-point encoding; by default what suits the ring.
        ring_bits: 64, or 48 for less traffic with values of a known range (`mpcnet.calibrate`).
        comparison: "tables"; "dpf", with two parties, which saves rounds and takes more
            preprocessing; or "auto", which measures the link and chooses.
    """

    suite: Literal["additive", "clear"] = "additive"
    scale_bits: Annotated[int, Meta(ge=8, le=24)] = 0
    ring_bits: Literal[48, 64] = 64
    comparison: Literal["tables", "dpf", "auto"] = "tables"

    def __post_init__(self) -> None:
        if not self.scale_bits:
            msgspec.structs.force_setattr(self, "scale_bits", _SCALES[self.ring_bits][0])


class LinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This participant's links to its peers.

    Attributes:
        connect_timeout_s: how long peers are waited for at the start.
        heartbeat_s: a sign of life is sent when nothing else was for so long.
        silence_timeout_s: the connection of a peer that was not heard for so long is broken.
        resume_timeout_s: how long a broken connection may stay away before the peer is lost; 0
            means at once.
        plaintext: no TLS and no identities.
        max_frame_bytes: a larger frame is refused before memory is taken for it.
        max_buffered_bytes: what one peer may have sent that nobody here has taken yet.
        network: an emulated network for what this participant sends, such as "continent"; a
            network in the address of a link goes before it.
        proxy: an HTTP proxy for dials to ws:// and wss:// addresses; may hold a password.
        headers: sent with these dials; may hold tokens.
    """

    connect_timeout_s: Seconds = 30.0
    heartbeat_s: Seconds = 5.0
    silence_timeout_s: Seconds = 30.0
    resume_timeout_s: Annotated[float, Meta(ge=0)] = 30.0
    plaintext: bool = False
    max_frame_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 40)] = 1 << 30
    max_buffered_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 44)] = 4 << 30
    network: str | None = None
    proxy: str | None = None
    headers: dict[str, str] = {}

    def __repr__(self) -> str:
        shown = {"proxy": self.proxy and "...", "headers": dict.fromkeys(self.headers, "...")}
        fields = {name: getattr(self, name) for name in self.__struct_fields__} | shown
        return f"LinkSettings({', '.join(f'{k}={v!r}' for k, v in fields.items())})"


class StatusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pages for whoever watches this participant: /health and /metrics.

    Attributes:
        listen: host and port to serve them on in plain HTTP, such as "127.0.0.1:9100".
    """

    listen: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file's own layout."""

    session: Annotated[str, Meta(min_length=1, max_length=128)]
    name: str
    parties: tuple[PartyEntry, ...]
    identity: IdentityFiles | None = None
    dealer: PartyEntry | None = None
    protocol: ProtocolSettings = ProtocolSettings()
    link: LinkSettings = LinkSettings()
    status: StatusSettings | None = None
    preprocessing: PreprocessingSettings | None = None
    computation: ComputationSettings = ComputationSettings()
    policy: PolicySettings | None = None
    app: dict[str, Any] | None = None


class Config(_Document, frozen=True, kw_only=True):
    """A configuration that `load_config` has checked; it holds paths of keys, never keys.

    Attributes:
        path: the file it comes from.
        session: which run this is; the same at every participant.
        name: which entry is this process.
        parties: the computing parties in order of rank.
        dealer: the dealer, whose rank follows the last party's.
        app: the [app] table as it stands; see `app_settings`.
    """

    path: Path

    @property
    def size(self) -> int:
        """How many computing parties there are."""
        return len(self.parties)

    @property
    def participants(self) -> tuple[PartyEntry, ...]:
        """All of them in order of rank, the dealer last."""
        return self.parties if self.dealer is None else (*self.parties, self.dealer)

    @property
    def rank(self) -> int:
        """This participant's place; the dealer's is `size`."""
        return next(r for r, entry in enumerate(self.participants) if entry.name == self.name)

    @property
    def is_dealer(self) -> bool:
        """Whether this process deals, and computes on no share."""
        return self.rank == self.size

    @property
    def app_name(self) -> str:
        """Which app the parties run.

        Raises:
            ConfigError: there is no [app] table, or no name in it.
        """
        if self.app is None:
            raise ConfigError(self.path, "app", "is missing; a party needs [app] with a name")
        name = self.app.get("name")
        if not isinstance(name, str) or not name:
            raise ConfigError(self.path, "app.name", "is missing; it says which app to run")
        return name

    def app_settings(self, type_: type[T]) -> T:
        """The rest of the [app] table as the app's own Struct; its paths resolve like ours.

        Raises:
            ConfigError: a key is unknown, missing or wrong.
        """
        table = {key: value for key, value in (self.app or {}).items() if key != "name"}
        return convert_table(self.path, "app", table, type_)

    def agreed(self) -> dict[str, Any]:
        """All that the participants have to configure alike.

        Names and certificates in order, who deals, and the protocol's settings. Of a participant
        that changes its certificate the first that is listed counts, so that nothing changes here
        when others add the next one. The session is compared by itself, addresses may differ.
        """
        return {
            "parties": [_agreed(entry, self.link.plaintext) for entry in self.parties],
            "dealer": self.dealer and _agreed(self.dealer, self.link.plaintext),
            "protocol": msgspec.to_builtins(self.protocol),
        }

    def digest(self) -> str:
        """Of what the participants have to configure alike."""
        return digest_of(self.agreed())


def load_config(path: Path | str) -> Config:
    """Reads and checks one participant's configuration.

    Raises:
        ConfigError: names the file, the key and what is wrong with it.
    """
    path = Path(path)
    document = convert_table(path, "", _spread(read_toml(path)), _Document)
    config = Config(path=path, **msgspec.structs.asdict(document))
    for key, why in _complaints(config):
        raise ConfigError(path, key, why)
    return config


def _spread(document: dict[str, Any]) -> dict[str, Any]:
    """The document with each list of certificates as the two keys that it means."""

    def entry(table: Any) -> Any:
        listed = table.get("certificate") if isinstance(table, dict) else None
        if not isinstance(listed, list) or not listed or "further_certificates" in table:
            return table
        return table | {"certificate": listed[0], "further_certificates": listed[1:]}

    spread = dict(document)
    if isinstance(spread.get("parties"), list):
        spread["parties"] = [entry(table) for table in spread["parties"]]
    if "dealer" in spread:
        spread["dealer"] = entry(spread["dealer"])
    return spread


def valid_name(name: str) -> bool:
    """Whether a participant may be called so: it names files and stands in logs."""
    return _NAME.fullmatch(name) is not None


def _agreed(entry: PartyEntry, plaintext: bool) -> dict[str, str | None]:
    if plaintext or entry.certificate is None:
        return {"name": entry.name, "certificate": None}
    return {"name": entry.name, "certificate": fingerprint(read_certificate(entry.certificate))}


def _complaints(config: Config) -> Iterator[tuple[str, str]]:
    """What the types of the keys cannot tell: key and reason, the most helpful first."""
    if config.size not in _PARTIES:
        yield "parties", f"lists {config.size}; there must be 2 to {_PARTIES[-1]}"
    if config.protocol.suite == "additive" and config.dealer is None:
        yield "dealer", "is missing; the additive suite needs a [dealer]"
    if config.protocol.comparison == "dpf" and config.size != 2:
        few = f'"dpf" is for two parties, not {config.size}; use "tables" or "auto"'
        yield "protocol.comparison", few
    most = _SCALES[config.protocol.ring_bits][1]
    if config.protocol.scale_bits > most:
        yield "protocol.scale_bits", f"is {most} at most where ring_bits is 48: values need room"
    for key in ("connect_timeout_s", "heartbeat_s", "silence_timeout_s", "resume_timeout_s"):
        if not math.isfinite(getattr(config.link, key)):
            yield f"link.{key}", "must be a finite number of seconds"
    if config.link.heartbeat_s >= config.link.silence_timeout_s:
        yield "link.heartbeat_s", "must be less than silence_timeout_s, or quiet peers get lost"
    if config.link.max_buffered_bytes < config.link.max_frame_bytes:
        yield "link.max_buffered_bytes", "must hold a frame that waits: at least max_frame_bytes"
    if why := _wrong_network(config.link.network):
        yield "link.network", why
    yield from _route_complaints(config)
    yield from store_complaints(config)
    yield from policy_complaints(config)
    if config.status is not None and _wrong_url(f"tcp://{config.status.listen}"):
        yield "status.listen", f"{config.status.listen!r} needs a host and a port: 127.0.0.1:9100"
    names = [entry.name for entry in config.participants]
    for rank, entry in enumerate(config.participants):
        key = "dealer" if rank == config.size else f"parties[{rank}]"
        yield from _entry_complaints(key, entry, names[:rank], config.link.plaintext)
    unreachable = [r for r, entry in enumerate(config.participants) if entry.url is None]
    if len(unreachable) > 1:
        first, second = (names[rank] for rank in unreachable[:2])
        key = "dealer" if unreachable[1] == config.size else f"parties[{unreachable[1]}]"
        yield f"{key}.url", f"is missing; of {first} and {second} one must listen for the other"
    if config.name not in names:
        yield "name", f"{config.name!r} is none of the participants: {', '.join(names)}"
    elif not config.link.plaintext:
        yield from _identity_complaints(config)


def _route_complaints(config: Config) -> Iterator[tuple[str, str]]:
    link = config.link
    if link.proxy is not None and (why := wrong_proxy(link.proxy)):
        yield "link.proxy", why
    for name, value in link.headers.items():
        if why := wrong_header(name, value):
            yield f"link.headers.{name}", why
    others = [entry.url or "" for entry in config.participants if entry.name != config.name]
    if not any(url.startswith(("ws://", "wss://")) for url in others):
        for key in ("proxy", "headers"):
            if getattr(link, key):
                yield f"link.{key}", "is for ws:// and wss:// addresses, and no other has one"


def _entry_complaints(
    key: str, entry: PartyEntry, earlier: list[str], plaintext: bool
) -> Iterator[tuple[str, str]]:
    if not valid_name(entry.name):
        yield f"{key}.name", "needs 1 to 32 lower-case letters, digits or hyphens"
    if entry.name in earlier:
        yield f"{key}.name", f"{entry.name!r} stands twice; every participant needs its own name"
    if entry.url is not None:
        why = _wrong_url(entry.url)
        if why:
            yield f"{key}.url", why
    if plaintext:
        return
    if entry.certificate is None:
        yield f"{key}.certificate", "is missing; make one with `mpcnet keygen` at its owner"
        return
    for file in entry.certificates:
        try:
            read_certificate(file)
        except IdentityError as error:
            yield f"{key}.certificate", f"{error.subject} {error.why}"


def _identity_complaints(config: Config) -> Iterator[tuple[str, str]]:
    if config.identity is None:
        yield "identity", "is missing; it names this participant's key and certificate"
        return
    try:
        own = fingerprint(read_certificate(config.identity.certificate))
    except IdentityError as error:
        yield "identity.certificate", f"{error.subject} {error.why}"
        return
    listed = config.participants[config.rank].certificates
    if listed and own not in {fingerprint(read_certificate(file)) for file in listed}:
        yield (
            "identity.certificate",
            f"is not the one listed for {config.name!r}; peers would refuse it",
        )


def _wrong_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"{url!r} has no valid port or host"
    if not parts.scheme or not parts.netloc:
        return f"{url!r} is no address; write it like tcp://host:7001"
    if parts.scheme in _SOCKETS and (not parts.hostname or not port):
        return f"{url!r} needs a host and a port, like {parts.scheme}://host:7001"
    if parts.scheme == "relay":
        try:
            meeting_of(network_of(url)[0])
        except AddressError as error:
            return f"{url!r} {error.why}"
    return _wrong_network(network_of(url)[1])


def _wrong_network(text: str | None) -> str | None:
    try:
        if text is not None:
            parse_profile(text)
    except ProfileError as error:
        return f"{text!r} is no network: {error.why}"
    return None
