"""The standby's word that it will not take over for a while: asked with nonces, granted with a signature. PURE.

    ask     JSON, keys in order, no spaces: nonces by compartment, seconds, tenant, term
    grant   term u64 | seconds u32 | Ed25519 over "bulkhead/standby-lease/1", LF, SHA-256(ask), term, seconds

Whoever asks counts the seconds from when it drew its nonce, and whoever grants from when it granted, which is later: so
the one who has the lease sees it end first, however long ask and grant took, and an old grant fits no new nonce.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError
from bulkhead.records.derive import derive, require_key

ASK_MAX = 4096
SECONDS_MIN, SECONDS_MAX = 1, 300
TERM_MAX = 1 << 31  # of the setting standby.term
_GRANT = struct.Struct(">QI")
_DOMAIN = b"bulkhead/standby-lease/1\n"


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """What a primary asks for. seconds: for how long."""

    tenant: str
    term: int
    seconds: int
    nonces: Mapping[str, bytes]

    def encode(self) -> bytes:
        """Its one form."""
        nonces = {name: nonce.hex() for name, nonce in self.nonces.items()}
        fields = {"nonces": nonces, "seconds": self.seconds, "tenant": self.tenant, "term": self.term}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, octets: bytes) -> "LeaseAsk":
        """What these octets ask for. Raises IntegrityError."""
        try:
            if len(octets) > ASK_MAX:
                raise ValueError("too long")
            fields = json.loads(octets)
            nonces = {str(name): bytes.fromhex(nonce) for name, nonce in fields["nonces"].items()}
            ask = cls(str(fields["tenant"]), int(fields["term"]), int(fields["seconds"]), nonces)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise IntegrityError("this asks for no lease") from None
        if ask.encode() != octets or not SECONDS_MIN <= ask.seconds <= SECONDS_MAX or not 0 <= ask.term <= TERM_MAX:
            raise IntegrityError("this asks for no lease")
        return ask


def grant_lease(key: Ed25519PrivateKey, octets: bytes) -> bytes:
    """The grant of what `octets` ask for, counted from now. Raises IntegrityError where they ask for none."""
    ask = LeaseAsk.decode(octets)
    clear = _GRANT.pack(ask.term, ask.seconds)
    return clear + key.sign(_DOMAIN + hashlib.sha256(octets).digest() + clear)


def read_grant(key: Ed25519PublicKey, octets: bytes, grant: bytes) -> LeaseAsk:
    """What was asked and granted. Raises IntegrityError."""
    ask = LeaseAsk.decode(octets)
    clear = grant[: _GRANT.size]
    try:
        key.verify(grant[_GRANT.size :], _DOMAIN + hashlib.sha256(octets).digest() + clear)
    except InvalidSignature:
        raise IntegrityError("the lease was not granted by the tenant's standby") from None
    if clear != _GRANT.pack(ask.term, ask.seconds):
        raise IntegrityError("the lease was granted for something else")
    return ask


@dataclass(frozen=True, slots=True, repr=False)
class StandbyKeys:
    """A standby's two keys: one opens what is shipped to it, one signs leases. seed: 32 random bytes."""

    opening: X25519PrivateKey
    signing: Ed25519PrivateKey

    @classmethod
    def of(cls, seed: bytes, tenant: str) -> "StandbyKeys":
        """The keys of this seed. Raises ValueError for another length."""
        require_key(seed)
        name = tenant.encode("ascii")
        return cls(
            X25519PrivateKey.from_private_bytes(derive(seed, "standby/opening", name)),
            Ed25519PrivateKey.from_private_bytes(derive(seed, "standby/signing", name)),
        )
