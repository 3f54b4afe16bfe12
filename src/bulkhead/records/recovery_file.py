"""Recovery keys as text: a commented head and a PEM that any tool reads (RFC 7468; RFC 8410 for X25519).

The file of a private key belongs in a mode of 0600 and, in production, the partner's never on the cell's host.
"""

from dataclasses import dataclass, field

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bulkhead.errors import ConfigError, IntegrityError, PeerError
from bulkhead.identifiers import TenantId, parse_tenant_id
from bulkhead.records.mailbox import Holder, RecoveryKey

TEXT_MAX = 4096  # characters
FILE_MODE = 0o600

_COMMENT = {
    True: "# Recovery key: with the other party's it opens any mailbox of the tenant. Keep it offline, and twice.",
    False: "# Recovery public key: mailboxes are sealed to it. It is not secret, but must be the right one.",
}
_ADVICE = "restore the file from its second copy, unchanged"


@dataclass(frozen=True, slots=True)
class RecoveryPrivateKey:
    """One party's recovery key pair. version: from 1."""

    tenant: TenantId
    holder: Holder
    version: int
    private_key: X25519PrivateKey = field(repr=False)

    def public(self) -> RecoveryKey:
        """What `keyring` seals shares to."""
        return RecoveryKey(self.version, self.private_key.public_key())


def _head(tenant: TenantId, holder: Holder, version: int, public_key: X25519PublicKey, private: bool) -> str:
    lines = (
        _COMMENT[private],
        f"tenant: {tenant}",
        f"holder: {holder.name.lower()}",
        f"version: {version}",
        f"public: {public_key.public_bytes_raw().hex()}",
    )
    return "\n".join(lines) + "\n"


def write_recovery_private(key: RecoveryPrivateKey) -> str:
    """The text of the private key's file (mode 0600)."""
    pem = key.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _head(key.tenant, key.holder, key.version, key.private_key.public_key(), True) + pem.decode("ascii")


def write_recovery_public(tenant: TenantId, holder: Holder, key: RecoveryKey) -> str:
    """The text of the public key's file."""
    pem = key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _head(tenant, holder, key.version, key.public_key, False) + pem.decode("ascii")


def _read_head(text: str) -> tuple[TenantId, Holder, int, str, bytes]:
    if len(text) > TEXT_MAX or not text.isascii():
        raise ConfigError(f"recovery key file is not of the form this version writes: {_ADVICE}")
    head, mark, pem = text.partition("-----BEGIN ")
    lines = [line for line in head.splitlines() if not line.startswith("#")]
    names = [line.partition(": ")[0] for line in lines]
    if names != ["tenant", "holder", "version", "public"] or not mark:
        raise ConfigError(f"recovery key file lacks tenant, holder, version or public: {_ADVICE}")
    values = [line.partition(": ")[2] for line in lines]
    try:
        tenant, holder, version = parse_tenant_id(values[0]), Holder[values[1].upper()], int(values[2])
    except (PeerError, KeyError, ValueError):
        raise ConfigError(f"recovery key file has a tenant, holder or version that is not valid: {_ADVICE}") from None
    return tenant, holder, version, values[3], (mark + pem).encode("ascii")


def read_recovery_private(text: str) -> RecoveryPrivateKey:
    """The key pair in a private key's file.

    Raises ConfigError for text of another form, IntegrityError where private and public key do not belong together.
    """
    tenant, holder, version, public, pem = _read_head(text)
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):  # the last: a length that OpenSSL minds
        raise ConfigError(f"recovery key file holds no readable private key: {_ADVICE}") from None
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"recovery key file holds a key that is not X25519: {_ADVICE}")
    if key.public_key().public_bytes_raw().hex() != public:
        raise IntegrityError(f"recovery key file: private and public key do not belong together; {_ADVICE}")
    return RecoveryPrivateKey(tenant, holder, version, key)


def read_recovery_public(text: str) -> tuple[TenantId, Holder, RecoveryKey]:
    """(tenant, holder, public key) in a public key's file. Raises ConfigError and IntegrityError as the private one."""
    tenant, holder, version, public, pem = _read_head(text)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm, InternalError):
        raise ConfigError(f"recovery key file holds no readable public key: {_ADVICE}") from None
    if not isinstance(key, X25519PublicKey):
        raise ConfigError(f"recovery key file holds a key that is not X25519: {_ADVICE}")
    if key.public_bytes_raw().hex() != public:
        raise IntegrityError(f"recovery key file: the two forms of the public key differ; {_ADVICE}")
    return tenant, holder, RecoveryKey(version, key)
