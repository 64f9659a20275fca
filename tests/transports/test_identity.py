"""Keys, certificates, fingerprints and their files."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from transports import (
    Identity,
    IdentityError,
    create_identity,
    fingerprint,
    read_certificate,
    read_identity,
    write_identity,
)
from transports.base import Security
from transports.tls import client_context, server_context


def dated(identity: Identity, first_day: int, last_day: int) -> Identity:
    """The same key with a certificate for other days, counted from today."""
    old = x509.load_pem_x509_certificate(identity.certificate_pem)
    key = serialization.load_pem_private_key(identity.key_pem, password=None)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(now + datetime.timedelta(days=first_day))
        .not_valid_after(now + datetime.timedelta(days=last_day))
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Identity(identity.name, identity.key_pem, pem)


def test_certificate_says_what_it_should() -> None:
    identity = create_identity("hospital")
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    assert certificate.subject.rfc4514_string() == "CN=hospital"
    days = (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days
    assert days in (824, 825)


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines"])
def test_bad_names(name: str) -> None:
    with pytest.raises(IdentityError, match="64 printable"):
        create_identity(name)


def test_fingerprint() -> None:
    pem = create_identity("a").certificate_pem
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert fingerprint(pem) == fingerprint(der) == "sha256:" + hashlib.sha256(der).hexdigest()
    assert fingerprint(pem) != fingerprint(create_identity("a").certificate_pem)
    with pytest.raises(IdentityError):
        fingerprint(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_files(tmp_path: Path) -> None:
    identity = create_identity("hospital")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    write_identity(identity, key, certificate)
    assert key.stat().st_mode & 0o777 == 0o600
    assert read_identity(key, certificate) == identity
    assert read_certificate(certificate) == identity.certificate_pem


@pytest.mark.parametrize("existing", ["key.pem", "certificate.pem"])
def test_nothing_is_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(IdentityError, match="exists already"):
        write_identity(create_identity("a"), tmp_path / "key.pem", tmp_path / "certificate.pem")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    write_identity(create_identity("a"), key, certificate)
    key.chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        read_identity(key, certificate)


def test_broken_files(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    identity = create_identity("a")
    write_identity(identity, key, certificate)
    with pytest.raises(IdentityError, match="cannot be read"):
        read_identity(tmp_path / "none", certificate)
    with pytest.raises(IdentityError, match="no certificate"):
        read_identity(key, key)
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(IdentityError, match="no private key"):
        read_identity(key, certificate)
    key.write_bytes(create_identity("a").key_pem)
    with pytest.raises(IdentityError, match="not the key of the certificate"):
        read_identity(key, certificate)
    with pytest.raises(IdentityError, match="cannot be written"):
        write_identity(identity, tmp_path / "no" / "folder", certificate)


def test_dates_of_certificates(tmp_path: Path) -> None:
    good, peer = create_identity("a"), create_identity("b")
    day = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)).date().isoformat()
    expired = dated(good, -10, -1)
    write_identity(expired, tmp_path / "key.pem", tmp_path / "certificate.pem")
    with pytest.raises(IdentityError, match=f"expired on {day}"):
        read_identity(tmp_path / "key.pem", tmp_path / "certificate.pem")
    for security in (
        Security(expired, {1: peer.certificate_pem}),
        Security(good, {1: dated(peer, -10, -1).certificate_pem}),
    ):
        for context in (client_context, server_context):
            with pytest.raises(IdentityError, match=f"expired on {day}"):
                context(security)
    with pytest.raises(IdentityError, match="begins on"):
        client_context(Security(dated(good, 2, 10), {1: peer.certificate_pem}))


def test_only_tls_1_3() -> None:
    security = Security(create_identity("a"), {1: create_identity("b").certificate_pem})
    for context in (client_context(security), server_context(security)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) + context.cert_store_stats()["x509"] >= 1
        assert context.cert_store_stats()["x509"] == 1


def test_no_key_in_repr() -> None:
    identity = create_identity("a")
    assert "PRIVATE" not in repr(identity)
    assert repr(identity) == "Identity(name='a')"
    assert "PRIVATE" not in repr(Security(identity, {1: identity.certificate_pem}))
