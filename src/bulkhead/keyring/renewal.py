"""New mailbox keys after a compromise of keyring: ordered for a tenant, made at each account's next full login.

    ordered    the number of the order, with its event                                    one transaction
    renewed    row gen+1 with the seed before sealed under the new one, the main half's wrap made anew by the password
               that is here now (its g and its release stay, so auth's half fits), app passwords that wrapped the old
               seed ended, the event                                                      one transaction
    dropped    store says that nothing of the account is under an older generation, and takes nothing sealed to one from
               then on; the ledger knows of it; then the older rows go, and the old seed
               from the newest                                                            one transaction

A generation keeps the number of the order in force when it was made. Cut anywhere, the next login goes on: a mailbox
has its old generation or its new one, and whoever has the newest seed has those before it until they are dropped.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_keyring import RenewalOrdered, RenewMailboxes
from bulkhead.boundary.messages.to_store import EndGenerations
from bulkhead.errors import Error, IntegrityError
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.witness import ledger_text, witness
from bulkhead.identifiers import AccountId
from bulkhead.keyring.keys import Keys
from bulkhead.records.credential import MAIN_PASSWORD, Scope, State, Stretched
from bulkhead.records.halves import Wrapped, new_keyring_half
from bulkhead.records.mailbox import MailboxRecord, new_mailbox_record, sign_binding
from bulkhead.records.seed import MailboxSeed, new_secret

SETTLING_MAX = 64  # accounts that store is asked about at once
_log = logging.getLogger("bulkhead.keyring")
_NEWEST = "SELECT generation, record, renewal FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT 1"


class Renewal:
    """The order in force, and what it asks for. on_renewed: ends what an account's older seed had opened."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        exchange: Exchange,
        outbox: Outbox,
        on_renewed: Callable[[AccountId], object],
    ) -> None:
        self._database, self._keys, self._exchange, self._outbox = database, keys, exchange, outbox
        self._on_renewed = on_renewed
        self.number, self.ordered_at = database.first("SELECT number, ordered_at FROM renewal")
        self._settling: dict[AccountId, asyncio.Task[None]] = {}

    async def order(self, request: RenewMailboxes) -> RenewalOrdered:
        """Every generation made until now is to be replaced."""
        reply = await self._database.mutate(request, partial(_order, request=request))
        self.number, self.ordered_at = self._database.first("SELECT number, ordered_at FROM renewal")
        self._outbox.wake()
        return reply

    def renewed(self) -> int:
        """Accounts whose newest generation was made since the order."""
        (count,) = self._database.first(
            "SELECT count(*) FROM mailbox WHERE renewal > 0 AND renewal = ?", (self.number,)
        )
        return int(count) if self.number else 0

    async def renew(self, account: AccountId, g: int, wrapped: Wrapped, stretched: Stretched) -> bool:
        """Give the account its next generation, where one is due; whether it was, so that the half reads anew.

        g, wrapped, stretched: of its main password, just found right. While a change of it is under way there are two
        halves, and the next login comes soon enough.
        """
        mid = self._keys.mid(account)
        row = self._database.first(_NEWEST, (mid,)) if self.number and wrapped.seed is not None else None
        if row is None or wrapped.seed is None or row[2] >= self.number or row[0] != wrapped.generation:
            return False
        old = MailboxSeed(self._keys.tenant, account, wrapped.generation, wrapped.seed)
        new = MailboxSeed(self._keys.tenant, account, wrapped.generation + 1, new_secret())
        record = new_mailbox_record(new, self._keys.partner, self._keys.operator, previous=old)
        rewrapped = Wrapped(new.generation, wrapped.release, new.secret)
        work = partial(self._renew, new=new, g=g, record=record, wrapped=rewrapped, stretched=stretched)
        try:
            if await self._database.write(work):
                self._on_renewed(account)
                self._outbox.wake()
        except IntegrityError as error:  # the password is right all the same
            _log.error("a mailbox key was not renewed: %s", error.public)
        return True

    def previous(self, seed: MailboxSeed) -> MailboxSeed | None:
        """The seed of the generation before, or None: there is none any more. Raises IntegrityError."""
        mid = self._keys.mid(seed.account)
        row = self._database.first(
            "SELECT record FROM mailbox WHERE mid = ? AND generation = ?", (mid, seed.generation)
        )
        return None if row is None else self._keys.open_mailbox(row[0], mid, seed.generation).open_previous(seed)

    def settle_later(self, account: AccountId) -> None:
        """Drop the account's older seeds behind whatever is going on, where it has any and nothing needs them."""
        older = "SELECT count(*) > 1 FROM mailbox WHERE mid = ?"
        if account in self._settling or len(self._settling) >= SETTLING_MAX:
            return
        if self.number and self._database.first(older, (self._keys.mid(account),))[0]:
            task = self._settling[account] = asyncio.get_running_loop().create_task(self._settle(account))
            task.add_done_callback(lambda _: self._settling.pop(account, None))

    def stop(self) -> None:
        """Leave the rest to the next login."""
        for task in self._settling.values():
            task.cancel()

    async def _settle(self, account: AccountId) -> None:
        mid = self._keys.mid(account)
        try:
            generation = self._database.first(_NEWEST, (mid,))[0]
            if (await self._exchange.to("store").call(EndGenerations(account, generation))).left:
                return
            act = hashlib.sha256(b"destroyed" + mid + generation.to_bytes(8)).digest()[
                :16
            ]  # again after a cut: one entry
            stamp, details = Stamp.fresh("keyring", request_id=act), {"below": generation}
            await witness(self._exchange, stamp, "MailboxKeyDestroyed", details, account)
            if await self._database.write(partial(self._drop, account=account, generation=generation)):
                await self._database.truncate_wal()
        except Error as error:
            _log.warning("older seeds of an account are kept until its next login: %s", error.public)

    # --- on the writer's thread --------------------------------------------------------------------------------------

    def _renew(
        self,
        connection: Connection,
        *,
        new: MailboxSeed,
        g: int,
        record: MailboxRecord,
        wrapped: Wrapped,
        stretched: Stretched,
    ) -> bool:
        """Whether it was still due: another login may have been first."""
        keys, account = self._keys, new.account
        mid, main = keys.mid(account), keys.bid(account, MAIN_PASSWORD)
        newest, state = connection.execute(_NEWEST, (mid,)).fetchone(), _state(connection, mid)
        halves = connection.execute("SELECT bid, g, record FROM half WHERE mid = ?", (mid,)).fetchall()
        mains = [row for row in halves if row[0] == main]
        if newest is None or newest[0] != new.generation - 1 or newest[2] >= self.number or state != AccountState.OPEN:
            return False
        if len(mains) != 1 or mains[0][1] != g:
            return False
        for bid, number, sealed in halves:
            try:
                half = keys.open_half(sealed, bid, number)
            except IntegrityError:
                if bid == main:
                    raise
                continue  # it admits nobody, and fsck says so
            if bid == main:
                half = new_keyring_half(
                    keys.tight, stretched, wrapped, keys.tenant, account, MAIN_PASSWORD, g,
                    scope=half.scope, state=half.state,
                )  # fmt: skip
            elif half.scope != Scope.SUBMIT and half.state is not State.REVOKED:
                half = half.ended()
            else:
                continue
            changed: tuple[object, ...] = (keys.seal_half(half, bid, number), bid, number)
            connection.execute("UPDATE half SET record = ? WHERE bid = ? AND g = ?", changed)
        version, ring = keys.current_ring()
        binding = sign_binding(new, keys.binding, key_version=keys.binding_version).record
        values = (
            mid,
            new.generation,
            record.seal(keys.tenant, mid, new.generation, version, ring),
            binding,
            self.number,
        )
        connection.execute("INSERT INTO mailbox VALUES (?, ?, ?, ?, ?)", values)
        note(connection, "MailboxKeyRenewed", "keyring", {"generation": new.generation}, account)
        return True

    def _drop(self, connection: Connection, *, account: AccountId, generation: int) -> bool:
        """Whether there was anything: nothing where a newer generation was made meanwhile."""
        keys, mid = self._keys, self._keys.mid(account)
        newest = connection.execute(_NEWEST, (mid,)).fetchone()
        if newest is None or newest[0] != generation:
            return False
        version, ring = keys.current_ring()
        record = keys.open_mailbox(newest[1], mid, generation).without_previous()
        sealed = record.seal(keys.tenant, mid, generation, version, ring)
        connection.execute("UPDATE mailbox SET record = ? WHERE mid = ? AND generation = ?", (sealed, mid, generation))
        connection.execute("DELETE FROM mailbox WHERE mid = ? AND generation < ?", (mid, generation))
        return True


def _order(connection: Connection, *, request: RenewMailboxes) -> RenewalOrdered:
    connection.execute("UPDATE renewal SET number = number + 1, ordered_at = ?", (time.time_ns() // 1_000_000,))
    (number,) = connection.execute("SELECT number FROM renewal").fetchone()
    details: dict[str, str | int | bool | None] = {"number": number, "reason": ledger_text(request.reason)}
    note(connection, "MailboxRenewalOrdered", request.stamp.actor, details)
    return RenewalOrdered(number)


def _state(connection: Connection, mid: bytes) -> int:
    row = connection.execute("SELECT state FROM account WHERE mid = ?", (mid,)).fetchone()
    return AccountState.DESTROYED if row is None else int(row[0])
