"""Officers' keys and what they sign with them: Ed25519 keys of the command line, and passkeys of a browser.

A passkey signs no statement as such but a challenge, which is the hash of an order, a case or a session's statement,
each under a label of its own (W3C Web Authentication level 3, section 7.2). Of that verification there is here what
these need: type, challenge, origin, relying party, both flags, and the signature. Whoever stores the counter compares
it.
"""

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from bulkhead.errors import IntegrityError, Refused
from bulkhead.records.canonical import base64_text, require_base64, require_fields, require_text

CLIENT_DATA_MAX = 1024  # octets
SIGNATURE_MAX = 128  # octets: Ed25519 has 64, ECDSA over P-256 in DER at most 72
AUTHENTICATOR_DATA = struct.Struct(">32sBI")  # hash of the relying party's id, flags, counter; nothing behind them
_USER_PRESENT, _USER_VERIFIED, _MORE_DATA = 0x01, 0x04, 0xC0
_CLIENT_DATA = {"type", "challenge", "origin"}


class Group(Enum):
    """Whose people they are."""

    PARTNER = "partner"
    OPERATOR = "operator"


class Role(Enum):
    """What an officer is, and so of which group."""

    PARTNER_ADMIN = "partner-admin"
    PARTNER_SECURITY = "partner-security"
    PARTNER_SUPPORT = "partner-support"
    PARTNER_COLLECTOR = "partner-collector"
    OPERATOR_ENGINEER = "operator-engineer"
    OPERATOR_SECURITY = "operator-security"
    AUTOMATIC = "automatic"

    @property
    def group(self) -> Group:
        """The group."""
        return Group.PARTNER if self.value.startswith("partner") else Group.OPERATOR


APPROVING = frozenset({Role.PARTNER_ADMIN, Role.PARTNER_SECURITY, Role.OPERATOR_SECURITY})
"""Whose signature counts in a quorum.

Support acts by its cases, an engineer proposes, a collector is a machine that reads metrics, `automatic` only stops.
"""


class KeyType(Enum):
    """How a key signs."""

    ED25519 = "ed25519"
    PASSKEY_ES256 = "passkey-es256"
    PASSKEY_EDDSA = "passkey-eddsa"


@dataclass(frozen=True, slots=True)
class OfficerKey:
    """One key of an officer. public: 32 octets, or 65 of a point on P-256. rp_id, origin: of a passkey, else empty."""

    type: KeyType
    public: bytes
    rp_id: str = ""
    origin: str = ""

    @property
    def is_passkey(self) -> bool:
        """Whether a browser holds it."""
        return self.type is not KeyType.ED25519

    @property
    def id(self) -> bytes:
        """16 octets that name the key."""
        return hashlib.sha256(self.type.value.encode() + b"\0" + self.public).digest()[:16]

    def as_fields(self) -> dict[str, Any]:
        """Of a roster."""
        fields = {"type": self.type.value, "key": base64_text(self.public)}
        return {**fields, "rp_id": self.rp_id, "origin": self.origin} if self.is_passkey else fields

    @classmethod
    def of_fields(cls, fields: object) -> "OfficerKey":
        """Raises IntegrityError."""
        kind = fields.get("type") if isinstance(fields, dict) else None
        try:
            type_ = KeyType(kind)
        except ValueError:
            raise IntegrityError("an officer's key is of no known type", code="bad-key") from None
        plain = type_ is KeyType.ED25519
        named = require_fields(fields, {"type", "key"} if plain else {"type", "key", "rp_id", "origin"}, "a key")
        public = require_base64(named["key"], "a key", 65)
        if plain:
            key = cls(type_, public)
        else:
            key = cls(type_, public, require_text(named["rp_id"], "rp_id"), require_text(named["origin"], "origin"))
        key.load()
        return key

    def load(self) -> Ed25519PublicKey | EllipticCurvePublicKey:
        """The key itself. Raises IntegrityError."""
        try:
            if self.type is KeyType.PASSKEY_ES256:
                if len(self.public) != 65:
                    raise ValueError("length")
                return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), self.public)
            return Ed25519PublicKey.from_public_bytes(self.public)
        except (ValueError, UnsupportedAlgorithm):
            raise IntegrityError("an officer's key is not a valid public key", code="bad-key") from None


@dataclass(frozen=True, slots=True)
class Approval:
    """One signature under a statement. client_data and authenticator_data: of a passkey, else empty."""

    officer: str
    key: bytes  # OfficerKey.id
    signature: bytes
    client_data: bytes = b""
    authenticator_data: bytes = b""

    @property
    def counter(self) -> int:
        """Of a verified passkey; 0 of a key that counts nothing."""
        return int(AUTHENTICATOR_DATA.unpack(self.authenticator_data)[2]) if self.authenticator_data else 0


def sign_approval(signed: bytes, officer: str, key: Ed25519PrivateKey) -> Approval:
    """The officer's signature by a key of the command line. signed: what check_approval is given."""
    public = OfficerKey(KeyType.ED25519, key.public_key().public_bytes_raw())
    return Approval(officer, public.id, key.sign(signed))


def check_approval(key: OfficerKey, approval: Approval, signed: bytes, challenge: bytes) -> None:
    """Passes a signature by this key. signed: what an Ed25519 key signs; challenge: what a passkey is asked.

    Raises Refused (`bad-signature`, and for a passkey `other-challenge`, `other-origin`, `other-party`,
    `user-not-verified`).
    """
    if key.is_passkey:
        _check_client_data(key, approval.client_data, challenge)
        _check_authenticator_data(key, approval.authenticator_data)
        signed = approval.authenticator_data + hashlib.sha256(approval.client_data).digest()
    elif approval.client_data or approval.authenticator_data:
        raise Refused("a signature by an Ed25519 key has nothing beside it", code="bad-signature")
    public = key.load()
    try:
        if isinstance(public, Ed25519PublicKey):
            public.verify(approval.signature, signed)
        else:
            public.verify(approval.signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        raise Refused(f"the signature of {approval.officer} does not fit", code="bad-signature") from None


def _check_client_data(key: OfficerKey, client_data: bytes, challenge: bytes) -> None:
    try:
        data = json.loads(client_data[: CLIENT_DATA_MAX + 1].decode("utf-8"))
        if len(client_data) > CLIENT_DATA_MAX or not isinstance(data, dict) or not data.keys() >= _CLIENT_DATA:
            raise ValueError("fields")
    except (ValueError, RecursionError):
        raise Refused("a passkey's client data cannot be read", code="bad-signature") from None
    if data["type"] != "webauthn.get" or data.get("crossOrigin") not in (None, False) or "topOrigin" in data:
        raise Refused("a passkey's client data are not those of an approval", code="bad-signature")
    said = data["challenge"]
    if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), challenge_text(challenge)):
        raise Refused("the passkey approved another statement than this one", code="other-challenge")
    if data["origin"] != key.origin:
        raise Refused("the passkey was used at another origin", code="other-origin")


def challenge_text(challenge: bytes) -> bytes:
    """A challenge as client data have it: base64url without padding (RFC 4648 section 5)."""
    return base64_text(challenge).translate({43: 45, 47: 95}).rstrip("=").encode("ascii")


def _check_authenticator_data(key: OfficerKey, data: bytes) -> None:
    if len(data) != AUTHENTICATOR_DATA.size:
        raise Refused("a passkey's authenticator data have another length", code="bad-signature")
    party, flags, _ = AUTHENTICATOR_DATA.unpack(data)
    if party != hashlib.sha256(key.rp_id.encode("utf-8")).digest():
        raise Refused("the passkey was used for another relying party", code="other-party")
    if not flags & _USER_PRESENT or not flags & _USER_VERIFIED or flags & _MORE_DATA:
        raise Refused("the passkey did not ask who uses it", code="user-not-verified")
