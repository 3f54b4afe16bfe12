"""directory's part of a restore, offline: the accounts, and what the ledger says was closed to them since."""

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from sqlite3 import Connection

from bulkhead.directory.book import DirectoryBook
from bulkhead.directory.create import DECOY, TOMBSTONE
from bulkhead.directory.routes import forward_digest, remove_team, retire
from bulkhead.directory.schema import DATABASE, MIGRATIONS, AddressKind
from bulkhead.directory.transitions import Status
from bulkhead.errors import IntegrityError
from bulkhead.holder.database import Database
from bulkhead.holder.walk import walk
from bulkhead.identifiers import AccountId
from bulkhead.records.keyfile import KeySet

_UNFORWARD = "DELETE FROM forward WHERE account = (SELECT number FROM account WHERE id = ?)"
_FORWARDED = "SELECT key FROM forward WHERE account = (SELECT number FROM account WHERE id = ?)"
_ALIASES = "SELECT key FROM address WHERE kind = ? AND account = (SELECT number FROM account WHERE id = ?)"
_LEAVE = "DELETE FROM member WHERE team = ? AND account = (SELECT number FROM account WHERE id = ?)"
_SHOWN = "SELECT shown FROM address WHERE account = (SELECT number FROM account WHERE id = ?)"
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

    async def narrow(
        self, closed: Mapping[AccountId, int], forwards: Mapping[AccountId, str],
        routes: Mapping[tuple[AccountId | None, str], str],
    ) -> int:  # fmt: skip
        """Do again what closed a way since the backup; how much.

        closed: services switched off, by account. forwards: digest of whom mail goes on to; where the backup has
        others, nothing is forwarded until it is set anew. routes: what an address came to, by its digest.
        """

        def work(connection: Connection) -> int:
            done = 0
            for account, bits in closed.items():
                update = "UPDATE account SET closed = closed | ?1 WHERE id = ?2 AND closed | ?1 <> closed"
                done += connection.execute(update, (bits, account)).rowcount
            for account, digest in forwards.items():
                keys = [key for (key,) in connection.execute(_FORWARDED, (account,))]
                if forward_digest(self._book, keys) == digest:
                    continue
                done += connection.execute(_UNFORWARD, (account,)).rowcount > 0
                connection.execute("UPDATE account SET forwards = 0 WHERE id = ?", (account,))
            return done + self._narrow_routes(connection, routes)

        return await self._database.write(work)

    def _narrow_routes(self, connection: Connection, routes: Mapping[tuple[AccountId | None, str], str]) -> int:
        done = 0
        for owner in {account for (account, _), what in routes.items() if account and what == "AddressRetired"}:
            for (key,) in connection.execute(_ALIASES, (AddressKind.ALIAS, owner)).fetchall():
                if routes.get((owner, self._book.digest(key).hex())) == "AddressRetired":
                    retire(connection, key)
                    done += 1
        if not any(what in ("left", "removed") for what in routes.values()):
            return done
        teams = {self._book.digest(key).hex(): key for (key,) in connection.execute("SELECT key FROM team").fetchall()}
        for (account, digest), what in routes.items():
            key = teams.get(digest)
            if key is not None and account and what == "left":
                done += connection.execute(_LEAVE, (key, account)).rowcount
            elif key is not None and not account and what == "removed":
                remove_team(self._book, connection, key)
                done += 1
        return done

    async def addresses(self, accounts: Iterable[AccountId]) -> list[tuple[AccountId, str]]:
        """Every address of these, before `replay` buries them."""
        found: list[tuple[AccountId, str]] = []
        for account in accounts:
            found += [(account, shown) for (shown,) in self._database.read(_SHOWN, (account,))]
        return found
