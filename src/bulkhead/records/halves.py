"""The two halves of a credential: `auth` holds salts and no tag, `keyring` tags and no salt.

Both lie under their compartment's version key, AAD ... tenant, bid, g. The wrap inside `keyring`'s half is a record of
its own under the password's wrap key. AES-GCM-SIV does not commit to its key, so the tag is compared before anything is
unwrapped: `unwrap` does both, in that order.
"""

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.credential import (
    ALL_SCOPES,
    NO_SALT,
    SALT_BYTES,
    Method,
    Scope,
    State,
    Stretched,
    StretchParameters,
)
from bulkhead.records.derive import require_key, u32
from bulkhead.records.record import Kind, open_, seal

LEGACY_FIELD_MAX = 255  # octets

_AUTH = struct.Struct(">HBBIIB16s32s")
_COSTS = 13  # octets before the salt
_KEYRING = struct.Struct(">HB32s")
_GENERATION = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a half lies: the clear columns that its seal binds. g is the credential's change number."""

    tenant: TenantId
    bid: bytes
    g: int

    def fields(self) -> tuple[bytes, bytes, bytes]:
        return self.tenant.encode("ascii"), self.bid, u32(self.g)


@dataclass(frozen=True, slots=True)
class Legacy:
    """The imported digest that Argon2id wraps: its scheme and its own salt and cost string, up to 255 octets each."""

    scheme: str
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthHalf:
    """What `auth` keeps. Nothing here can be tested against a guess.

    parameters: None for an app password, which is stretched by HKDF; its salt is then 16 zero bytes.
    """

    scope: Scope
    state: State
    salt: bytes = field(repr=False)
    parameters: StretchParameters | None
    release_hash: bytes = field(repr=False)  # SHA-256(release)
    legacy: Legacy | None = None

    def seal(self, place: Place, key_version: int, k_auth: bytes, *, nonce: bytes | None = None) -> bytes:
        """The record under K_auth[key_version]. Raises ValueError for a field of the wrong length."""
        if len(self.salt) != SALT_BYTES or len(self.release_hash) != 32:
            raise ValueError("a salt has 16 bytes and a release hash 32")
        cost = self.parameters
        if cost is None:
            if self.salt != NO_SALT or self.legacy is not None:
                raise ValueError("an app password has neither salt nor legacy digest")
            costs = (Method.HKDF, 0, 0, 0)
        else:
            costs = (Method.ARGON2ID, cost.memory_kib, cost.time_cost, cost.lanes)
        scheme = self.legacy.scheme.encode("ascii") if self.legacy else b""
        legacy_salt = self.legacy.salt if self.legacy else b""
        if max(len(scheme), len(legacy_salt)) > LEGACY_FIELD_MAX or (self.legacy and not scheme):
            raise ValueError("a legacy scheme has a name, and name and salt have at most 255 octets")
        fixed = _AUTH.pack(self.scope, self.state.value, *costs, self.salt, self.release_hash)
        body = b"".join((fixed, bytes((len(scheme),)), scheme, bytes((len(legacy_salt),)), legacy_salt))
        return seal(Kind.AUTH_HALF, key_version, k_auth, body, place.fields(), nonce=nonce)

    @classmethod
    def open(cls, record: bytes, place: Place, k_auth: bytes) -> "AuthHalf":
        """The half in `record`. Raises IntegrityError."""
        body = open_(record, Kind.AUTH_HALF, k_auth, place.fields())
        return cls.decode(body)

    @classmethod
    def decode(cls, body: bytes) -> "AuthHalf":
        """The half that a record's plaintext is. Raises IntegrityError."""
        try:
            return cls._decode(body)
        except (struct.error, ValueError, IndexError):
            raise IntegrityError("AUTH_HALF record: the layout inside is not known") from None

    @classmethod
    def _decode(cls, body: bytes) -> "AuthHalf":
        scope, state, method, memory, passes, lanes, salt, release_hash = _AUTH.unpack_from(body)
        at = _AUTH.size
        scheme = body[at + 1 : at + 1 + body[at]]
        at += 1 + body[at]
        legacy_salt = body[at + 1 : at + 1 + body[at]]
        if len(body) != at + 1 + body[at] or (legacy_salt and not scheme):
            raise ValueError("wrong length")
        if Method(method) is Method.HKDF:
            if (memory, passes, lanes) != (0, 0, 0) or salt != NO_SALT or scheme:
                raise ValueError("app password with a salt")
            parameters = None
        else:
            parameters = StretchParameters(memory, passes, lanes)
        legacy = Legacy(scheme.decode("ascii"), legacy_salt) if scheme else None
        return cls(_read_scope(scope), State(state), salt, parameters, release_hash, legacy)

    @property
    def scheme(self) -> str:
        """How the password is stretched, with its cost, for counts: at most 96 characters."""
        if self.parameters is None:
            return "hkdf"
        cost = self.parameters
        text = f"argon2id(m={cost.memory_kib},t={cost.time_cost},p={cost.lanes})"
        return f"{text}({self.legacy.scheme})"[:96] if self.legacy else text

    @classmethod
    def sort_of(cls, body: bytes) -> bytes:
        """The part of an opened half by which halves are alike, all of it checked once by `decode`; a half as long as
        its own lengths say has the same scheme and state as every other of its sort. Raises IndexError, ValueError.
        """
        at = _AUTH.size + 1 + body[_AUTH.size]
        if len(body) != at + 1 + body[at]:
            raise ValueError("wrong length")
        return body[:_COSTS] + body[_AUTH.size : at]

    def check_release(self, release: bytes) -> None:
        """Passes where `release` is the one whose hash is here. Raises Refused."""
        if not hmac.compare_digest(hashlib.sha256(release).digest(), self.release_hash):
            raise Refused("authentication failed", detail="release does not match")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What a right password opens. seed is None for a credential that may only submit."""

    generation: int
    release: bytes = field(repr=False)
    seed: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyringHalf:
    """What `keyring` keeps: a tag without the salt it was made with, and the wrap."""

    scope: Scope
    state: State
    tag: bytes = field(repr=False)  # HMAC-SHA256(K_tight, tight)
    wrap: bytes = field(repr=False)  # a CREDENTIAL_WRAP record

    def seal(self, place: Place, key_version: int, k_ring: bytes, *, nonce: bytes | None = None) -> bytes:
        """The record under K_ring[key_version]. Raises ValueError for a tag of the wrong length."""
        if len(self.tag) != 32:
            raise ValueError("a tag has 32 bytes")
        body = _KEYRING.pack(self.scope, self.state.value, self.tag) + self.wrap
        return seal(Kind.KEYRING_HALF, key_version, k_ring, body, place.fields(), nonce=nonce)

    @classmethod
    def open(cls, record: bytes, place: Place, k_ring: bytes) -> "KeyringHalf":
        """The half in `record`. Raises IntegrityError."""
        return cls.decode(open_(record, Kind.KEYRING_HALF, k_ring, place.fields()))

    @classmethod
    def decode(cls, body: bytes) -> "KeyringHalf":
        """The half that a record's plaintext is. Raises IntegrityError."""
        try:
            scope, state, tag = _KEYRING.unpack_from(body)
            return cls(_read_scope(scope), State(state), tag, body[_KEYRING.size :])
        except (struct.error, ValueError):
            raise IntegrityError("KEYRING_HALF record: the layout inside is not known") from None

    def ended(self) -> "KeyringHalf":
        """The same without what it wrapped: as long as it was, so that nothing of it stays in a file."""
        return KeyringHalf(self.scope, State.REVOKED, self.tag, secrets.token_bytes(len(self.wrap)))

    @classmethod
    def sort_of(cls, body: bytes) -> bytes:
        """As AuthHalf.sort_of: scope and state. Raises IntegrityError."""
        if len(body) < _KEYRING.size:
            raise IntegrityError("KEYRING_HALF record: the layout inside is not known")
        return body[:3]

    def check_tight(self, k_tight: bytes, tight: bytes) -> None:
        """Passes where `tight` is the right password's, in constant time. Raises Refused."""
        if not hmac.compare_digest(tight_tag(k_tight, tight), self.tag):
            raise Refused("authentication failed", detail="tight does not match")

    def unwrap(
        self, k_tight: bytes, stretched: Stretched, tenant: TenantId, account: AccountId, credential: int, g: int
    ) -> Wrapped:
        """What the password opens, the tag compared first. Raises Refused (wrong password) or IntegrityError."""
        self.check_tight(k_tight, stretched.tight)
        fields = _wrap_fields(tenant, account, credential, g)
        body = open_(self.wrap, Kind.CREDENTIAL_WRAP, stretched.wrap_key, fields)
        if len(body) != (36 if self.scope == Scope.SUBMIT else 68):
            raise IntegrityError("CREDENTIAL_WRAP record: the layout inside does not fit the scope")
        (generation,) = _GENERATION.unpack_from(body)
        return Wrapped(generation, body[4:36], body[36:] or None)


def tight_tag(k_tight: bytes, tight: bytes) -> bytes:
    """HMAC-SHA256(K_tight, tight), 32 bytes."""
    return hmac.digest(require_key(k_tight), require_key(tight), "sha256")


def new_keyring_half(
    k_tight: bytes,
    stretched: Stretched,
    wrapped: Wrapped,
    tenant: TenantId,
    account: AccountId,
    credential: int,
    g: int,
    *,
    scope: Scope,
    state: State = State.ACTIVE,
    nonce: bytes | None = None,
) -> KeyringHalf:
    """The half for a new password. Raises ValueError: SUBMIT alone has no seed, any other scope has one."""
    _read_scope(scope)
    if (wrapped.seed is None) != (scope == Scope.SUBMIT):
        raise ValueError("a credential wraps the seed unless it may only submit")
    body = u32(wrapped.generation) + require_key(wrapped.release)
    if wrapped.seed is not None:
        body += require_key(wrapped.seed)
    fields = _wrap_fields(tenant, account, credential, g)
    # The wrap key is the password's, so it has no version of its own.
    wrap = seal(Kind.CREDENTIAL_WRAP, 0, stretched.wrap_key, body, fields, nonce=nonce)
    return KeyringHalf(scope, state, tight_tag(k_tight, stretched.tight), wrap)


def _wrap_fields(tenant: TenantId, account: AccountId, credential: int, g: int) -> tuple[bytes, ...]:
    """The account and not bid: a wrap can only be remade with the password, bid changes with K_index."""
    return tenant.encode("ascii"), account, u32(credential), u32(g)


def _read_scope(bits: int) -> Scope:
    if not 0 < bits <= ALL_SCOPES:
        raise ValueError("unknown or empty scope")
    return Scope(bits)
