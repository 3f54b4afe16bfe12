"""Setting and dropping this side's halves: steps 1 and 3 of a change of password (auth/passwords.py has the whole).

A half is added only with a one-time token or with the main password that is set, beside the old one; both can be
checked until auth has committed the new one and has the old dropped. auth compares the release, so a half that auth did
not commit admits nobody. A token is for the main password alone; the main password allows no scope that it has not.
"""

import hashlib
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_keyring import AddHalf, DropHalves, HalfAdded
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.revocation import Revocation
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.logins import Logins
from bulkhead.keyring.mailboxes import NewMailbox, new_mailbox
from bulkhead.keyring.tokens import Tokens
from bulkhead.records.credential import ALL_SCOPES, MAIN_PASSWORD, Scope, State, Stretched
from bulkhead.records.halves import KeyringHalf, Wrapped, new_keyring_half
from bulkhead.records.mailbox import FIRST_GENERATION
from bulkhead.records.seed import new_secret

HALVES_MAX = 4  # of one credential at once: old and new, and what a lost change may leave
ACCOUNT_HALVES_MAX = 160  # with app passwords: more than auth makes, and fewer than a compromised one would


class Halves:
    """This side's halves of credentials."""

    def __init__(self, database: Database, keys: Keys, tokens: Tokens, logins: Logins, revocation: Revocation) -> None:
        self._database, self._keys, self._tokens, self._logins = database, keys, tokens, logins
        self._revocation = revocation
        self._unfolded = True  # as whoever was killed may have left it

    async def add(self, request: AddHalf) -> HalfAdded:
        """Add half g. Raises Refused (`bad-token`, `bad-credentials`, `bad-scope`, `too-many`)."""
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        keys, account, cred, g = self._keys, request.account, request.cred, request.g
        if not 0 < request.scope <= ALL_SCOPES:
            raise Refused("a credential has at least one scope, and known ones only", code="bad-scope")
        bid, mid, scope = keys.bid(account, cred), keys.mid(account), Scope(request.scope)
        new = self._first(request, mid)
        generation, seed = (FIRST_GENERATION, new.seed.secret) if new else await self._allowed(request, scope)
        set_at = self._revocation.stamp(cred)
        release = new_secret()
        wrapped = Wrapped(generation, release, None if scope == Scope.SUBMIT else seed)
        stretched = Stretched(request.tight, request.wrap_key)
        state = State.ACTIVE if self._state(mid) == AccountState.OPEN else State.SUSPENDED
        half = new_keyring_half(keys.tight, stretched, wrapped, keys.tenant, account, cred, g, scope=scope, state=state)
        record = keys.seal_half(half, bid, g)
        reply = HalfAdded(hashlib.sha256(release).digest(), g)
        add = partial(_add, (bid, g, mid, record, set_at), cred, generation, reply, new)
        return await self._database.mutate(request, add)

    def _first(self, request: AddHalf, mid: bytes) -> NewMailbox | None:
        """The mailbox key of an account to which a signed file promised a first password, that is not set yet."""
        asked = request.token is None and request.main_tight is None and (request.cred, request.g) == (MAIN_PASSWORD, 1)
        if not asked or self._database.first("SELECT 1 FROM promised WHERE mid = ?", (mid,)) is None:
            return None
        return new_mailbox(self._keys, request.account)

    async def _allowed(self, request: AddHalf, scope: Scope) -> tuple[int, bytes | None]:
        """(generation, seed) that this half may wrap, by what the request brings."""
        if request.main_tight is not None and request.main_wrap_key is not None:
            old = Stretched(request.main_tight, request.main_wrap_key)
            opened = await self._logins.open_main(request.account, old, _is_active)
            if scope & ~opened.half.scope:
                raise Refused("the main password is not for this service itself", code="bad-scope")
            return opened.wrapped.generation, opened.wrapped.seed
        if request.token is None or request.cred != MAIN_PASSWORD:
            raise Refused("a token sets the main password", code="bad-token")
        setup = self._tokens.find(request.token, request.account)
        setup.g = request.g
        return setup.seed.generation, setup.seed.secret

    async def drop(self, request: DropHalves) -> bool:
        """Destroy every half of the credential but one; whether there was any to destroy. `fold` is still to come."""
        bid = self._keys.bid(request.account, request.cred)
        others = "SELECT 1 FROM half WHERE bid = ? AND g <> ?"
        had = self._database.first(others, (bid, request.keep_g)) is not None
        kept = self._keys.mid(request.account) if request.cred == MAIN_PASSWORD and request.keep_g else b""
        await self._database.mutate(request, partial(_drop, bid=bid, keep_g=request.keep_g, kept=kept))
        self._unfolded |= had
        if request.cred == MAIN_PASSWORD:
            self._tokens.spend(request.account, request.keep_g)
        return had

    async def fold(self) -> None:
        """What was dropped is in no file any more. Raises TemporaryFailure; the next call then does it."""
        if self._unfolded:
            await self._database.truncate_wal()
            self._unfolded = False

    def state_of(self, account: AccountId, cred: int) -> int:
        """The State of this side's newest half, 0 where there is none."""
        bid = self._keys.bid(account, cred)
        row = self._database.first("SELECT g, record FROM half WHERE bid = ? ORDER BY g DESC LIMIT 1", (bid,))
        return 0 if row is None else self._keys.open_half(row[1], bid, row[0]).state.value

    def _state(self, mid: bytes) -> int:
        row = self._database.first("SELECT state FROM account WHERE mid = ?", (mid,))
        if row is None or row[0] == AccountState.DESTROYED:
            raise Refused("the account has no mailbox key", code="bad-token")
        return int(row[0])


def _is_active(half: KeyringHalf) -> bool:
    return half.state is State.ACTIVE


def _add(
    row: tuple[bytes, int, bytes, bytes, int], cred: int, generation: int, reply: HalfAdded, new: NewMailbox | None,
    connection: Connection,
) -> HalfAdded:  # fmt: skip
    bid, g, mid, *_ = row
    if new is not None:
        if connection.execute("SELECT 1 FROM promised WHERE mid = ?", (mid,)).fetchone() is None:
            raise Refused("that account has its first password", code="bad-token")
        new.put(connection, mid)
    (state,) = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
    (halves,) = connection.execute("SELECT count(*) FROM half WHERE bid = ? AND g <> ?", (bid, g)).fetchone()
    (all_halves,) = connection.execute("SELECT count(*) FROM half WHERE mid = ?", (mid,)).fetchone()
    is_full = cred != MAIN_PASSWORD and all_halves >= ACCOUNT_HALVES_MAX
    if state == AccountState.DESTROYED or halves >= HALVES_MAX or is_full:
        raise Refused("too many changes of this credential are unfinished", code="too-many")
    (newest,) = connection.execute("SELECT max(generation) FROM mailbox WHERE mid = ?", (mid,)).fetchone()
    if newest != generation:
        raise TemporaryFailure("the mailbox key was renewed meanwhile: try again", code="busy")
    connection.execute("INSERT OR REPLACE INTO half VALUES (?, ?, ?, ?, ?)", row)
    return reply


def _drop(connection: Connection, *, bid: bytes, keep_g: int, kept: bytes) -> Done:
    connection.execute("DELETE FROM promised WHERE mid = ?", (kept,))  # whose main password is set
    connection.execute("DELETE FROM half WHERE bid = ? AND g <> ?", (bid, keep_g))
    return Done()
