"""Who is at the other end of the link: an Ed25519 key and its self-signed certificate, each side's pinned at the other.

TLS 1.3 with the certificate asked of both sides (RFC 8446 section 4.3.2). No authority and no name is trusted: the
other's certificate is the one that was pinned, octet for octet, or nothing is said. It has no end (99991231235959Z: RFC
5280 section 4.1.2.5): the time of day is not asked.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import TenantId

PEM_MAX = 4096  # octets of either file
BEGINS, ENDS = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_identity(tenant: TenantId) -> tuple[bytes, bytes]:
    """(a new key and its certificate, the certificate alone), PEM."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"standby link of {tenant}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(BEGINS).not_valid_after(ENDS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, None)
    )  # fmt: skip
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + public, public


@dataclass(frozen=True, slots=True)
class Pinned:
    """The one certificate that the other side may show. der: its octets."""

    der: bytes

    @classmethod
    def read(cls, pem: bytes) -> "Pinned":
        """Raises ConfigError for anything but one certificate that its own Ed25519 key signed."""
        if b"PRIVATE KEY" in pem:
            raise ConfigError("a key of the link stays where it was made: give the certificate that was printed there")
        try:
            (certificate,) = x509.load_pem_x509_certificates(pem)
            key = certificate.public_key()
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError
            certificate.verify_directly_issued_by(certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise ConfigError("that is no certificate that `bulkhead standby link-key` printed") from None
        return cls(certificate.public_bytes(serialization.Encoding.DER))

    def require(self, shown: ssl.SSLObject | ssl.SSLSocket | None) -> None:
        """Raises PeerError where the other side is another, or its TLS is not 1.3."""
        if shown is None or shown.version() != "TLSv1.3" or shown.getpeercert(binary_form=True) != self.der:
            raise PeerError("the other side of the link has another key than the one that was pinned")


def server_context(identity: Path, pinned: Pinned) -> ssl.SSLContext:
    """The receiver's. Raises ConfigError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, pinned)
    context.num_tickets = 0  # nothing is resumed: each connection shows the certificate
    return context


def client_context(identity: Path, pinned: Pinned) -> ssl.SSLContext:
    """The carrier's. Raises ConfigError."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity, pinned)


def _context(side: int, identity: Path, pinned: Pinned) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the key is pinned, its name says nothing
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(identity)
        context.load_verify_locations(cadata=pinned.der)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"{identity} is no key of the link: see `bulkhead standby link-key`") from None
    return context
