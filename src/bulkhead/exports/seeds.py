"""The seeds of an exported account, from both recovery keys; and what they open."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.messages.to_keyring import ExportedKey
from bulkhead.boundary.messages.to_store import ExportedRow, NamedRow
from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.mailbox import MailboxRecord, open_share
from bulkhead.records.message import open_key_box
from bulkhead.records.name import TAG_BYTES, NameKind, SealedName, open_name
from bulkhead.records.record import Kind, read_header
from bulkhead.records.recovery_file import RecoveryPrivateKey
from bulkhead.records.seed import MailboxSeed
from bulkhead.records.slot import open_slot


def open_seeds(
    tenant: TenantId,
    account: AccountId,
    keys: Sequence[ExportedKey],
    partner: RecoveryPrivateKey,
    operator: RecoveryPrivateKey,
) -> dict[int, MailboxSeed]:
    """Every generation's seed. Raises Refused (`wrong-key`) where a key opens none, naming whose it is."""
    seeds: dict[int, MailboxSeed] = {}
    refused: Refused | None = None
    for key in sorted(keys, key=lambda key: -key.generation):
        if key.account != account:
            raise IntegrityError("a key of another account lies with this one")
        record = MailboxRecord.decode(key.sealed)
        if key.generation not in seeds:
            try:
                shares = [
                    _share(sealed, owner, tenant, account, key.generation)
                    for sealed, owner in ((record.share_1, partner), (record.share_2, operator))
                ]
                seeds[key.generation] = record.open_by_shares(tenant, account, key.generation, *shares)
            except Refused as error:
                refused = error
                continue
        previous = record.open_previous(seeds[key.generation])
        if previous is not None:
            seeds[previous.generation] = previous
    if refused is not None and not seeds:
        raise refused
    return seeds


def _share(sealed: bytes, owner: RecoveryPrivateKey, tenant: TenantId, account: AccountId, generation: int) -> bytes:
    version, who = read_header(sealed, Kind.RECOVERY_SHARE).key_version, owner.holder.name.lower()
    if version != owner.version:
        raise Refused(
            f"the mailbox is sealed to version {version} of the {who}'s recovery key, and the file is version "
            f"{owner.version}: give the other file",
            code="wrong-key",
        )
    try:
        return open_share(sealed, owner.holder, owner.private_key, tenant, account, generation)
    except IntegrityError:
        raise Refused(
            f"the {who}'s recovery key does not open this export: it is another tenant's or another key",
            code="wrong-key",
        ) from None


@dataclass(slots=True)
class Opener:
    """Opens what one account's seeds open. message_keys: private keys and slot keys by generation, made once."""

    account: AccountId
    seeds: dict[int, MailboxSeed] = field(repr=False)
    _boxes: dict[int, X25519PrivateKey] = field(default_factory=dict, repr=False)
    _slots: dict[int, bytes] = field(default_factory=dict, repr=False)

    def message_key(self, row: ExportedRow) -> bytes:
        """The key of one message. Raises IntegrityError."""
        kind = Kind.SLOT if row.filed else Kind.KEY_BOX
        generation = read_header(row.sealed_key, kind).key_version
        seed = self.seeds.get(generation)
        if seed is None:
            raise IntegrityError(f"no key of generation {generation} is in the export")
        if row.filed:
            slot_key = self._slots.setdefault(generation, b"") or seed.slot_key()
            self._slots[generation] = slot_key
            return open_slot(slot_key, self.account, row.email, row.sealed_key)
        private = self._boxes.get(generation)
        if private is None:
            private = self._boxes[generation] = seed.message_private_key()
        return open_key_box(row.sealed_key, private, seed.tenant, self.account, row.email)

    def folder(self, stored: bytes) -> str | None:
        """The name of a mailbox, or None where it does not open."""
        return self._name(NameKind.FOLDER, SealedName(stored[:TAG_BYTES], stored[TAG_BYTES:]))

    def keyword(self, row: NamedRow) -> str | None:
        """A keyword."""
        return self._name(NameKind.KEYWORD, SealedName(row.tag, row.sealed_name))

    def subscription(self, row: NamedRow) -> str | None:
        """A name that was subscribed to."""
        return self._name(NameKind.FOLDER, SealedName(row.tag, row.sealed_name))

    def _name(self, kind: NameKind, sealed: SealedName) -> str | None:
        try:
            seed = self.seeds.get(read_header(sealed.record, kind.value).key_version)
            return None if seed is None else open_name(seed.metadata_key(), self.account, kind, sealed)
        except IntegrityError:
            return None
