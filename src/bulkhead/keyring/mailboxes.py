"""Mailbox keys: made here, signed here, and destroyed here for good.

Of an account that was destroyed its row key stays, as a tombstone for ever.
"""

from dataclasses import dataclass, field
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_keyring import CreatedMailboxKeys, CreateMailboxKeys, SetHalfState
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.mailbox import FIRST_GENERATION, new_mailbox_record, sign_binding
from bulkhead.records.seed import MailboxSeed, new_secret

_NO_TOKEN = bytes(16)  # in the receipt on disk, where a token has no place


@dataclass(frozen=True, slots=True)
class NewMailbox:
    """The first mailbox key of an account, and its record and binding."""

    seed: MailboxSeed = field(repr=False)
    record: bytes
    binding: bytes

    def put(self, connection: Connection, mid: bytes) -> None:
        """Keep it."""
        values = (mid, FIRST_GENERATION, self.record, self.binding)
        connection.execute("INSERT OR REPLACE INTO mailbox SELECT ?, ?, ?, ?, number FROM renewal", values)


def new_mailbox(keys: Keys, account: AccountId) -> NewMailbox:
    """A fresh seed, sealed to both recovery keys, and its public half, signed."""
    seed = MailboxSeed(keys.tenant, account, FIRST_GENERATION, new_secret())
    place = keys.tenant, keys.mid(account), FIRST_GENERATION
    record = new_mailbox_record(seed, keys.partner, keys.operator).seal(*place, *keys.current_ring())
    return NewMailbox(seed, record, sign_binding(seed, keys.binding, key_version=keys.binding_version).record)


class Mailboxes:
    """Accounts and their mailbox keys."""

    def __init__(self, database: Database, keys: Keys, tokens: Tokens) -> None:
        self._database, self._keys, self._tokens = database, keys, tokens

    async def create(self, request: CreateMailboxKeys) -> CreatedMailboxKeys:
        """Seed, key pair, recovery wrap and binding. Raises Refused (`exists`, `tombstone`)."""
        keys, account = self._keys, request.account
        if not request.token and (known := self.binding(account)):
            if self._database.first("SELECT 1 FROM promised WHERE mid = ?", (keys.mid(account),)) is not None:
                raise TemporaryFailure("its first password is being set", code="busy")  # with which the key may change
            return CreatedMailboxKeys(known, _NO_TOKEN)
        mid, new = keys.mid(account), new_mailbox(keys, account)
        made = CreatedMailboxKeys(BindingRow(account, new.binding), _NO_TOKEN)
        reply = await self._database.mutate(request, partial(_create, mid=mid, new=new, made=made))
        if not request.token or reply is made:
            given = self._tokens.issue(request.stamp.request_id, new.seed) if request.token else _NO_TOKEN
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
        await self._database.write(partial(self._keys.accounts.ask, owner=mid, request=request))
        if request.state == AccountState.DESTROYED:
            await self._database.truncate_wal()
            self._tokens.void(request.account)


def promise(keys: Keys, connection: Connection, account: AccountId) -> None:
    """A signed file brings this account's first password: nothing, where there is an account already."""
    mid = keys.mid(account)
    if connection.execute("SELECT 1 FROM account WHERE mid = ?", (mid,)).fetchone() is None:
        connection.execute("INSERT INTO account VALUES (?, ?)", (mid, AccountState.OPEN))
        connection.execute("INSERT INTO promised VALUES (?)", (mid,))


def _create(connection: Connection, *, mid: bytes, new: NewMailbox, made: CreatedMailboxKeys) -> CreatedMailboxKeys:
    row = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
    if row is not None and row[0] == AccountState.DESTROYED:
        raise Refused("the account was destroyed; make a new one", code="tombstone")
    if row is not None:
        raise Refused("the account has its mailbox key", code="exists")
    connection.execute("INSERT INTO account VALUES (?, ?)", (mid, AccountState.OPEN))
    new.put(connection, mid)
    return made
