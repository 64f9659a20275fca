"""TLS contexts: version 1.3 only, both sides show certificates, pinned ones are the only trust
anchors.

Names in certificates mean nothing here, so host names are not checked; which pin a peer has shown
is compared after the handshake with the rank that it claims (`transports.greeting`).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from transports.base import Security
from transports.errors import IdentityError
from transports.identity import Identity, check_pins, check_validity, pinned_as

__all__ = ["client_context", "context_source", "server_context", "shown_certificate", "tls_reason"]


def client_context(security: Security) -> ssl.SSLContext:
    """For dialling.

    Raises:
        IdentityError: our identity or a pin is missing, expired or no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _completed(context, security)


def server_context(security: Security) -> ssl.SSLContext:
    """For listening; who shows no pinned certificate is refused by TLS itself.

    Raises:
        IdentityError: our identity or a pin is missing, expired or no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # no session is ever resumed: each connection shows certificates
    return _completed(context, security)


def context_source(security: Security) -> Callable[[], ssl.SSLContext]:
    """Makes the context of the next connection to a listener: the last one again, unless our
    identity or a peer's certificate was renewed meanwhile.

    Raises:
        IdentityError: as `server_context`; later the source itself raises it.
    """
    made = server_context(security)
    made_of = _current(security)

    def context() -> ssl.SSLContext:
        nonlocal made, made_of
        now = _current(security)
        if now != made_of:
            made, made_of = server_context(security), now
        return made

    return context


def _current(security: Security) -> tuple[Identity | None, dict[int, bytes]]:
    """What a context is made of."""
    identity = None if security.identity is None else security.identity.current()
    return identity, dict(security.pins)


def shown_certificate(tls: ssl.SSLObject | None, security: Security) -> bytes | None:
    """What the other side has proved to own (DER): of a peer with several pinned certificates the
    first, whichever it shows, so that a peer has one name in all that compares."""
    shown = None if tls is None else tls.getpeercert(binary_form=True)
    if shown is None:
        return None
    known = (pinned_as(shown, certificates) for certificates in security.pins.values())
    return next((first for first in known if first is not None), shown)


def tls_reason(error: ssl.SSLError) -> str:
    """What TLS says went wrong, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not pinned here or not valid ({error.verify_message})"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "wrong version number" in reason or "http request" in reason:
        reason += "; is one side without encryption?"
    return reason


def _completed(context: ssl.SSLContext, security: Security) -> ssl.SSLContext:
    if security.identity is None:
        raise IdentityError("this party", "TLS needs a key and a certificate; make an identity")
    if not security.pins:
        raise IdentityError("the peers", "no certificate is pinned; add those of the peers")
    identity = security.identity.current()
    check_validity(identity.certificate_pem, f"this party ({identity.name})")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION
    # Two certificates of a peer have one subject: without this OpenSSL looks at one of them only.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for rank, pem in security.pins.items():
        check_pins(pem, f"rank {rank}")
        context.load_verify_locations(cadata=pem.decode("ascii"))
    _load_identity(context, identity)
    return context


def _load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """The ssl module reads keys from files only, so they get one in memory, never on a disk."""
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(identity.key_pem + identity.certificate_pem)
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as error:
            why = f"the key is not that of the certificate ({tls_reason(error)})"
            raise IdentityError(f"this party ({identity.name})", why) from None
