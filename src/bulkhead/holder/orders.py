"""Officers' orders in the compartment that executes them: verified here, by the roots that are pinned here.

Whoever carries an order (a console, the command line) can hold it back, and nothing else. States of an order:

    executed   a stop or an opening: its row in the transaction of its effect
    waits      what destroys: due after its wait, by a clock that is never believed to be earlier than it was, and once
               the executor has run for so long since: a clock set forward brings nothing forward
    permits    the local command line may do what it names, until it expires; `used` where that was once
    withdrawn  by any one officer, also before the order itself came here
    lapsed     a stop that had an end

A stop takes effect first, with its event in the outbox; what widens or destroys is in the ledger before.
Cut anywhere: without its row an order was not executed here, and may be submitted again.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Exchange, Handler
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.orders import (
    LISTED_MAX,
    InstallRosterBase,
    ListOrdersBase,
    OrderList,
    RosterState,
    SignedApproval,
    SubmitOrderBase,
)
from bulkhead.boundary.messages.orders import OrderRow as OrderReply
from bulkhead.boundary.orders import AUTOMATIC_DAILY, ORDERS, PROVISIONED, Mode, OrderKind, OrderRow
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.holder import order_rows as rows
from bulkhead.holder.cases import Cases
from bulkhead.holder.database import Database
from bulkhead.holder.order_check import Checked, account_of, by_machine, check_order, daily_of, quorum_of
from bulkhead.holder.order_effects import Effects
from bulkhead.holder.order_guard import Guard
from bulkhead.holder.order_rows import Kept, OrderState
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.roster import Pinned, RosterInForce
from bulkhead.holder.staff import Staff
from bulkhead.holder.staff_records import StaffRecords, account_of_request
from bulkhead.holder.witness import witness
from bulkhead.identifiers import AccountId
from bulkhead.records.access import NOBODY
from bulkhead.records.officer import Approval
from bulkhead.records.order import LIFE_MAX_MS, Order, check_quorum, decode_order, order_hash

DAY_MS = 86_400_000
LOOK_SECONDS = 30.0  # how often what is due is looked for, and the clock written down
_log = logging.getLogger("bulkhead.orders")
Details = dict[str, str | int | bool | None]


def steady_ms() -> int:
    """Milliseconds of a clock that nobody sets, and that stands still while the machine sleeps."""
    return int(time.monotonic() * 1000)


def clock_ms() -> int:
    """Milliseconds since 1970-01-01T00:00Z."""
    return int(time.time() * 1000)


class Orders:
    """The roster in force and the orders, of one compartment. clock: ms since 1970.

    check: what this compartment alone can say of an order, before it is taken; raises Refused. exempt: a local request
    that is refused to nobody. about: the account of a request, for the records of staff.
    """

    def __init__(
        self,
        pinned: Pinned,
        database: Database,
        outbox: Outbox,
        exchange: Exchange,
        *,
        clock: Callable[[], int] = clock_ms,
        check: Callable[[Order], None] = lambda _: None,
        exempt: Callable[[Request[Any]], bool] = lambda _: False,
        about: Callable[[Any], AccountId] = account_of_request,
    ) -> None:
        self._database, self._outbox, self._exchange = database, outbox, exchange
        self._clock, self._check, self._exempt = clock, check, exempt
        self._steady, self._counted = steady_ms, steady_ms()
        self._me = exchange.me.compartment
        self.roster = RosterInForce(pinned, database, exchange)
        self.cases = Cases(self.roster, database, outbox, exchange, self.now)
        self.records = StaffRecords(pinned.tenant, self._me, lambda one: self.cases.account_of(one) or about(one))
        self.staff = Staff(
            self.roster, exchange, pinned.audience, self.now, self._count_session, self.records, self.cases.officer_of
        )
        self._effects: Effects  # from serve on
        self._busy: dict[bytes, asyncio.Lock] = {}
        self._seen = int(database.first("SELECT seen FROM order_clock")[0])
        self._task: asyncio.Task[None] | None = None

    # --- what the compartment calls ----------------------------------------------------------------------------------

    def serve(self, state: Any, handlers: Mapping[type[Request[Any]], Handler]) -> None:
        """Answer requests with these handlers, those of the local command line that need an order refused."""
        effects = self._effects = Effects(self._database, self._exchange, state, handlers)
        guard = Guard(self._database, effects, self.now, self.local_refused, self._exempt, self._alone)
        provisioned = PROVISIONED.get(self._me, frozenset())
        guarded = effects.requests() | {kind for kind in handlers if kind.__name__ in provisioned}
        served = {kind: guard.around(handler) if kind in guarded else handler for kind, handler in handlers.items()}
        self.records.serve(state)
        self.staff.serve(state, served)
        recorded = self.records.recorded()
        self._exchange.serve(
            state, {kind: self.records.around(one) if kind in recorded else one for kind, one in served.items()}
        )
        self._task = asyncio.get_running_loop().create_task(self._look_forever())

    async def _count_session(self, approval: Approval) -> bool:
        return await self._database.write(partial(rows.count_session, key=approval.key, counter=approval.counter))

    def stop(self) -> None:
        """What is due comes with the next start."""
        if self._task is not None:
            self._task.cancel()

    def now(self) -> int:
        """Ms since 1970, more than was seen here before: so no two stops have one epoch."""
        self._seen = max(self._seen + 1, self._clock())
        return self._seen

    async def submit(self, request: SubmitOrderBase) -> OrderReply:
        """What became of the order. Raises Refused, IntegrityError, TemporaryFailure."""
        order, digest = decode_order(request.order), order_hash(request.order)
        async with contextlib.AsyncExitStack() as alone:
            for serial in sorted({order.serial, withdrawn_by(order) or order.serial}):  # one order of locks for all
                await alone.enter_async_context(self._alone(serial))
            kept = rows.find(self._database, order.serial)
            if kept is not None:
                if kept.hash == digest:
                    return kept.as_reply()
                if kept.state == OrderState.WITHDRAWN and not kept.data:
                    raise Refused("the order was withdrawn before it came here", code="withdrawn")
                raise Refused("another order had this serial", code="serial-used")
            if self.roster.known is None:
                raise Refused("no roster is installed here: officer roster install", code="no-roster")
            now = self.now()
            checked = check_order(
                request.order, approvals_of(request.approvals), self.roster.known, tenant=self.roster.tenant,
                executor=self._me, now=now,
            )  # fmt: skip
            if self.roster.restored and checked.row.kind is not OrderKind.STOP:
                raise Refused("the roster came from a backup: install the one that follows it", code="roster-restored")
            self._check(order)
            names = ",".join(officer.name for officer in checked.officers)
            kept = Kept(
                order.serial, digest, order.action, OrderState.EXECUTED, 0, now, now // DAY_MS,
                order.expires + LIFE_MAX_MS, names, request.order, rows.pack(request.approvals),
            )  # fmt: skip
            taken = await self._take(checked, kept, request.approvals)
            self._record(taken, request)
            return taken.as_reply()

    def list(self, request: ListOrdersBase) -> OrderList:
        """The roster in force and the newest orders."""
        orders = tuple(kept.as_reply() for kept in rows.newest(self._database, min(request.limit, LISTED_MAX)))
        return OrderList(self.roster.state(whole=True), orders)

    # --- taking an order ---------------------------------------------------------------------------------------------

    async def _take(self, checked: Checked, kept: Kept, approvals: Sequence[SignedApproval]) -> Kept:
        row, order = checked.row, checked.order
        effects = self._effects.of(row)
        if row.action == "withdraw":
            return await self._withdraw(order, kept, approvals)
        if row.kind is OrderKind.DESTROY:
            waiting = replace(kept, state=OrderState.WAITS, due=kept.at + row.wait_ms)
            await self._count_wait(kept.at)
            await self._write(waiting, "OrderTaken", approvals, row)
            return waiting
        if effects[0].mode is Mode.PERMIT:
            permit = replace(kept, state=OrderState.PERMITS, due=order.expires)
            await self._witness(permit, "OrderTaken")
            await self._write(permit, "", approvals, row)
            return permit
        if row.kind is OrderKind.OPEN:
            await self._witness(kept, "OrderExecuted")
            await self._effects.do(effects[0], order, kept, partial(self._put, kept=kept, approvals=approvals, row=row))
            return kept
        kept = replace(kept, due=self._lapse(row, order))
        put = partial(self._put, kept=kept, approvals=approvals, row=row, event="OrderExecuted")
        await self._effects.do(effects[0], order, kept, put)
        self._outbox.wake()
        return kept

    async def _withdraw(self, order: Order, kept: Kept, approvals: Sequence[SignedApproval]) -> Kept:
        """Bar an order that waits or permits, or that has not come yet. Raises Refused (`too-late`, `serial-used`)."""
        serial = bytes.fromhex(str(order.parameters["serial"]))
        there = rows.find(self._database, serial)
        if there is not None and there.state not in (OrderState.WAITS, OrderState.PERMITS, OrderState.WITHDRAWN):
            raise Refused(f"that order is {there.state} here", code="too-late")
        if there is None:
            barred = Kept(
                serial, bytes(32), "", OrderState.WITHDRAWN, 0, kept.at, kept.day, kept.at + 3 * LIFE_MAX_MS,
                kept.officers, b"", rows.pack(()),
            )  # fmt: skip
        else:
            barred = replace(there, state=OrderState.WITHDRAWN, due=0, at=kept.at)

        def work(connection: sqlite3.Connection) -> None:
            rows.put(connection, barred)
            self._put(connection, kept=kept, approvals=approvals, row=ORDERS["withdraw"], event="OrderWithdrawn")

        await self._database.write(work)
        self._outbox.wake()
        return kept

    async def _write(self, kept: Kept, event: str, approvals: Sequence[SignedApproval], row: OrderRow) -> None:
        put = partial(self._put, kept=kept, approvals=approvals, row=row, event=event)
        await self._database.write(put)
        self._outbox.wake()

    def _put(
        self,
        connection: sqlite3.Connection,
        *,
        kept: Kept,
        approvals: Sequence[SignedApproval],
        row: OrderRow,
        event: str = "",
    ) -> None:
        """Within the transaction of the effect. Raises Refused (`serial-used`, `daily-cap`, `passkey-counter`)."""
        if connection.execute("SELECT 1 FROM officer_order WHERE serial = ?", (kept.serial,)).fetchone() is not None:
            raise Refused("another order had this serial", code="serial-used")
        known = self.roster.known
        cap = 0 if known is None else daily_of(row, known.roster)
        if known is not None and row.automatic and by_machine(known.roster, approvals_of(approvals)):
            cap = min(cap or AUTOMATIC_DAILY, AUTOMATIC_DAILY)
        if cap and rows.taken_on(connection, row.action, kept.day) >= cap:
            raise Refused(f"{cap} orders of {row.action} were taken today; the next from 00:00 UTC", code="daily-cap")
        for approval in approvals_of(approvals):
            if approval.authenticator_data and not rows.count_passkey(connection, approval.key, approval.counter):
                raise Refused(
                    f"{approval.officer}'s passkey counts backwards: it may have a copy", code="passkey-counter"
                )
        rows.put(connection, kept)
        if event:
            note(connection, event, f"order:{kept.serial.hex()}", self._details(kept), self._account(kept) or b"")

    def _lapse(self, row: OrderRow, order: Order) -> int:
        """When this stop ends by itself: never before one that is in force already. 0: it does not."""
        until = order.parameters.get("until")
        if not isinstance(until, int) or not row.lapses:
            return 0
        if not getattr(self._effects.state, row.holder).stopped:
            return until
        others = [kept.due for kept in rows.of_state(self._database, OrderState.EXECUTED) if kept.action == row.action]
        return max(until, *others) if any(others) else 0

    def _record(self, kept: Kept, request: SubmitOrderBase | None = None) -> None:
        """Of each officer who signed: the order, or what it came to here."""
        effects = self._effects.of(ORDERS[kept.action])
        done = kept.state == OrderState.EXECUTED and effects
        kind = type(request) if request is not None and not done else self._effects.kind(effects[0])
        for officer in kept.officers.split(","):
            self.records.note(officer, kind, (AccountId(self._account(kept) or NOBODY),))

    # --- what the ledger hears ----------------------------------------------------------------------------------------

    async def _witness(self, kept: Kept, event: str) -> None:
        stamp = self._effects.stamp(f"{kept.serial.hex()}/{event}", kept.hash)
        await witness(self._exchange, stamp, event, self._details(kept), self._account(kept) or b"")

    def _details(self, kept: Kept) -> Details:
        order = decode_order(kept.data)
        return {
            "action": kept.action, "serial": kept.serial.hex(), "sha256": kept.hash.hex(), "roster": order.roster,
            "officers": kept.officers, "reason": order.reason, "state": kept.state, "due": kept.due,
        }  # fmt: skip

    def _account(self, kept: Kept) -> bytes | None:
        return account_of(decode_order(kept.data))

    # --- what is due -------------------------------------------------------------------------------------------------

    async def _look_forever(self) -> None:
        while True:
            try:
                await self.run_due()
            except Error as error:
                _log.warning("orders that are due wait: %s", error.public)
            except Exception as error:  # our bug, or a disk: it is looked again
                log_fault("fault in looking for orders that are due", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def run_due(self) -> None:
        """Execute what has waited long enough, and take back the stops that lapse."""
        now = self.now()
        if rows.of_state(self._database, OrderState.WAITS):
            await self._count_wait(now)
        waiting = rows.of_state(self._database, OrderState.WAITS, now)
        for kept in (*waiting, *rows.of_state(self._database, OrderState.EXECUTED, now)):
            act = self._execute_due if kept.state == OrderState.WAITS else self._lapse_due
            try:
                async with self._alone(kept.serial):
                    await act(kept, now)
            except Error as error:
                _log.warning("order %s, which is due, waits: %s", kept.serial.hex(), error.public)
            except Exception as error:  # our bug: it stands in the way of no other order
                log_fault(f"fault in order {kept.serial.hex()}", error)

    async def _count_wait(self, now: int) -> None:
        """Write down how long the executor has run since the last time, and the clock."""
        before, self._counted = self._counted, self._steady()
        elapsed = self._counted - before

        def work(connection: sqlite3.Connection) -> None:
            rows.wait_on(connection, elapsed)
            rows.see(connection, now)

        await self._database.write(work)

    async def _execute_due(self, found: Kept, now: int) -> None:
        kept, serial = rows.find(self._database, found.serial), found.serial
        if kept is None or kept.state != OrderState.WAITS or self.roster.known is None:
            return
        if rows.waited(self._database, serial) < kept.due - kept.at:
            return  # the clock went ahead, or the executor was away meanwhile and nobody could withdraw
        try:
            checked = check_order(
                kept.data, approvals_of(kept.signed()), self.roster.known, tenant=self.roster.tenant, executor=self._me,
                now=now, again=True,
            )  # fmt: skip
            done = replace(kept, state=OrderState.EXECUTED, due=0, at=now)
            await self._witness(done, "OrderExecuted")
            effect = self._effects.of(checked.row)[0]
            await self._effects.do(effect, checked.order, done, partial(rows.put, kept=done))
            self._record(done)
        except (Refused, IntegrityError) as error:
            _log.error("order %s is not executed: %s", serial.hex(), error.public)
            failed = replace(kept, state=OrderState.FAILED, due=0, at=now)
            details = {**self._details(failed), "error": error.code}

            def work(connection: sqlite3.Connection) -> None:
                rows.put(connection, failed)
                note(connection, "OrderExecuted", f"order:{serial.hex()}", details, self._account(failed) or b"")

            await self._database.write(work)
            self._outbox.wake()

    async def _lapse_due(self, kept: Kept, now: int) -> None:
        row, order = ORDERS[kept.action], decode_order(kept.data)
        effect = self._effects.of(ORDERS[row.lapses])[0]
        ended = replace(kept, state=OrderState.LAPSED, due=0)
        try:
            await self._effects.do(effect, order, ended, partial(rows.put, kept=ended), epoch=kept.at + 1)
        except Refused as error:
            if error.code != "old-epoch":
                raise
            await self._database.write(partial(rows.put, kept=replace(kept, due=0)))  # a newer stop holds

    # --- the rest ----------------------------------------------------------------------------------------------------

    def local_refused(self) -> bool:
        """Whether the roster in force refuses the local command line what needs an order."""
        return self.roster.state().local_refused

    def signed_for(self, action: str, root: bytes) -> bool:
        """Whether lines of the provisioning file `root` may do what `action` orders: not refused to the command line,
        or the file's order has, by today's roster, the signatures of both; and no cap of a day counts `action` here.
        """
        known, now = self.roster.known, self.now()
        if not self.local_refused() or known is None:
            return True
        row, file = ORDERS[action], ORDERS["provision"]
        for kept in self._of_file(root, now):
            approvals = approvals_of(kept.signed())
            with contextlib.suppress(Refused, IntegrityError):
                for needed in (file, row):
                    check_quorum(
                        kept.data, approvals, known.roster, quorum_of(needed, known.roster), now, passkeys=file.passkey
                    )
                return not daily_of(row, known.roster)
        return False

    def is_signed(self, root: bytes) -> bool:
        """Whether officers signed for the provisioning file `root`, and that holds now."""
        return bool(self._of_file(root, self.now()))

    def _of_file(self, root: bytes, now: int) -> Sequence[Kept]:
        named = [(kept, decode_order(kept.data)) for kept in rows.of_state(self._database, OrderState.PERMITS)]
        return [
            kept for kept, order in named
            if kept.due > now and (order.action, order.parameters.get("root")) == ("provision", root.hex())
        ]  # fmt: skip

    def _alone(self, serial: bytes) -> asyncio.Lock:
        if len(self._busy) > 1024:
            self._busy = {key: lock for key, lock in self._busy.items() if lock.locked()}
        return self._busy.setdefault(serial, asyncio.Lock())


def withdrawn_by(order: Order) -> bytes | None:
    """The serial that it names, where it is one."""
    text = order.parameters.get("serial")
    try:
        return bytes.fromhex(text) if isinstance(text, str) else None
    except ValueError:
        return None


def approvals_of(signed: Sequence[SignedApproval]) -> tuple[Approval, ...]:
    """As records know them."""
    return tuple(
        Approval(one.officer, one.key, one.signature, one.client_data, one.authenticator_data) for one in signed
    )


def handlers(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `orders`. module: its `to_<name>`."""

    async def submit_order(state: Any, _: Channel, request: SubmitOrderBase, __: BodyReader | None) -> OrderReply:
        """Verify and execute, or keep."""
        row: OrderReply = await state.orders.submit(request)
        return row

    async def install_roster(state: Any, _: Channel, request: InstallRosterBase, __: BodyReader | None) -> RosterState:
        """Verify by the pinned roots, and keep."""
        taken: RosterState = await state.orders.roster.install(request)
        return taken

    def list_orders(state: Any, _: Channel, request: ListOrdersBase, __: BodyReader | None) -> OrderList:
        """What there is."""
        found: OrderList = state.orders.list(request)
        return found

    return {module.SubmitOrder: submit_order, module.InstallRoster: install_roster, module.ListOrders: list_orders}
