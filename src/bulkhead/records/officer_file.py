"""An officer's or a root's private key on disk: JSON, sealed under a passphrase (Argon2id, RFC 9106; AES-256-GCM).

Made and kept on its owner's own machine; no installation is needed to make it or to sign with it.
"""

import json
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.records.canonical import base64_text, require_base64, require_fields, require_integer
from bulkhead.records.derive import join_fields
from bulkhead.records.officer import KeyType, OfficerKey, Role
from bulkhead.records.roster import is_officer_name

SCHEMA = "bulkhead/officer-key/1"
FILE_MAX = 4096  # octets
PASSPHRASE_MIN = 12  # octets
MEMORY_KIB, PASSES, LANES = 65_536, 3, 1  # 64 MiB: the second choice of RFC 9106 section 4
MEMORY_MAX_KIB, PASSES_MAX = 1_048_576, 16
ROOTS = ("partner-root", "operator-root")
ROLES = (*(role.value for role in Role), *ROOTS)
_FIELDS = {"schema", "name", "role", "public", "memory_kib", "passes", "salt", "nonce", "sealed"}


@dataclass(frozen=True, slots=True)
class OfficerPrivateKey:
    """The key pair, and whose it is. role: of ROLES."""

    name: str
    role: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """32 octets."""
        return self.private_key.public_key().public_bytes_raw()

    def public_line(self) -> str:
        """What is handed in: a line for `officer roster make`, or for a root the text that `tenant add` pins."""
        if self.role in ROOTS:
            return f"{self.role.removesuffix('-root')}:{base64_text(self.public)}"
        return f"{self.name} {self.role} {KeyType.ED25519.value} {base64_text(self.public)}"

    def key(self) -> OfficerKey:
        """As a roster has it."""
        return OfficerKey(KeyType.ED25519, self.public)


def seal_officer_key(key: OfficerPrivateKey, passphrase: bytes) -> str:
    """The text of its file. Raises ConfigError on a name or passphrase that will not do."""
    if not is_officer_name(key.name) or key.role not in ROLES:
        raise ConfigError("an officer's name is 1 to 31 of a-z, 0-9 and -, from a letter; roles are in docs/orders.md")
    if len(passphrase) < PASSPHRASE_MIN:
        raise ConfigError(f"a passphrase has at least {PASSPHRASE_MIN} octets: six words, not one")
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    cipher = AESGCM(_stretch(passphrase, salt, MEMORY_KIB, PASSES))
    sealed = cipher.encrypt(nonce, key.private_key.private_bytes_raw(), _bound(key.name, key.role, key.public))
    document = {
        "schema": SCHEMA, "name": key.name, "role": key.role, "public": base64_text(key.public),
        "memory_kib": MEMORY_KIB, "passes": PASSES, "salt": base64_text(salt), "nonce": base64_text(nonce),
        "sealed": base64_text(sealed),
    }  # fmt: skip
    return json.dumps(document, indent=1) + "\n"


def open_officer_key(text: str, passphrase: bytes) -> OfficerPrivateKey:
    """The key of a file's text. Raises IntegrityError: it is none, or the passphrase is another."""
    try:
        document = json.loads(text) if len(text) <= FILE_MAX else None
    except (ValueError, RecursionError):
        document = None
    fields = require_fields(document, _FIELDS, "an officer's key file")
    memory = require_integer(fields["memory_kib"], "memory_kib", MEMORY_MAX_KIB)
    passes = require_integer(fields["passes"], "passes", PASSES_MAX)
    salt, nonce = require_base64(fields["salt"], "salt", 16), require_base64(fields["nonce"], "nonce", 12)
    public, sealed = require_base64(fields["public"], "public", 32), require_base64(fields["sealed"], "sealed", 64)
    name, role = str(fields["name"]), str(fields["role"])
    if fields["schema"] != SCHEMA or len(salt) != 16 or len(nonce) != 12 or memory < 8 or not passes:
        raise IntegrityError("not an officer's key file of this version")
    try:
        raw = AESGCM(_stretch(passphrase, salt, memory, passes)).decrypt(nonce, sealed, _bound(name, role, public))
        key = OfficerPrivateKey(name, role, Ed25519PrivateKey.from_private_bytes(raw))
    except (InvalidTag, ValueError):
        raise IntegrityError("the key does not open: another passphrase, or the file was changed") from None
    if key.public != public:
        raise IntegrityError("the two halves of the key do not belong together")
    return key


def _stretch(passphrase: bytes, salt: bytes, memory: int, passes: int) -> bytes:
    return Argon2id(salt=salt, length=32, iterations=passes, lanes=LANES, memory_cost=memory).derive(passphrase)


def _bound(name: str, role: str, public: bytes) -> bytes:
    return join_fields((b"bulkhead/v1/officer-key", name.encode("utf-8"), role.encode("utf-8"), public))
