"""store's part of a promotion, offline: numbers that the lost primary may have given out are passed over.

What it answered last may be missing here. A UID or MODSEQ that a client saw there must not mean something else, so each
mailbox goes on GAP numbers later, and every client finds what is gone as it finds what was expunged. UIDVALIDITY stays,
and nobody reads everything anew.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from bulkhead.errors import IntegrityError
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.store.changes import Effects
from bulkhead.store.handle_admin import remove_account
from bulkhead.store.restore import missing_segments
from bulkhead.store.schema import DATABASE, MIGRATIONS

GAP = 1 << 16  # UIDs of a mailbox, MODSEQs of an account; more than the backlog of a primary can hold in one mailbox


async def finish(home: Path, destroyed: Iterable[AccountId], *, history_intact: bool) -> None:
    """Make the store ready. history_intact: the primary handed over. Raises IntegrityError: a segment is missing."""
    missing = missing_segments(home)
    if missing:
        raise IntegrityError(f"segment {missing[0]} was never shipped: restore a backup instead")
    database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)
    try:
        await database.write(lambda connection: _finish(connection, destroyed, history_intact))
        await database.truncate_wal()
    finally:
        await database.close()


def _finish(connection: sqlite3.Connection, destroyed: Iterable[AccountId], history_intact: bool) -> None:
    for account in destroyed:
        remove_account(connection, Effects(), account)
    if not history_intact:
        connection.execute("UPDATE account SET modseq = modseq + ?", (GAP,))
        connection.execute("UPDATE mailbox SET uid_next = uid_next + ?", (GAP,))
