"""App passwords: made with a fresh check of the main password, listed, revoked; keyring has the other half of each.

One is shown once and kept nowhere: the asker draws its 128 bits, so that no answer of ours, which is kept ten minutes,
has it. Its number is given once within an account. What a list shows is sealed beside the half; a login makes it a
write an hour at the most, and waits for none.
"""

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from sqlite3 import Connection

from bulkhead.auth.passwords import NewHalf, Passwords, forget_half
from bulkhead.auth.rows import Keys, Rows
from bulkhead.boundary.messages import to_auth as m
from bulkhead.errors import Error, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.sources import source_network
from bulkhead.holder.witness import ledger_text
from bulkhead.identifiers import AccountId
from bulkhead.records.app_password import CREDENTIAL_MAX, LABEL_MAX, AppPasswordNote
from bulkhead.records.credential import Scope, State, Stretched

SCOPES = Scope.IMAP | Scope.POP | Scope.SUBMIT | Scope.SIEVE | Scope.JMAP
PER_ACCOUNT_MAX = 32
USED_SECONDS = 3600  # how coarse the last use is
USED_MAX = 65_536  # credentials whose last use is remembered to be noted
_log = logging.getLogger("bulkhead.auth")


class AppPasswords:
    """Of every account."""

    def __init__(self, database: Database, rows: Rows, passwords: Passwords) -> None:
        self._database, self._rows, self._passwords = database, rows, passwords
        self._used: dict[bytes, float] = {}
        self._noting: set[asyncio.Task[None]] = set()

    async def add(self, request: m.AddAppPassword, main: Stretched) -> m.AppPasswordAdded:
        """Make one. main: what the main password becomes.

        Raises Refused (`bad-credentials`, `bad-scope`, `bad-label`, `too-many`), TemporaryFailure.
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        account, scope = request.account, request.scope
        if not scope or scope & ~SCOPES:
            raise Refused("an app password is for imap, pop, submit, sieve or jmap", code="bad-scope")
        if len(request.label.encode("utf-8", "replace")) > LABEL_MAX or not request.label.isprintable():
            raise Refused(f"a label has at most {LABEL_MAX} octets that can be printed", code="bad-label")
        owner = self._rows.owner(account)
        cred = self._next(owner)
        bid = self._rows.bid(account, cred)
        noted = AppPasswordNote(int(time.time()), request.label)
        new = NewHalf(
            account, cred, request.secret, Scope(scope), main=main, reply=m.AppPasswordAdded(cred),
            also=partial(_insert, keys=self._rows.keys, noted=noted, bid=bid, owner=owner, cred=cred),
        )  # fmt: skip
        return await self._passwords.make(new, request)

    async def list(self, account: AccountId) -> m.AppPasswords:
        """Those of an account, the oldest first. Only keyring knows which of them ended with a mailbox key."""
        page = "SELECT bid, cred, record FROM app_password WHERE owner = ? ORDER BY cred"
        rows, found = self._database.read(page, (self._rows.owner(account),)), []
        states = await self._passwords.ask_states(account, tuple(row[1] for row in rows))
        for (bid, cred, sealed), state in zip(rows, states, strict=True):
            half, noted = self._rows.find(account, cred), self._rows.keys.open_note(sealed, bid)
            scope, ended = 0 if half is None else int(half.scope), state == State.REVOKED.value
            row = m.AppPasswordRow(cred, scope, noted.label, noted.created, noted.used, noted.network, ended)
            found.append(row)
        return m.AppPasswords(tuple(found))

    async def revoke(self, request: m.RevokeAppPasswords) -> m.AppPasswordsRevoked:
        """Nobody logs in by it from now on; its sessions end when keyring has dropped its half, now if it answers."""
        account, owner = request.account, self._rows.owner(request.account)
        creds = [row[0] for row in self._database.read("SELECT cred FROM app_password WHERE owner = ?", (owner,))]
        doomed = [cred for cred in creds if request.cred in (0, cred)]
        if request.cred and not doomed and await self._database.answered(request) is None:
            raise Refused("no such app password", code="no-such-password")
        reply = await self._database.mutate(
            request, partial(_revoke, rows=self._rows, owner=owner, request=request, doomed=doomed)
        )
        for cred in doomed:
            await self._passwords.settle_later(self._rows.bid(account, cred))
        return reply

    def note_use(self, account: AccountId, cred: int, source: str) -> None:
        """Remember that it was used, about when and from where; at once, and written behind the login."""
        bid, now = self._rows.bid(account, cred), time.time()
        if self._used.get(bid, 0.0) > now - USED_SECONDS:
            return
        if len(self._used) >= USED_MAX:
            self._used.clear()
        self._used[bid] = now
        task = asyncio.get_running_loop().create_task(self._note_use(bid, source, int(now)))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    def _next(self, owner: bytes) -> int:
        """The number of the next one; taken when it is committed, and until then by one change at a time."""
        (count,) = self._database.first("SELECT count(*) FROM app_password WHERE owner = ?", (owner,))
        row = self._database.first("SELECT last FROM app_password_number WHERE owner = ?", (owner,))
        cred = 1 if row is None else int(row[0]) + 1
        if count >= PER_ACCOUNT_MAX or cred > CREDENTIAL_MAX:
            raise Refused(f"an account has at most {PER_ACCOUNT_MAX} app passwords: revoke one first", code="too-many")
        return cred

    async def _note_use(self, bid: bytes, source: str, now: int) -> None:
        keys = self._rows.keys
        row = self._database.first("SELECT record FROM app_password WHERE bid = ?", (bid,))
        try:
            noted = None if row is None else keys.open_note(row[0], bid)
            if noted is None or noted.used > now - USED_SECONDS:
                return
            sealed = keys.seal_note(replace(noted, used=now, network=source_network(source)), bid)
            await self._database.write(partial(_note_use, bid=bid, record=sealed))
        except Error as error:
            _log.warning("the use of an app password was not noted: %s", error.public)


def _insert(connection: Connection, *, keys: Keys, noted: AppPasswordNote, bid: bytes, owner: bytes, cred: int) -> None:
    record = keys.seal_note(noted, bid)  # here, and no sooner: what is sealed waits for nothing but the writer
    connection.execute("INSERT INTO app_password VALUES (?, ?, ?, ?)", (bid, owner, cred, record))
    connection.execute("INSERT OR REPLACE INTO app_password_number VALUES (?, ?)", (owner, cred))


def _revoke(
    connection: Connection, *, rows: Rows, owner: bytes, request: m.RevokeAppPasswords, doomed: list[int]
) -> m.AppPasswordsRevoked:
    for cred in doomed:
        connection.execute("DELETE FROM app_password WHERE owner = ? AND cred = ?", (owner, cred))
        forget_half(connection, bid=rows.bid(request.account, cred), account=request.account, cred=cred)
    actor = ledger_text(request.stamp.actor) or "cell"
    note(connection, "AppPasswordRevoked", actor, {"cred": request.cred, "revoked": len(doomed)}, request.account)
    return m.AppPasswordsRevoked(len(doomed))


def _note_use(connection: Connection, *, bid: bytes, record: bytes) -> None:
    """Nothing where it was revoked meanwhile."""
    connection.execute("UPDATE app_password SET record = ? WHERE bid = ?", (record, bid))
