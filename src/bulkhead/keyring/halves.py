"""Setting and dropping this side's halves: steps 1 and 3 of a change of password (auth/passwords.py has the whole).

A half is added only with a one-time token, beside the old one; both can be checked until auth has committed the new
one and has the old dropped. auth compares the release, so a half that auth did not commit admits nobody.
"""

import hashlib
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_keyring import AddHalf, DropHalves, HalfAdded
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.schema import AccountState
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.credential import ALL_SCOPES, Scope, State, Stretched
from bulkhead.records.halves import Wrapped, new_keyring_half
from bulkhead.records.seed import new_secret

HALVES_MAX = 4  # of one credential at once: old and new, and what a lost change may leave


class Halves:
    """This side's halves of credentials."""

    def __init__(self, database: Database, keys: Keys, tokens: Tokens) -> None:
        self._database, self._keys, self._tokens = database, keys, tokens

    async def add(self, request: AddHalf) -> HalfAdded:
        """Add half g. Raises Refused (`bad-token`, `bad-scope`, `too-many`)."""
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        keys, account, cred, g = self._keys, request.account, request.cred, request.g
        setup = self._tokens.find(request.token, account)
        if not 0 < request.scope <= ALL_SCOPES:
            raise Refused("a credential has at least one scope, and known ones only", code="bad-scope")
        bid, mid, scope = keys.bid(account, cred), keys.mid(account), Scope(request.scope)
        release = new_secret()
        wrapped = Wrapped(setup.seed.generation, release, None if scope == Scope.SUBMIT else setup.seed.secret)
        stretched = Stretched(request.tight, request.wrap_key)
        state = State.SUSPENDED if self._state(mid) == AccountState.SUSPENDED else State.ACTIVE
        half = new_keyring_half(keys.tight, stretched, wrapped, keys.tenant, account, cred, g, scope=scope, state=state)
        record = keys.seal_half(half, bid, g)
        reply = HalfAdded(hashlib.sha256(release).digest(), g)
        setup.g = g
        return await self._database.mutate(request, partial(_add, bid=bid, g=g, mid=mid, record=record, reply=reply))

    async def drop(self, request: DropHalves) -> bool:
        """Destroy every half of the credential but one, in every file; whether there was any to destroy."""
        bid = self._keys.bid(request.account, request.cred)
        others = "SELECT 1 FROM half WHERE bid = ? AND g <> ?"
        had = self._database.first(others, (bid, request.keep_g)) is not None
        await self._database.mutate(request, partial(_drop, bid=bid, keep_g=request.keep_g))
        if had:
            await self._database.truncate_wal()
        self._tokens.spend(request.account, request.keep_g)
        return had

    def _state(self, mid: bytes) -> int:
        row = self._database.first("SELECT state FROM account WHERE mid = ?", (mid,))
        if row is None or row[0] == AccountState.DESTROYED:
            raise Refused("the account has no mailbox key", code="bad-token")
        return int(row[0])


def _add(connection: Connection, *, bid: bytes, g: int, mid: bytes, record: bytes, reply: HalfAdded) -> HalfAdded:
    (state,) = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
    (halves,) = connection.execute("SELECT count(*) FROM half WHERE bid = ? AND g <> ?", (bid, g)).fetchone()
    if state == AccountState.DESTROYED or halves >= HALVES_MAX:
        raise Refused("too many changes of this credential are unfinished", code="too-many")
    connection.execute("INSERT OR REPLACE INTO half VALUES (?, ?, ?, ?)", (bid, g, mid, record))
    return reply


def _drop(connection: Connection, *, bid: bytes, keep_g: int) -> Done:
    connection.execute("DELETE FROM half WHERE bid = ? AND g <> ?", (bid, keep_g))
    return Done()
