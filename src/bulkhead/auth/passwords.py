"""Setting a password: three steps over two databases, each idempotent, and the argument for kill -9 between any two.

    0  auth writes `change`: keyring is to keep g                          durable here
    1  keyring adds half g+1 beside half g, made with its own release      durable there
    2  auth replaces half g by g+1; `change` now says keep g+1; the event  one transaction here: THE commit
    3  keyring drops every half but g+1; auth forgets `change`

A login works with the half that auth has: its salt makes the tight that keyring's half of the same g compares, and its
digest fits the release of that half alone. keyring never lacks the half that auth has, because a half is dropped only
after step 2 is durable (then g) or undone (then g+1):

    dies after    auth  keyring    works   at the next start, or when keyring is back
    0             g     g          old     `change` says keep g: nothing to drop, forgotten
    1             g     g, g+1     old     `change` says keep g: g+1 dropped
    2             g+1   g, g+1     new     `change` says keep g+1: g dropped
    3             g+1   g+1        new     dropping again changes nothing, forgotten

The first password goes from g = 0, where there is no half, to 1. What lets keyring add a half is a token, or the main
password that is set. A token lives until step 3, so that a change that was undone can be asked for again with it.
DropHalves cannot overtake AddHalf: they take one edge, in order.

A right password whose half is of an old cost or a legacy scheme gets a new half the same way, behind the login.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from sqlite3 import Connection
from typing import Any, TypeVar

from bulkhead.auth.breached import Breached
from bulkhead.auth.rows import Keys, Rows
from bulkhead.auth.stretching import BEHIND, Stretching
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Done, Mutation, Reply, Stamp
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.boundary.messages.to_auth import ChangePassword, SetPassword
from bulkhead.boundary.messages.to_keyring import AddHalf, DropHalves, HalfAdded, ReadHalfStates
from bulkhead.config.rules import LEGACY_SECONDS
from bulkhead.errors import Error, Refused, TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.barrier import Barrier
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.witness import ledger_text
from bulkhead.identifiers import AccountId
from bulkhead.records.app_password import read_app_password
from bulkhead.records.credential import (
    ALL_SCOPES,
    MAIN_PASSWORD,
    NO_SALT,
    SALT_BYTES,
    Scope,
    State,
    Stretched,
    StretchParameters,
    stretch_app_password,
)  # fmt: skip
from bulkhead.records.halves import AuthHalf, Legacy
from bulkhead.records.legacy import PLAIN, Recipe, require_legacy
from bulkhead.wipe import wipe, wipe_fields

PASSWORD_MIN = 8  # characters, whatever they are (NIST SP 800-63B-4 section 3.1.1.2, beside a second factor)
RETRY_SECONDS = 2.0
RESTRETCH_MAX = 64  # at once
R = TypeVar("R", bound=Reply)
_log = logging.getLogger("bulkhead.auth")


@dataclass(frozen=True, slots=True)
class NewHalf:
    """What is to become of a credential, and what lets keyring do it: a token, or the main password stretched."""

    account: AccountId
    cred: int
    password: bytes = field(repr=False)
    scope: Scope
    token: bytes | None = field(default=None, repr=False)
    main: Stretched | None = None
    same_password: bool = False
    legacy: Legacy | None = None
    actor: str = ""  # of who asks by no request, and waits for no answer of his own
    reply: Reply = field(default_factory=Done)
    also: Callable[[Connection], object] = lambda _: None  # in the transaction that commits it


class Passwords:
    """Changes of credentials, and the finishing of those cut short."""

    def __init__(
        self, database: Database, rows: Rows, stretching: Stretching, exchange: Exchange, breached: Breached
    ) -> None:
        self._database, self._rows, self._stretching, self._exchange = database, rows, stretching, exchange
        self._breached = breached
        self._changing: set[bytes] = set()
        self._restretching: set[asyncio.Task[None]] = set()
        self._unfinished = asyncio.Event()
        self._unfinished.set()
        self._free = Barrier()
        self._task = asyncio.get_running_loop().create_task(self._finish_forever())

    async def set(self, request: SetPassword) -> Done:
        """Set the main password. Raises Refused (`bad-token`, `weak-password`, `breached-password`, ...)."""
        legacy = None
        if not request.scheme:
            self.check_new(request.password)
        elif request.scheme == PLAIN:
            refuse_app_password(request.password)
        else:
            legacy = require_legacy(request.scheme, request.salt, len(request.password))
        if not 0 < request.scope <= ALL_SCOPES:
            raise Refused("a credential has at least one scope, and known ones only", code="bad-scope")
        scope = Scope(request.scope)
        new = NewHalf(request.account, MAIN_PASSWORD, request.password, scope, request.token, legacy=legacy)
        return await self.make(new, request)

    async def set_first(self, account: AccountId, password: FirstPassword, actor: str) -> None:
        """Set the main password that a signed file brings, where there never was one. Raises Refused."""
        if self._rows.g(account, MAIN_PASSWORD) == 0:
            legacy = require_legacy(password.scheme, password.salt, len(password.digest))
            await self.make(NewHalf(account, MAIN_PASSWORD, password.digest, ALL_SCOPES, legacy=legacy, actor=actor))

    def check_new(self, password: bytes) -> None:
        """Passes what may be set. Raises Refused (`weak-password`, `breached-password`)."""
        check_strength(password)
        self._breached.check(password)

    async def change(self, request: ChangePassword, main: Stretched) -> Done:
        """Set the main password by the one that is set. main: what `old` becomes, taken here and overwritten.

        request.new: has passed `check_new`. Raises Refused (`bad-credentials`), TemporaryFailure.
        """
        half = self._rows.find(request.account, MAIN_PASSWORD)
        scope = ALL_SCOPES if half is None else half.scope
        return await self.make(NewHalf(request.account, MAIN_PASSWORD, request.new, scope, main=main), request)

    def mark_breached(self, account: AccountId) -> None:
        """Note in the half, behind the caller, that its password is in a list of breached ones."""
        task = asyncio.get_running_loop().create_task(self._mark(self._rows.bid(account, MAIN_PASSWORD)))
        self._restretching.add(task)
        task.add_done_callback(self._restretching.discard)

    async def _mark(self, bid: bytes) -> None:
        try:
            await self._database.write(partial(_mark_breached, keys=self._rows.keys, bid=bid))
        except Error as error:
            _log.warning("a breached password is marked at its next login: %s", error.public)

    def is_dated(self, half: AuthHalf) -> bool:
        """Whether a half of the main password is of another cost than new ones are, or of a legacy scheme."""
        return half.parameters != self._rows.default or half.legacy is not None

    def restretch(self, account: AccountId, password: bytes, main: Stretched) -> bool:
        """Give the main password, just found right, a half of today's cost and no legacy digest, behind the caller.

        password: as typed. main: what keyring's present half knows it by. Both are copied, and the copies overwritten.
        No session ends and no login in progress fails by it. False, and nothing is done, where 64 are under way (a
        later login brings it here again) or the half is not dated (any more). What fails is undone, and logged.
        """
        if len(self._restretching) >= RESTRETCH_MAX or self._rows.bid(account, MAIN_PASSWORD) in self._changing:
            return False
        half = self._rows.find(account, MAIN_PASSWORD)
        if half is None or not self.is_dated(half):
            return False
        copies = Stretched(_copy(main.tight), _copy(main.wrap_key))
        new = NewHalf(account, MAIN_PASSWORD, _copy(password), half.scope, main=copies, same_password=True)
        task = asyncio.get_running_loop().create_task(self._restretch(new))
        self._restretching.add(task)
        task.add_done_callback(self._restretching.discard)
        return True

    async def _restretch(self, new: NewHalf) -> None:
        try:
            await self.make(new)
        except Error as error:
            _log.warning("a password keeps its old half for now: %s", error.public)
        finally:
            wipe(new.password)

    async def make(self, new: NewHalf, request: Mutation[R] | None = None) -> R:
        """Take a half through the three steps, once for a request. Raises Refused, TemporaryFailure."""
        await self._free.wait()
        bid = self._rows.bid(new.account, new.cred)
        if bid in self._changing:
            raise TemporaryFailure("this password is being changed", code="busy")
        self._changing.add(bid)
        try:
            earlier = None if request is None else await self._database.answered(request)
            if earlier is None:
                await self._settle(bid)  # a change cut short comes to its end first
                earlier = await self._change(new, bid, request)
                await self.settle_later(bid)
            return earlier
        finally:
            self._changing.discard(bid)
            if new.main is not None:
                wipe_fields(new.main, ("tight", "wrap_key"))

    def stop(self) -> None:
        """Finish no more; `change` rows stay for the next start."""
        self._task.cancel()
        for task in self._restretching:
            task.cancel()

    async def _change(self, new: NewHalf, bid: bytes, request: Mutation[R] | None) -> R:
        account, old_g = new.account, self._rows.g(new.account, new.cred)
        if self._rows.state(account) == AccountState.DESTROYED:
            raise Refused("the account was destroyed", code="bad-token")
        set_at = self._set_at(new, bid)  # before keyring's, so that a revocation meanwhile covers both
        salt, cost, stretched = await self._stretch(new)
        begin = partial(_begin, bid=bid, account=account, cred=new.cred, keep_g=old_g, same_password=new.same_password)
        await self._database.write(begin)
        add = AddHalf(
            Stamp.fresh("auth"),
            account,
            new.cred,
            old_g + 1,
            stretched.tight,
            stretched.wrap_key,
            new.scope,
            new.token,
            *((new.main.tight, new.main.wrap_key) if new.main else ()),
        )
        try:
            try:
                added = await self._add(add, bid)
            finally:
                wipe_fields(add, add.secrets)
            state = State.ACTIVE if self._rows.state(account) == AccountState.OPEN else State.SUSPENDED
            half = AuthHalf(new.scope, state, salt, cost, added.release_digest, new.legacy)
            record, owner = self._rows.keys.seal(half, bid, add.g), self._rows.owner(account)
            actor = new.actor or "auth" if request is None else ledger_text(request.stamp.actor) or "cell"
            row = (bid, add.g, owner, record, set_at, _digest_ms(new.legacy))
            commit = partial(_commit, new=new, actor=actor, row=row)
            return await (self._database.write(commit) if request is None else self._database.mutate(request, commit))
        except Error:
            if self._database.first("SELECT 1 FROM change WHERE bid = ?", (bid,)) is not None:
                self._unfinished.set()  # what keyring may have added is dropped, now or when it is back
            raise

    def _set_at(self, new: NewHalf, bid: bytes) -> int:
        """The same password stays as old as it is: a revocation that comes while it gets its new half is not undone."""
        row = self._database.first("SELECT set_at FROM half WHERE bid = ?", (bid,)) if new.same_password else None
        return self._rows.revocation.stamp(new.cred) if row is None else int(row[0])

    async def _stretch(self, new: NewHalf) -> tuple[bytes, StretchParameters | None, Stretched]:
        if new.cred != MAIN_PASSWORD:
            return NO_SALT, None, stretch_app_password(new.password, new.account, new.cred)
        salt, cost, asker = (
            secrets.token_bytes(SALT_BYTES),
            self._rows.default,
            BEHIND if new.same_password or new.actor else "change",
        )
        return salt, cost, await self._stretching.stretch(new.password, salt, cost, asker)

    async def _add(self, add: AddHalf, bid: bytes) -> HalfAdded:
        try:
            return await self._exchange.to("keyring").call(add)
        except Refused:  # then nothing was added
            await self._database.write(partial(_forget, bid=bid, keep_g=add.g - 1))
            raise

    async def ask_states(self, account: AccountId, creds: tuple[int, ...]) -> tuple[int, ...]:
        """The State of keyring's half of each, 0 where there is none. Raises TemporaryFailure."""
        if not creds:
            return ()
        return (await self._exchange.to("keyring").call(ReadHalfStates(account, creds))).states

    async def hold(self) -> Callable[[], bool]:
        """Let no change take a step until what this gives is called, which says whether none did; for a backup."""
        return await self._free.hold(lambda: bool(self._changing))

    async def settle_later(self, bid: bytes) -> None:
        """Step 3 now if keyring answers; else by the finisher: the new password is set either way."""
        try:
            await self._settle(bid)
        except Error as error:
            _log.warning("the old half will be dropped later: %s", error.public)
            self._unfinished.set()

    async def _settle(self, bid: bytes) -> None:
        row = self._database.first("SELECT account, cred, keep_g, same_password FROM change WHERE bid = ?", (bid,))
        if row is None:
            return
        account, cred, keep_g, same_password = row
        drop = DropHalves(Stamp.fresh("auth"), AccountId(account), cred, keep_g, bool(same_password))
        await self._exchange.to("keyring").call(drop)
        await self._database.write(partial(_forget, bid=bid, keep_g=keep_g))

    async def _finish_forever(self) -> None:
        while True:
            await self._unfinished.wait()
            self._unfinished.clear()
            if not await self._finish_all():
                await asyncio.sleep(RETRY_SECONDS)
                self._unfinished.set()

    async def _finish_all(self) -> bool:
        """Settle every change that nobody is at; False where keyring did not answer."""
        for (bid,) in self._database.read("SELECT bid FROM change"):
            await self._free.wait()
            if bid in self._changing:
                continue
            self._changing.add(bid)
            try:
                await self._settle(bid)
            except Error as error:
                _log.warning("a change of a password waits for keyring: %s", error.public)
                return False
            finally:
                self._changing.discard(bid)
        return True


def _mark_breached(connection: Connection, *, keys: Keys, bid: bytes) -> None:
    row = connection.execute("SELECT g, record FROM half WHERE bid = ?", (bid,)).fetchone()
    half = None if row is None else keys.open(row[1], bid, row[0])
    if half is not None and half.state is State.ACTIVE:
        record = keys.seal(replace(half, state=State.BREACHED), bid, row[0])
        connection.execute("UPDATE half SET record = ? WHERE bid = ?", (record, bid))


def check_strength(password: bytes) -> None:
    """Passes a password of at least 8 characters that reads as no app password. Raises Refused (`weak-password`)."""
    refuse_app_password(password)
    try:
        characters = len(password.decode())
    except UnicodeDecodeError:
        characters = len(password)
    if characters < PASSWORD_MIN:
        raise Refused(f"a password has at least {PASSWORD_MIN} characters", code="weak-password")


def refuse_app_password(password: bytes) -> None:
    """Passes what does not read as an app password, which a login would take it for. Raises Refused."""
    if read_app_password(password) is not None:
        raise Refused("an app password cannot be the main password", code="weak-password")


def _copy(octets: bytes) -> bytes:
    """Octets of our own: those of a message are overwritten when it is answered."""
    return bytes(bytearray(octets))


def _begin(connection: Connection, *, bid: bytes, account: bytes, cred: int, keep_g: int, same_password: bool) -> None:
    connection.execute("INSERT INTO change VALUES (?, ?, ?, ?, ?)", (bid, account, cred, keep_g, same_password))


def _digest_ms(legacy: Legacy | None) -> int:
    """How long an imported digest may take, in ms; 0 where there is none. No failure is answered sooner."""
    return 0 if legacy is None else ceil(LEGACY_SECONDS * 1000 * Recipe.of(legacy).share)


def _commit(connection: Connection, *, new: NewHalf, actor: str, row: tuple[bytes, int, bytes, bytes, int, int]) -> Any:
    bid, g, owner, *_ = row
    destroyed = connection.execute(
        "SELECT 1 FROM account WHERE owner = ? AND state = ?", (owner, AccountState.DESTROYED)
    ).fetchone()
    if destroyed:
        raise Refused("the account was destroyed", code="bad-token")
    connection.execute("INSERT OR REPLACE INTO half VALUES (?, ?, ?, ?, ?, ?)", row)
    connection.execute("UPDATE change SET keep_g = ? WHERE bid = ?", (g, bid))
    if not new.same_password:  # for whoever reads the ledger it is the same one
        note(connection, "PasswordSet", actor, {"cred": new.cred, "change": g}, new.account)
    new.also(connection)
    return new.reply


def forget_half(connection: Connection, *, bid: bytes, account: bytes, cred: int) -> None:
    """Remove a credential here; keyring drops its half when the change that this notes is settled."""
    connection.execute("DELETE FROM half WHERE bid = ?", (bid,))
    connection.execute("INSERT OR REPLACE INTO change VALUES (?, ?, ?, 0, 0)", (bid, account, cred))


def _forget(connection: Connection, *, bid: bytes, keep_g: int) -> None:
    """The change that was settled; not a revocation that was noted while keyring was asked."""
    connection.execute("DELETE FROM change WHERE bid = ? AND keep_g = ?", (bid, keep_g))
