"""A certificate authority for a demonstration or a small installation, and one certificate for each gate.

ECDSA P-256 throughout. A gate's certificate carries that gate's own name and the tenant's address, nothing else, so
that its key is of no use under another name. Form: RFC 5280 section 4; names as clients check them: RFC 9525 section 6.
The authority's key is for the operator's own eyes; no compartment and no supervisor reads it.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bulkhead.config import Tenant, write_file
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.layout import Layout

CA_DAYS = 3650
SERVER_DAYS = 90
CLOCK_SKEW = timedelta(hours=1)  # a certificate is valid from this long ago, for clients whose clock is behind
COMMON_NAME_MAX = 64  # characters, ub-common-name of RFC 5280 appendix A.1
NAMES_MAX = 100  # names and addresses of one certificate
PEM_BYTES_MAX = 1 << 16
FOLDER = "tls"
CA_CERTIFICATE = "ca.pem"
CA_KEY = "ca.key"
GATES: Mapping[str, str] = {
    "mx": "names.mx", "submit": "names.submit", "access": "names.access", "console": "names.console",
}  # fmt: skip
"""Gate to the setting that holds its name."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate, which clients import, and its key, which stays with the operator."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate, for clients."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def make_ca(name: str, *, now: datetime) -> Authority:
    """A new authority called `name`, valid for 10 years, that may sign servers but no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:COMMON_NAME_MAX])])
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def issue(ca: Authority, names: Sequence[str], addresses: Sequence[str], *, now: datetime) -> str:
    """A new key and its certificate as one PEM text: the key (PKCS #8, unencrypted), then the chain below the CA.

    names: host names as A-labels.   addresses: IP literals.   Valid for 90 days, and not beyond the CA.
    Raises ValueError on no name at all, too many, or an address that is none: our bug.
    """
    if not 1 <= len(names) + len(addresses) <= NAMES_MAX:
        raise ValueError(f"a certificate has 1 to {NAMES_MAX} names and addresses")
    key = ec.generate_private_key(ec.SECP256R1())
    first = next((name for name in names if len(name) <= COMMON_NAME_MAX), None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, first)] if first else [])
    alternatives = [x509.DNSName(name) for name in names]
    literals = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    issuer_key_id = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    end = min(now + timedelta(days=SERVER_DAYS), ca.certificate.not_valid_after_utc)
    certificate = (
        _builder(subject, ca.certificate.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Critical where the subject is empty: RFC 5280 section 4.2.1.6.
        .add_extension(x509.SubjectAlternativeName([*alternatives, *literals]), critical=first is None)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id),
            critical=False,
        )
        .sign(ca.key, hashes.SHA256())
    )
    return _key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def issue_gates(ca: Authority, tenant: Tenant, *, now: datetime) -> dict[str, str]:
    """Gate to its PEM text: each with its own key, its own name and the tenant's address."""
    address = tenant.settings.text("listen.address")
    return {gate: issue(ca, [tenant.settings.text(key)], [address], now=now) for gate, key in GATES.items()}


def gate_file(directory: Path, tenant: TenantId, gate: str) -> Path:
    """Where the supervisor looks for a gate's key and chain: `tls/<tenant>/<gate>.pem`."""
    return Layout(directory, tenant).pem(gate)


def write_gates(directory: Path, ca: Authority, tenant: Tenant, *, now: datetime) -> list[Path]:
    """Issue a certificate for each gate of `tenant` and write it, 0400, in the place of an older one."""
    written = []
    for gate, pem in issue_gates(ca, tenant, now=now).items():
        path = gate_file(directory, tenant.id, gate)
        write_file(path, pem, replace=True, mode=0o400)
        written.append(path)
    return written


def write_ca(directory: Path, ca: Authority) -> Path:
    """Write `tls/ca.key` (0400) and `tls/ca.pem` (0444), which is returned. Raises ConfigError."""
    write_file(directory / FOLDER / CA_KEY, _key_pem(ca.key), mode=0o400)
    certificate = directory / FOLDER / CA_CERTIFICATE
    write_file(certificate, ca.pem, mode=0o444)
    return certificate


def read_ca(directory: Path) -> Authority:
    """The authority that write_ca left. Raises ConfigError: which file is wrong and what to do."""
    certificate_path, key_path = directory / FOLDER / CA_CERTIFICATE, directory / FOLDER / CA_KEY
    certificate = _read_certificate(certificate_path)
    try:
        key = serialization.load_pem_private_key(_read(key_path), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{key_path} holds no unencrypted PEM key; put the authority's key back") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{key_path} is not the key of {certificate_path}; put the matching pair back")
    return Authority(certificate, key)


def expiry(path: Path) -> datetime:
    """When the first certificate in a PEM file ends (UTC). Raises ConfigError."""
    return _read_certificate(path).not_valid_after_utc


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(octets) > PEM_BYTES_MAX:
        raise ConfigError(f"{path} is larger than {PEM_BYTES_MAX} octets: not a key or certificate")
    return octets


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(_read(path))[0]
    except ValueError:
        raise ConfigError(f"{path} holds no PEM certificate; put one there or issue it anew") from None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    """What every certificate of ours has. `now` and `end` have a time zone."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
