"""What a record of auth is to a census, and to fsck."""

from collections.abc import Sequence
from typing import Any

from bulkhead.auth.rows import AUTH, Rows
from bulkhead.errors import IntegrityError
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.census import Census, Table
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.records.credential import MAIN_PASSWORD, State
from bulkhead.records.halves import AuthHalf
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind, read_header


def census(database: Database, rows: Rows) -> Census:
    """auth's records, for one request: the ciphers of its keys go with it, so that none outlives a destroyed key."""
    opener = Opener(Kind.AUTH_HALF, rows.keys.tenant, rows.keys.keys, AUTH)
    sorts: dict[bytes, tuple[str, int]] = {}  # those decoded once; as many as there are schemes and costs

    def open_half(row: Sequence[Any], account: AccountId | None) -> tuple[str, int, int]:
        body, version = opener.open(row[2], row[0], row[1])
        try:
            sort = AuthHalf.sort_of(body)
            known = sorts.get(sort)
        except (IndexError, ValueError):
            raise IntegrityError("AUTH_HALF record: the layout inside is not known") from None
        if known is None:
            half = AuthHalf.decode(body)
            known = sorts[sort] = (half.scheme, half.state.value)
        scheme, state = known
        app = scheme == "hkdf"
        revoked = rows.revocation.covers(MAIN_PASSWORD + app, row[3], account)
        return scheme, State.REVOKED.value if revoked else state, version

    def open_note(row: Sequence[Any], _: AccountId | None) -> tuple[str, int, int]:
        rows.keys.open_note(row[2], row[0])
        return "sealed", State.ACTIVE.value, read_header(row[2], Kind.APP_PASSWORD_NOTE).key_version

    halves = Table("half", Kind.AUTH_HALF, ("bid", "g"), ("record", "set_at"), "owner", open_half)
    notes = Table("app_password", Kind.APP_PASSWORD_NOTE, ("bid", "cred"), ("record",), "owner", open_note)
    return Census(
        database, (halves, notes), rows.owner, lambda account: rows.bid(account, MAIN_PASSWORD), AccountState.OPEN
    )
