"""What a record of keyring is to a census, and to fsck: a half, a mailbox key with its binding."""

from collections.abc import Sequence
from typing import Any

from bulkhead.errors import IntegrityError
from bulkhead.holder.census import Census, Table
from bulkhead.holder.database import Database
from bulkhead.holder.revocation import Revocation
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import RING, Keys
from bulkhead.records.credential import MAIN_PASSWORD, State
from bulkhead.records.halves import KeyringHalf
from bulkhead.records.mailbox import Binding, Claims, MailboxRecord
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind


def census(database: Database, keys: Keys, revocation: Revocation, *, signatures: bool) -> Census:
    """keyring's records, for counting. signatures: verify every binding's too, 60 us each."""
    half_opener = Opener(Kind.KEYRING_HALF, keys.tenant, keys.ring, RING)
    mailbox_opener = Opener(Kind.MAILBOX, keys.tenant, keys.ring, RING)

    claims, tenant_name = Claims(), keys.tenant.encode()
    states: dict[bytes, int] = {}  # of those decoded once

    def open_half(row: Sequence[Any], account: AccountId | None) -> tuple[str, int, int]:
        body, version = half_opener.open(row[2], row[0], row[1])
        sort = KeyringHalf.sort_of(body)
        if sort not in states:
            states[sort] = KeyringHalf.decode(body).state.value
        return "", State.REVOKED.value if is_revoked(row, account) else states[sort], version

    def is_revoked(row: Sequence[Any], account: AccountId | None) -> bool:
        bid, _, _, set_at, mid = row[:5]
        main, app = (revocation.covers(cred, set_at, account) for cred in (MAIN_PASSWORD, MAIN_PASSWORD + 1))
        if main == app and (main or not revocation.names_accounts()):
            return main
        if account is None:  # no row of keyring says whose half it is, nor of which credential: the binding does
            found = database.first("SELECT binding FROM mailbox WHERE mid = ?", (mid,))
            if found is None:
                return False
            account = AccountId(claims.read(found[0])[1])
        is_main = keys.bid(account, MAIN_PASSWORD) == bid
        return revocation.covers(MAIN_PASSWORD if is_main else MAIN_PASSWORD + 1, set_at, account)

    def open_mailbox(row: Sequence[Any], account: AccountId | None) -> tuple[str, int, int]:
        mid, generation, record, binding = row[:4]
        body, version = mailbox_opener.open(record, mid, generation)
        MailboxRecord.parts(body)
        tenant, owner, bound = claims.read(binding)
        if signatures:
            Binding(binding).verify(keys.binding.public_key(), keys.tenant, AccountId(owner))
        same = owner == account if account is not None else keys.mid(AccountId(owner)) == mid
        if not same or tenant != tenant_name or bound != generation.to_bytes(4, "big"):
            raise IntegrityError("the binding is another account's")
        return "", 0, version

    tables = (
        Table("half", Kind.KEYRING_HALF, ("bid", "g"), ("record", "set_at", "mid"), "mid", open_half),
        Table("mailbox", Kind.MAILBOX, ("mid", "generation"), ("record", "binding"), "mid", open_mailbox),
    )
    return Census(database, tables, keys.mid, lambda account: keys.bid(account, MAIN_PASSWORD), 0)
