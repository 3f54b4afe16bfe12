"""keyring's part of a restore, offline: every record opened, and what the ledger says was done since done again."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from sqlite3 import Connection

from bulkhead.errors import Refused
from bulkhead.holder import revocation, stop
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.walk import read_of, walk_rows
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.schema import MIGRATIONS

DATABASE = "keyring.sqlite"


class KeyringRestore:
    """The restored records of keyring. Use within a running loop."""

    def __init__(self, home: Path, keys: KeyFile) -> None:
        self.keys = Keys.of(keys.tenant, keys)
        self._database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)

    async def close(self) -> None:
        """Make it durable."""
        await self._database.truncate_wal()
        await self._database.close()

    async def check(self) -> int:
        """Open every half and mailbox key; how many. Raises IntegrityError, also where its key is gone."""
        count = 0
        async for bid, g, record in walk_rows(self._database, "half", ("bid", "g"), ("record",)):
            self.keys.open_half(record, bid, g)
            count += 1
        async for mid, generation, record in walk_rows(self._database, "mailbox", ("mid", "generation"), ("record",)):
            self.keys.open_mailbox(record, mid, generation)
            count += 1
        return count

    def lacking(self, halves: Mapping[AccountId, Mapping[int, int]]) -> dict[AccountId, set[int]]:
        """Of these credentials and their g, those of which there is no half of the same g here."""
        bids = {(account, cred): self.keys.bid(account, cred) for account, creds in halves.items() for cred in creds}
        known = set(read_of(self._database, "half", "bid", ("bid", "g"), list(bids.values())))
        found: dict[AccountId, set[int]] = {}
        for account, creds in halves.items():
            without = {cred for cred, g in creds.items() if (bids[account, cred], g) not in known}
            if without:
                found[account] = without
        return found

    async def replay(
        self, states: Mapping[AccountId, Sequence[int]], epochs: Mapping[int, int], stops: stop.Held, renewal: int
    ) -> None:
        """Do again what was done. stops: epoch and whether it holds, by table.

        renewal: when mailbox keys were ordered to be renewed, ms; 0: they were not.
        """

        def work(connection: Connection) -> None:
            revocation.replay(connection, epochs)
            for table, (epoch, held) in stops.items():
                stop.replay(connection, epoch, stopped=held, table=table)
            if renewal:
                connection.execute("UPDATE renewal SET number = number + 1, ordered_at = ?", (renewal,))
            connection.execute("DELETE FROM receipt")
            for account, asked in states.items():
                self._replay_states(connection, account, asked)

        await self._database.write(work)

    async def forget(self, dead: Mapping[AccountId, Set[int]]) -> None:
        """Destroy the halves of these credentials. Mailbox keys stay: recovery opens them."""
        bids = [(self.keys.bid(account, cred),) for account, creds in dead.items() for cred in creds]
        await self._database.write(lambda c: c.executemany("DELETE FROM half WHERE bid = ?", bids))

    def _replay_states(self, connection: Connection, account: AccountId, asked: Sequence[int]) -> None:
        mid = self.keys.mid(account)
        row = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
        if row is not None and row[0] == AccountState.DESTROYED:
            return
        if row is None and AccountState.DESTROYED not in asked:
            raise Refused("an account of directory has no row in keyring: take another backup", code="no-such-account")
        for state in asked:
            self.keys.accounts.set(connection, mid, state)
