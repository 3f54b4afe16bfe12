"""auth's part of a restore, offline: every record opened, and what the ledger says was done since done again."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection

from bulkhead.auth.rows import Keys
from bulkhead.auth.schema import MIGRATIONS
from bulkhead.holder import revocation, stop
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.walk import read_of, walk_rows
from bulkhead.identifiers import AccountId
from bulkhead.records.credential import MAIN_PASSWORD

DATABASE = "auth.sqlite"
ALL = 0


@dataclass(frozen=True, slots=True)
class Since:
    """What to do again. states: of AccountState, what is asked for. changed: credentials set anew.

    revoked: app passwords, 0 for all. stop: epoch and whether it holds.
    """

    states: Mapping[AccountId, Sequence[int]]
    changed: Mapping[AccountId, Set[int]]
    revoked: Mapping[AccountId, Set[int]]
    epochs: Mapping[int, int]
    stop: tuple[int, bool]


class AuthRestore:
    """The restored records of auth. Use within a running loop."""

    def __init__(self, home: Path, keys: KeyFile) -> None:
        self._keys = Keys.of(keys.tenant, keys)
        self._database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)

    async def close(self) -> None:
        """Make it durable."""
        await self._database.truncate_wal()
        await self._database.close()

    async def check(self) -> int:
        """Open every half; how many. Raises IntegrityError: the backup's key version is gone, or bytes are changed."""
        count = 0
        async for bid, g, record in walk_rows(self._database, "half", ("bid", "g"), ("record",)):
            self._keys.open(record, bid, g)
            count += 1
        return count

    def halves(self, accounts: Sequence[AccountId]) -> dict[AccountId, dict[int, int]]:
        """g of every credential of these accounts, which are few: a restore asks for them in batches."""
        rows = self._keys.rows
        owners = {rows.mailbox(account): account for account in accounts}
        apps: dict[bytes, list[int]] = {}
        wanted = [rows.credential(account, MAIN_PASSWORD) for account in accounts]
        for owner, cred in read_of(self._database, "app_password", "owner", ("owner", "cred"), list(owners)):
            apps.setdefault(owner, []).append(cred)
            wanted.append(rows.credential(owners[owner], cred))
        by_bid = dict(read_of(self._database, "half", "bid", ("bid", "g"), wanted))
        found: dict[AccountId, dict[int, int]] = {}
        for account in accounts:
            creds = (MAIN_PASSWORD, *apps.get(rows.mailbox(account), ()))
            bids = ((cred, rows.credential(account, cred)) for cred in creds)
            found[account] = {cred: by_bid[bid] for cred, bid in bids if bid in by_bid}
        return found

    async def replay(self, since: Since) -> None:
        """Do again what was done."""
        await self._database.write(lambda connection: self._replay(connection, since))

    async def forget(self, dead: Mapping[AccountId, Set[int]]) -> None:
        """Destroy these credentials: they must be set anew."""
        await self._database.write(lambda connection: self._forget(connection, dead))

    def _replay(self, connection: Connection, since: Since) -> None:
        revocation.replay(connection, since.epochs)
        stop.replay(connection, since.stop[0], stopped=since.stop[1])
        connection.execute("DELETE FROM receipt")
        for account, creds in (*since.changed.items(), *since.revoked.items()):
            owner = self._keys.rows.mailbox(account)
            if max(creds) > MAIN_PASSWORD:  # a number is never given twice
                connection.execute(
                    "INSERT INTO app_password_number VALUES (?1, ?2)"
                    " ON CONFLICT (owner) DO UPDATE SET last = max(last, ?2)",
                    (owner, max(creds)),
                )
        for account, asked in since.states.items():
            owner = self._keys.rows.mailbox(account)
            row = connection.execute("SELECT state FROM account WHERE owner = ?", (owner,)).fetchone()
            for state in asked if row is None or row[0] != AccountState.DESTROYED else ():
                self._keys.accounts.set(connection, owner, state)

    def _forget(self, connection: Connection, dead: Mapping[AccountId, Set[int]]) -> None:
        rows = self._keys.rows
        for account, creds in dead.items():
            for cred in creds:
                bid = rows.credential(account, cred)
                connection.execute("DELETE FROM half WHERE bid = ?", (bid,))
                connection.execute("DELETE FROM app_password WHERE bid = ?", (bid,))
                connection.execute("DELETE FROM change WHERE bid = ?", (bid,))


def dead_of(since: Since, halves: Mapping[AccountId, Mapping[int, int]]) -> dict[AccountId, set[int]]:
    """The credentials that were set anew or revoked since, of those that the backup has."""
    dead: dict[AccountId, set[int]] = {}
    for account, found in halves.items():
        revoked = since.revoked.get(account, frozenset())
        gone = {cred for cred in found if cred in since.changed.get(account, frozenset())}
        gone |= {cred for cred in found if cred != MAIN_PASSWORD and (ALL in revoked or cred in revoked)}
        if gone:
            dead[account] = gone
    return dead
