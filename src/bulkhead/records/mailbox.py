"""The mailbox key row of `keyring`, and the signed binding that lets a gate seal to an account.

Row (mid, gen): two shares of the recovery secret, each sealed to one party's recovery key; the seed under both shares;
the seed of the generation before under this one. The binding {tenant, account, generation, public key} is clear and
signed.
"""

import struct
from dataclasses import dataclass, field
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import ID_BYTES, AccountId, TenantId
from bulkhead.records.derive import Shape, derive, join_fields, require_key, u32
from bulkhead.records.hpke import load_public_key, open_from, seal_to
from bulkhead.records.record import HEADER_BYTES, Kind, open_, seal
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.records.signed import check_signature, read_fields, sign

FIRST_GENERATION = 1  # of an account's mailbox key
QUEUE_ACCOUNT = AccountId(b"queue")  # stands for the account in the queue key's row, and is that row's mid

_U32 = struct.Struct(">I")
_PARTS = Shape(4)


class Holder(Enum):
    """Whose recovery key opens a share."""

    PARTNER = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True)
class VerifiedBinding:
    """A public key that `keyring` vouched for: the only thing a message key is sealed to."""

    tenant: TenantId
    account: AccountId
    generation: int
    public_key: X25519PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """A BINDING record as it came, not yet believed."""

    record: bytes

    @property
    def key_version(self) -> int:
        """Which binding key claims to have signed. Raises IntegrityError."""
        return read_fields(self.record, Kind.BINDING, 4)[0].key_version

    @property
    def generation(self) -> int:
        """Of the seed, as it claims. Raises IntegrityError."""
        raw = read_fields(self.record, Kind.BINDING, 4)[1][2]
        if len(raw) != 4:
            raise IntegrityError("BINDING record: the layout inside is not known")
        return int(_U32.unpack(raw)[0])

    def verify(self, pinned: Ed25519PublicKey, tenant: TenantId, account: AccountId) -> VerifiedBinding:
        """The key to seal to. Raises IntegrityError unless signed by `pinned` for this very tenant and account."""
        name, owner, generation, raw = check_signature(self.record, Kind.BINDING, pinned, 4)
        if name != tenant.encode("ascii") or owner != account or len(generation) != 4:
            raise IntegrityError("the key binding is for another account")
        return VerifiedBinding(tenant, account, _U32.unpack(generation)[0], load_public_key(raw))


class Claims:
    """Whose mailbox key a binding says it has: of many bindings, most of which are alike but for that.

    What they share is checked whole in the first one, and compared in the others.
    """

    def __init__(self) -> None:
        self._alike, self._size, self._at, self._tenant = b"", 0, 0, b""
        self._between = join_fields((bytes(4),))[:2], join_fields((bytes(32),))[:2]

    def read(self, record: bytes) -> tuple[bytes, bytes, bytes]:
        """(tenant, account, generation), as stored; the signature is not checked. Raises IntegrityError."""
        at = self._at
        alike = len(record) == self._size and record.startswith(self._alike)
        if alike and (record[at + 16 : at + 18], record[at + 22 : at + 24]) == self._between:
            return self._tenant, record[at : at + 16], record[at + 18 : at + 22]
        tenant, account, generation, key = read_fields(record, Kind.BINDING, 4)[1]
        if (len(account), len(generation), len(key)) == (16, 4, 32):
            self._at = HEADER_BYTES + len(join_fields((tenant, account))) - 16
            self._alike, self._size, self._tenant = record[: self._at], len(record), tenant
        return tenant, account, generation


def sign_binding(seed: MailboxSeed, private_key: Ed25519PrivateKey, *, key_version: int) -> Binding:
    """The binding of the seed's public key, signed by the tenant's binding key of `key_version`."""
    fields = (*_place(seed.tenant, seed.account, seed.generation), seed.message_public_key())
    return Binding(sign(Kind.BINDING, key_version, private_key, fields))


def resign_binding(verified: VerifiedBinding, private_key: Ed25519PrivateKey, *, key_version: int) -> Binding:
    """The same binding under another binding key: a cell that was carried elsewhere has its own."""
    place = _place(verified.tenant, verified.account, verified.generation)
    return Binding(sign(Kind.BINDING, key_version, private_key, (*place, verified.public_key.public_bytes_raw())))


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """A party's recovery public key and its version."""

    version: int
    public_key: X25519PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailboxRecord:
    """The body of row (mid, gen). Each part is a record of its own.

    share_1: for the partner. share_2: for the operator. by_shares: the seed. previous: the seed of gen-1, or empty.
    """

    share_1: bytes = field(repr=False)
    share_2: bytes = field(repr=False)
    by_shares: bytes = field(repr=False)
    previous: bytes = field(repr=False, default=b"")

    def seal(
        self,
        tenant: TenantId,
        mid: bytes,
        generation: int,
        key_version: int,
        k_ring: bytes,
        *,
        nonce: bytes | None = None,
    ) -> bytes:
        """The record under K_ring[key_version]."""
        return seal(Kind.MAILBOX, key_version, k_ring, self.encode(), _place(tenant, mid, generation), nonce=nonce)

    def encode(self) -> bytes:
        """The record's plaintext: noise to whoever has not both recovery keys."""
        return join_fields((self.share_1, self.share_2, self.by_shares, self.previous))

    @classmethod
    def open(cls, record: bytes, tenant: TenantId, mid: bytes, generation: int, k_ring: bytes) -> "MailboxRecord":
        """The row's parts. Raises IntegrityError."""
        return cls.decode(open_(record, Kind.MAILBOX, k_ring, _place(tenant, mid, generation)))

    @classmethod
    def decode(cls, body: bytes) -> "MailboxRecord":
        """The parts that a record's plaintext is. Raises IntegrityError."""
        return cls(*cls.parts(body))

    @staticmethod
    def parts(body: bytes) -> tuple[bytes, ...]:
        """The same, not made into an object: for who only looks whether they are there. Raises IntegrityError."""
        try:
            return _PARTS.read(body)
        except ValueError:
            raise IntegrityError("MAILBOX record: the layout inside is not known") from None

    def without_previous(self) -> "MailboxRecord":
        """The same, once nothing needs the seed of the generation before."""
        return MailboxRecord(self.share_1, self.share_2, self.by_shares)

    def open_previous(self, seed: MailboxSeed) -> MailboxSeed | None:
        """The seed of the generation before `seed`'s, or None for the first. Raises IntegrityError."""
        if not self.previous:
            return None
        fields = _place(seed.tenant, seed.account, seed.generation)
        secret = open_(self.previous, Kind.PREVIOUS_SEED, seed.previous_seed_key(), fields)
        return MailboxSeed(seed.tenant, seed.account, seed.generation - 1, _require_32(secret))

    def open_by_shares(
        self, tenant: TenantId, account: AccountId, generation: int, share_1: bytes, share_2: bytes
    ) -> MailboxSeed:
        """The seed, from both parties' shares. Raises IntegrityError."""
        fields = _place(tenant, account, generation)
        secret = open_(self.by_shares, Kind.SEED_BY_SHARES, _share_key(share_1, share_2, fields), fields)
        return MailboxSeed(tenant, account, generation, _require_32(secret))


def new_mailbox_record(
    seed: MailboxSeed,
    partner: RecoveryKey,
    operator: RecoveryKey,
    *,
    previous: MailboxSeed | None = None,
    shares: tuple[bytes, bytes] | None = None,
    nonces: tuple[bytes, bytes] | None = None,
) -> MailboxRecord:
    """The row's body for a new seed.

    shares: 32 random bytes each; nonces: of by_shares and of previous; both drawn if not given.
    Raises ValueError where `previous` is not the generation before.
    """
    fields = _place(seed.tenant, seed.account, seed.generation)
    share_1, share_2 = shares or (new_secret(), new_secret())
    nonce_shares, nonce_previous = nonces or (None, None)
    wrapped = b""
    if previous is not None:
        before = (previous.tenant, previous.account, previous.generation + 1)
        if before != (seed.tenant, seed.account, seed.generation):
            raise ValueError("the previous seed is of the same account and one generation older")
        wrapped = seal(
            Kind.PREVIOUS_SEED, seed.generation, seed.previous_seed_key(), previous.secret, fields, nonce=nonce_previous
        )
    return MailboxRecord(
        seal_to(Kind.RECOVERY_SHARE, partner.version, partner.public_key, share_1, _held(fields, Holder.PARTNER)),
        seal_to(Kind.RECOVERY_SHARE, operator.version, operator.public_key, share_2, _held(fields, Holder.OPERATOR)),
        seal(Kind.SEED_BY_SHARES, 0, _share_key(share_1, share_2, fields), seed.secret, fields, nonce=nonce_shares),
        wrapped,
    )


@dataclass(frozen=True, slots=True)
class OrderKey:
    """`keyring`'s one-time key for one recovery order, as a party verified it. order: 16 bytes."""

    tenant: TenantId
    account: AccountId
    generation: int
    order: bytes
    public_key: X25519PublicKey = field(repr=False)

    @classmethod
    def verify(
        cls,
        record: bytes,
        pinned: Ed25519PublicKey,
        tenant: TenantId,
        account: AccountId,
        generation: int,
        order: bytes,
    ) -> "OrderKey":
        """The key in an ORDER_KEY record. Raises IntegrityError unless signed by `pinned` for this very order."""
        fields = check_signature(record, Kind.ORDER_KEY, pinned, 5)
        if fields[:4] != (*_place(tenant, account, generation), order):
            raise IntegrityError("the one-time key is for another order")
        return cls(tenant, account, generation, order, load_public_key(fields[4]))

    def fields(self, holder: Holder) -> tuple[bytes, ...]:
        return _held((*_place(self.tenant, self.account, self.generation), self.order), holder)


def sign_order_key(
    one_time: X25519PublicKey,
    private_key: Ed25519PrivateKey,
    tenant: TenantId,
    account: AccountId,
    generation: int,
    order: bytes,
    *,
    key_version: int,
) -> bytes:
    """The ORDER_KEY record of a recovery order, signed by the binding key. Raises ValueError: an order has 16 bytes."""
    if len(order) != ID_BYTES:
        raise ValueError("an order id has 16 bytes")
    fields = (*_place(tenant, account, generation), order, one_time.public_bytes_raw())
    return sign(Kind.ORDER_KEY, key_version, private_key, fields)


def reseal_share(share: bytes, holder: Holder, recovery_key: X25519PrivateKey, order_key: OrderKey) -> bytes:
    """A party's share opened with its recovery key and sealed to the order's one-time key. Raises IntegrityError."""
    secret = open_share(share, holder, recovery_key, order_key.tenant, order_key.account, order_key.generation)
    return seal_to(Kind.ORDER_SHARE, 0, order_key.public_key, secret, order_key.fields(holder))


def open_share(
    share: bytes, holder: Holder, recovery_key: X25519PrivateKey, tenant: TenantId, account: AccountId, generation: int
) -> bytes:
    """The 32 bytes of a RECOVERY_SHARE record. Raises IntegrityError."""
    fields = _held(_place(tenant, account, generation), holder)
    return _require_32(open_from(share, Kind.RECOVERY_SHARE, recovery_key, fields))


def open_resealed(resealed: bytes, holder: Holder, one_time: X25519PrivateKey, order_key: OrderKey) -> bytes:
    """The 32 bytes of an ORDER_SHARE record, at `keyring`. Raises IntegrityError."""
    return _require_32(open_from(resealed, Kind.ORDER_SHARE, one_time, order_key.fields(holder)))


def _place(tenant: TenantId, account: bytes, generation: int) -> tuple[bytes, bytes, bytes]:
    return tenant.encode("ascii"), account, u32(generation)


def _held(fields: tuple[bytes, ...], holder: Holder) -> tuple[bytes, ...]:
    """With the holder bound, the store of shares cannot hand one party the other's."""
    return (*fields, bytes((holder.value,)))


def _share_key(share_1: bytes, share_2: bytes, fields: tuple[bytes, ...]) -> bytes:
    return derive(require_key(share_1) + require_key(share_2), "recovery", *fields)


def _require_32(secret: bytes) -> bytes:
    if len(secret) != 32:
        raise IntegrityError("a seed or share has 32 bytes")
    return secret
