"""What a record of keyring is to a census, and to fsck: a half, a mailbox key with its binding."""

from collections.abc import Sequence
from typing import Any

from bulkhead.errors import IntegrityError
from bulkhead.holder.census import Census, Table
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import RING, Keys
from bulkhead.records.credential import MAIN_PASSWORD
from bulkhead.records.halves import KeyringHalf
from bulkhead.records.mailbox import Binding, MailboxRecord
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind
from bulkhead.records.signed import read_fields


def census(database: Database, keys: Keys, *, signatures: bool) -> Census:
    """keyring's records, for counting. signatures: verify every binding's too, 60 us each."""
    half_opener = Opener(Kind.KEYRING_HALF, keys.tenant, keys.ring, RING)
    mailbox_opener = Opener(Kind.MAILBOX, keys.tenant, keys.ring, RING)

    def open_half(row: Sequence[Any], _: AccountId | None) -> tuple[str, int, int]:
        body, version = half_opener.open(row[2], row[0], row[1])
        return "", KeyringHalf.decode(body).state.value, version

    def open_mailbox(row: Sequence[Any], account: AccountId | None) -> tuple[str, int, int]:
        mid, generation, record, binding = row[:4]
        body, version = mailbox_opener.open(record, mid, generation)
        MailboxRecord.decode(body)
        tenant, owner, bound, _ = read_fields(binding, Kind.BINDING, 4)[1]
        if signatures:
            Binding(binding).verify(keys.binding.public_key(), keys.tenant, AccountId(owner))
        same = owner == account if account is not None else keys.mid(AccountId(owner)) == mid
        if not same or tenant != keys.tenant.encode() or bound != generation.to_bytes(4, "big"):
            raise IntegrityError("the binding is another account's")
        return "", 0, version

    tables = (
        Table("half", Kind.KEYRING_HALF, ("bid", "g"), ("record",), "mid", open_half),
        Table("mailbox", Kind.MAILBOX, ("mid", "generation"), ("record", "binding"), "mid", open_mailbox),
    )
    return Census(database, tables, keys.mid, lambda account: keys.bid(account, MAIN_PASSWORD), 0)
