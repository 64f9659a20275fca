"""Who a party is: a private key and the certificate that its peers have pinned.

Certificates are signed with their own key: nobody else vouches for a party. What peers exchange
beforehand, over a way they trust, is the certificate; what people compare aloud is its fingerprint.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from transports.errors import IdentityError

__all__ = [
    "Identity",
    "certificate_der",
    "check_pins",
    "check_validity",
    "create_identity",
    "fingerprint",
    "pinned_as",
    "read_certificate",
    "read_identity",
    "write_identity",
]

_VALIDITY: Final = datetime.timedelta(days=825)
_CLOCK_SKEW: Final = datetime.timedelta(hours=1)  # peers' clocks may be behind ours


@dataclass(frozen=True)
class Identity:
    """A private key and its certificate, both PEM. The key goes to its file and to TLS only."""

    name: str
    key_pem: bytes = field(repr=False)
    certificate_pem: bytes = field(repr=False)

    def current(self) -> Identity:
        """Itself; one that is renewed while a party runs gives another (`transports.renewal`)."""
        return self


def create_identity(name: str) -> Identity:
    """A new key (EC P-256) and a certificate signed with it, valid for 825 days.

    Raises:
        IdentityError: the name cannot stand in a certificate (empty, or over 64 characters).
    """
    if not 1 <= len(name) <= 64 or not name.isprintable():
        raise IdentityError(repr(name[:80]), "a name has 1 to 64 printable characters")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(name, key_pem, certificate.public_bytes(serialization.Encoding.PEM))


def write_identity(identity: Identity, key_file: Path, certificate_file: Path) -> None:
    """Writes both files, the key readable by its owner only.

    Raises:
        IdentityError: one of the files exists already (an identity is never overwritten), or
            cannot be written.
    """
    _write_new(key_file, identity.key_pem, 0o600)
    try:
        _write_new(certificate_file, identity.certificate_pem, 0o644)
    except IdentityError:
        key_file.unlink()  # it was ours, and without its certificate it is of no use
        raise


def read_identity(key_file: Path, certificate_file: Path) -> Identity:
    """The identity in two files.

    Raises:
        IdentityError: a file cannot be read, others may read the key, the key is not that of the
            certificate, or the certificate has expired.
    """
    certificate_pem = read_certificate(certificate_file)
    key_pem = _read(key_file)
    if key_file.stat().st_mode & 0o077:
        raise IdentityError(str(key_file), "others can read this key; run chmod 600 on it")
    certificate = _parsed(certificate_pem, str(certificate_file))
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError):
        raise IdentityError(str(key_file), "holds no private key without password (PEM)") from None
    if key.public_key() != certificate.public_key():
        raise IdentityError(
            str(key_file), f"is not the key of the certificate in {certificate_file}"
        )
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else certificate_file.stem
    check_validity(certificate_pem, str(certificate_file))
    return Identity(name, key_pem, certificate_pem)


def read_certificate(file: Path) -> bytes:
    """The certificate (PEM) in a file, checked to be one and the only one.

    Raises:
        IdentityError: the file cannot be read, holds no certificate or more than one.
    """
    pem = _read(file)
    if len(_bundle(pem, str(file))) > 1:
        raise IdentityError(str(file), "holds several certificates; give each a file of its own")
    return pem


def check_pins(certificates_pem: bytes, subject: str) -> None:
    """Refuses the certificates pinned for a peer if all of them are out of their time.

    Raises:
        IdentityError: with the date of the last.
    """
    refusal: IdentityError | None = None
    for certificate in _bundle(certificates_pem, subject):
        try:
            return check_validity(certificate.public_bytes(serialization.Encoding.PEM), subject)
        except IdentityError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def pinned_as(shown: bytes, certificates_pem: bytes) -> bytes | None:
    """The first of a peer's certificates if any of them was shown, else None; DER, like `shown`.

    While a certificate is rotated a peer has two of them and may show either. The first names it.
    """
    pinned = [each.public_bytes(serialization.Encoding.DER) for each in _bundle(certificates_pem)]
    return pinned[0] if shown in pinned else None


def check_validity(certificate_pem: bytes, subject: str) -> None:
    """Refuses a certificate out of its time.

    Raises:
        IdentityError: with the date.
    """
    certificate = _parsed(certificate_pem, subject)
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        day = certificate.not_valid_after_utc.date().isoformat()
        raise IdentityError(subject, f"the certificate expired on {day}; make and pin a new one")
    if now < certificate.not_valid_before_utc:
        day = certificate.not_valid_before_utc.date().isoformat()
        raise IdentityError(subject, f"the certificate begins on {day}; check the clock")


def certificate_der(certificate_pem: bytes, subject: str) -> bytes:
    """The certificate as TLS shows it.

    Raises:
        IdentityError: it is no certificate.
    """
    return _parsed(certificate_pem, subject).public_bytes(serialization.Encoding.DER)


def fingerprint(certificate: bytes) -> str:
    """`sha256:` and the digest of a certificate (PEM or DER): what people compare aloud."""
    if certificate.lstrip().startswith(b"-----"):
        certificate = certificate_der(certificate, "a certificate")
    return "sha256:" + hashlib.sha256(certificate).hexdigest()


def _write_new(file: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        why = "exists already; remove it yourself if its identity is no longer used"
        raise IdentityError(str(file), why) from None
    except OSError as error:
        raise IdentityError(str(file), f"cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise IdentityError(str(file), f"cannot be read: {error.strerror}") from None


def _bundle(pem: bytes, subject: str = "a peer") -> list[x509.Certificate]:
    """All certificates in a text, at least one."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise IdentityError(subject, "holds no certificate (PEM)") from None


def _parsed(pem: bytes, subject: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise IdentityError(subject, "holds no certificate (PEM)") from None
