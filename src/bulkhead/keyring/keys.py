"""keyring's keys as it uses them. None of them ever leaves this process."""

from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.account_states import AccountTable
from bulkhead.holder.keys import KeyFile
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.credential import RowKeys, State
from bulkhead.records.halves import KeyringHalf, Place
from bulkhead.records.hpke import load_public_key
from bulkhead.records.mailbox import MailboxRecord, RecoveryKey
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind, read_header

INDEX = "index"  # row keys
RING = "ring"  # records
TIGHT = "tight"  # tags
BINDING = "binding"  # signs mailbox keys and order keys
QUEUE = "queue"  # opens queued messages; its version is the generation that its boxes name
RECOVERY_PARTNER = "recovery-partner"  # public
RECOVERY_OPERATOR = "recovery-operator"  # public


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one tenant. Raises Refused (`no-key`) at once where one is missing."""

    tenant: TenantId
    ring: KeyFile = field(repr=False)
    rows: RowKeys = field(repr=False)
    halves: Opener = field(repr=False)
    tight: bytes = field(repr=False)
    binding_version: int
    binding: Ed25519PrivateKey = field(repr=False)
    partner: RecoveryKey
    operator: RecoveryKey

    @classmethod
    def of(cls, tenant: TenantId, keys: KeyFile) -> "Keys":
        """The keys of an open key file."""
        keys.current(RING), keys.current(QUEUE)
        binding_version, binding = keys.current(BINDING)
        halves = Opener(Kind.KEYRING_HALF, tenant, keys, RING)
        keys.on_change(halves.forget)
        partner_version, partner = keys.current(RECOVERY_PARTNER)
        operator_version, operator = keys.current(RECOVERY_OPERATOR)
        return cls(
            tenant,
            keys,
            RowKeys(keys.current(INDEX)[1]),
            halves,
            keys.current(TIGHT)[1],
            binding_version,
            Ed25519PrivateKey.from_private_bytes(binding),
            RecoveryKey(partner_version, load_public_key(partner)),
            RecoveryKey(operator_version, load_public_key(operator)),
        )

    def bid(self, account: AccountId, cred: int) -> bytes:
        """The row key of a credential's halves."""
        return self.rows.credential(account, cred)

    def mid(self, account: AccountId) -> bytes:
        """The row key of an account."""
        return self.rows.mailbox(account)

    def current_ring(self) -> tuple[int, bytes]:
        """(version, key) that new records are sealed under."""
        return self.ring.current(RING)

    def queue_key(self, version: int) -> X25519PrivateKey:
        """The private key that boxes of that generation were sealed to. Raises IntegrityError for an unknown one."""
        try:
            return X25519PrivateKey.from_private_bytes(self.ring.get(QUEUE, version))
        except Refused as error:
            raise IntegrityError(error.public) from None

    def seal_half(self, half: KeyringHalf, bid: bytes, g: int) -> bytes:
        """The half's record under the current ring key."""
        version, key = self.current_ring()
        return half.seal(Place(self.tenant, bid, g), version, key)

    def open_half(self, record: bytes, bid: bytes, g: int) -> KeyringHalf:
        """The half in a row. Raises IntegrityError, also where its key version is gone."""
        return KeyringHalf.decode(self.halves.open(record, bid, g)[0])

    @property
    def accounts(self) -> AccountTable:
        """The accounts' states."""
        ends = "half", "mailbox", "failure", "promised"
        return AccountTable("mid", 0, ends, self._reseal, self.current_ring)

    def _reseal(self, record: bytes, bid: bytes, g: int, admits: bool) -> bytes | None:
        half = self.open_half(record, bid, g)
        if half.state is State.REVOKED:
            return None  # what it wrapped is gone
        return self.seal_half(replace(half, state=State.ACTIVE if admits else State.SUSPENDED), bid, g)

    def open_mailbox(self, record: bytes, mid: bytes, generation: int) -> MailboxRecord:
        """The mailbox record in a row. Raises IntegrityError."""
        try:
            key = self.ring.get(RING, read_header(record, Kind.MAILBOX).key_version)
        except Refused as error:
            raise IntegrityError(f"MAILBOX record: {error.public}") from None
        return MailboxRecord.open(record, self.tenant, mid, generation, key)
