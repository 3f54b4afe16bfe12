"""The statement that lets one message of an account go on to another server: directory signs it, queue believes it.

    LP(tenant, account, id, target, return path, expires u64 ms) | Ed25519 over LP("bulkhead/v1/forward") and that

A gate carries it and can change nothing in it. The id is drawn by directory and becomes the queue id of that message,
so that one statement sends one message. The return path is in it, too: empty for a message from `<>`.

Both keys of this page come from directory's tombstone key, each by a label of its own, so that an older cell has them.
"""

import base64
import binascii
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import ID_BYTES, AccountId, QueueId, TenantId
from bulkhead.records.derive import Shape, derive, join_fields

STATEMENT_MAX = 1024  # octets
SIGNATURE_BYTES = 64
RETURN_DAYS = 10  # how long after its day a return path takes bounces: 5 days here, as many at the other server
DAY_MS = 86_400_000
_LABEL = join_fields((b"bulkhead/v1/forward",))
_EXPIRES = struct.Struct(">Q")
_DAY = struct.Struct(">H")
_PREFIX = "fwd-"
_SEALED = 16 + ID_BYTES + _DAY.size  # AES-SIV puts 16 octets before what it seals
_LOCAL_PART = len(_PREFIX) + (_SEALED * 8 + 4) // 5  # 59 of the 64 that RFC 5321 section 4.5.3.1.1 allows


@dataclass(frozen=True, slots=True)
class Forward:
    """One message of `account` to `target`, a single time. expires: ms. return_path: empty for null."""

    tenant: TenantId
    account: AccountId
    id: QueueId
    target: str
    return_path: str
    expires: int

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """The statement. Raises ValueError above STATEMENT_MAX: directory takes no such addresses."""
        clear = join_fields(
            (
                self.tenant.encode("ascii"), self.account, self.id, self.target.encode(), self.return_path.encode(),
                _EXPIRES.pack(self.expires),
            )
        )  # fmt: skip
        if len(clear) + SIGNATURE_BYTES > STATEMENT_MAX:
            raise ValueError("a forward's addresses are too long")
        return clear + key.sign(_LABEL + clear)

    @classmethod
    def read(cls, statement: bytes) -> "Forward":
        """What it says, the signature not yet checked: for the gate, which cannot use it for anything else.

        Raises IntegrityError.
        """
        try:
            if len(statement) > STATEMENT_MAX:
                raise ValueError("too long")
            tenant, account, ident, target, return_path, expires = _shape().read(statement)
            if (len(account), len(ident), len(expires)) != (ID_BYTES, ID_BYTES, _EXPIRES.size):
                raise ValueError("a field of another length")
            return cls(
                TenantId(tenant.decode("ascii")), AccountId(account), QueueId(ident), target.decode(),
                return_path.decode(), int(_EXPIRES.unpack(expires)[0]),
            )  # fmt: skip
        except ValueError:
            raise IntegrityError("this lets no mail go on") from None

    @classmethod
    def verify(cls, statement: bytes, pinned: Ed25519PublicKey, tenant: TenantId) -> "Forward":
        """What `pinned` signed for this tenant; whether it is still good is the caller's to see.

        Raises IntegrityError.
        """
        found = cls.read(statement)
        try:
            pinned.verify(statement[-SIGNATURE_BYTES:], _LABEL + statement[:-SIGNATURE_BYTES])
        except InvalidSignature:
            raise IntegrityError("the forward is not signed by this tenant's directory") from None
        if found.tenant != tenant:
            raise IntegrityError("the forward is of another tenant")
        return found


def _shape() -> Shape:
    return Shape(6, 0, SIGNATURE_BYTES)


def signing_key(tombstone_key: bytes, tenant: TenantId) -> Ed25519PrivateKey:
    """directory's key for statements. Its public half is `pinned.forward_key`."""
    return Ed25519PrivateKey.from_private_bytes(derive(tombstone_key, "forward/signing", tenant.encode("ascii")))


def public_key(tombstone_key: bytes, tenant: TenantId) -> bytes:
    """The public half, 32 octets: what queue believes."""
    return signing_key(tombstone_key, tenant).public_key().public_bytes_raw()


class ReturnPaths:
    """Local parts that name an account to directory and to nobody else, and that nobody else can make.

    `fwd-` and base32 of AES-SIV (RFC 5297) over account and day; the domain is bound. One a day and account.
    """

    def __init__(self, tombstone_key: bytes, tenant: TenantId) -> None:
        self._cipher = AESSIV(derive(tombstone_key, "forward/return-path", tenant.encode("ascii")))

    def make(self, account: AccountId, domain: str, now: int) -> str:
        """The whole address, in lower case."""
        sealed = self._cipher.encrypt(account + _DAY.pack(now // DAY_MS & 0xFFFF), [domain.encode()])
        return f"{_PREFIX}{base64.b32encode(sealed).decode('ascii').rstrip('=').lower()}@{domain}"

    def read(self, local_part: str, domain: str, now: int) -> AccountId | None:
        """The account, or None where it is none of ours, or older than RETURN_DAYS."""
        folded = local_part.lower()  # some servers change the case
        if len(folded) != _LOCAL_PART or not folded.startswith(_PREFIX):
            return None
        text = folded.removeprefix(_PREFIX).upper()
        try:
            sealed = base64.b32decode(text + "=" * (-len(text) % 8))
            opened = self._cipher.decrypt(sealed, [domain.encode()])
        except (binascii.Error, ValueError, InvalidTag):
            return None
        age = (now // DAY_MS - _DAY.unpack(opened[ID_BYTES:])[0]) & 0xFFFF
        return AccountId(opened[:ID_BYTES]) if age <= RETURN_DAYS else None
