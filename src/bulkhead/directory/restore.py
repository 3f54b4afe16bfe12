"""directory's part of a restore, offline: the accounts, and the statuses that the ledger says they came to since."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from sqlite3 import Connection

from bulkhead.directory.book import DirectoryBook
from bulkhead.directory.create import DECOY, TOMBSTONE
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.directory.transitions import Status
from bulkhead.errors import IntegrityError
from bulkhead.holder.database import Database
from bulkhead.holder.walk import walk
from bulkhead.identifiers import AccountId
from bulkhead.records.keyfile import KeySet

BATCH = 5000  # accounts that are looked at together


class DirectoryRestore:
    """The restored records of directory. Use within a running loop."""

    def __init__(self, home: Path, keys: KeySet) -> None:
        self._database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)
        self._book = DirectoryBook(self._database, keys.current(DECOY)[1], keys.current(TOMBSTONE)[1], 0)

    async def close(self) -> None:
        """Make it durable."""
        await self._database.close()

    async def accounts(self) -> AsyncIterator[list[AccountId]]:
        """Every account, BATCH at a time."""
        async for rows in walk(self._database, "account", ("number",), ("id",), slice_rows=BATCH):
            yield [AccountId(ident) for _, ident in rows]

    async def replay(self, statuses: Mapping[AccountId, str]) -> int:
        """Give accounts the statuses that the ledger names; how many had another one. Raises IntegrityError."""
        try:
            named = {account: Status[name.upper()] for account, name in statuses.items()}
        except KeyError as error:
            raise IntegrityError(f"the ledger names a status {error} that this version does not know") from None

        def work(connection: Connection) -> int:
            connection.execute("DELETE FROM receipt")
            return sum(self._book.replay_status(connection, account, status) for account, status in named.items())

        return await self._database.write(work)
