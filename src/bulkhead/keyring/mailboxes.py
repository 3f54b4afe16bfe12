"""Mailbox keys: made here, signed here, and destroyed here for good.

Of an account that was destroyed its row key stays, as a tombstone for ever.
"""

from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_keyring import CreatedMailboxKeys, CreateMailboxKeys, SetHalfState
from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.mailbox import FIRST_GENERATION, new_mailbox_record, sign_binding
from bulkhead.records.seed import MailboxSeed, new_secret

_NO_TOKEN = bytes(16)  # in the receipt on disk, where a token has no place


class Mailboxes:
    """Accounts and their mailbox keys."""

    def __init__(self, database: Database, keys: Keys, tokens: Tokens) -> None:
        self._database, self._keys, self._tokens = database, keys, tokens

    async def create(self, request: CreateMailboxKeys) -> CreatedMailboxKeys:
        """Seed, key pair, recovery wrap and binding. Raises Refused (`exists`, `tombstone`)."""
        keys, account = self._keys, request.account
        if not request.token and (known := self.binding(account)):
            return CreatedMailboxKeys(known, _NO_TOKEN)
        mid = keys.mid(account)
        seed = MailboxSeed(keys.tenant, account, FIRST_GENERATION, new_secret())
        record = new_mailbox_record(seed, keys.partner, keys.operator).seal(
            keys.tenant, mid, FIRST_GENERATION, *keys.current_ring()
        )
        binding = sign_binding(seed, keys.binding, key_version=keys.binding_version).record
        made = CreatedMailboxKeys(BindingRow(account, binding), _NO_TOKEN)
        reply = await self._database.mutate(request, partial(_create, mid=mid, record=record, made=made))
        if not request.token or reply is made:
            given = self._tokens.issue(request.stamp.request_id, seed) if request.token else _NO_TOKEN
            return CreatedMailboxKeys(reply.binding, given)
        if (token := self._tokens.issued(request.stamp.request_id)) is None:
            raise Refused("the mailbox key exists, but its token is void: set a password by recovery", code="exists")
        return CreatedMailboxKeys(reply.binding, token)

    def binding(self, account: AccountId) -> BindingRow | None:
        """The newest binding of an account."""
        newest = "SELECT binding FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT 1"
        row = self._database.first(newest, (self._keys.mid(account),))
        return None if row is None else BindingRow(account, row[0])

    async def set_state(self, request: SetHalfState) -> None:
        """One of AccountState; destroyed in every file. Raises Refused as AccountTable does."""
        mid = self._keys.mid(request.account)
        await self._database.write(partial(_set_state, keys=self._keys, mid=mid, request=request))
        if request.state == AccountState.DESTROYED:
            await self._database.truncate_wal()
            self._tokens.void(request.account)


def _set_state(connection: Connection, *, keys: Keys, mid: bytes, request: SetHalfState) -> None:
    if keys.accounts.set(connection, mid, request.state):
        details = {"version": keys.current_ring()[0]}
        note(connection, "HalfDestroyed", request.stamp.actor, details, request.account)


def _create(connection: Connection, *, mid: bytes, record: bytes, made: CreatedMailboxKeys) -> CreatedMailboxKeys:
    row = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
    if row is not None and row[0] == AccountState.DESTROYED:
        raise Refused("the account was destroyed; make a new one", code="tombstone")
    if row is not None:
        raise Refused("the account has its mailbox key", code="exists")
    connection.execute("INSERT INTO account VALUES (?, ?)", (mid, AccountState.OPEN))
    connection.execute(
        "INSERT INTO mailbox SELECT ?, ?, ?, ?, number FROM renewal",
        (mid, FIRST_GENERATION, record, made.binding.record),
    )
    return made
