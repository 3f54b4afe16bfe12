"""Officers' orders in auth and keyring: what is executed, what is refused and by which name, what waits and ends."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.keyring.two_halves import (
    OPERATOR_KEY,
    PARTNER_KEY,
    TENANT,
    TwoHalves,
    new_cell,
    opened,
    refused,
    settled,
    stamp,
)

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.orders import OrderRow, SignedApproval
from bulkhead.drill.officers import HOUR_MS, LENIENT, Authenticator, People, now_ms, signed
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.order_rows import after_restore
from bulkhead.holder.orders import DAY_MS, steady_ms
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.mailbox import Holder, OrderKey, reseal_share
from bulkhead.records.officer import Group
from bulkhead.records.order import LIFE_MAX_MS, Order, order_hash
from bulkhead.records.roster import Policy, Roster

PASSWORD = "正しい馬の電池です".encode()
MODULES = {"auth": to_auth, "keyring": to_keyring}


class Ordered:
    """A cell with a roster in force, and its people."""

    def __init__(self, cell: TwoHalves, people: People) -> None:
        self.cell, self.people = cell, people

    async def install(self, roster: Roster, groups: Sequence[Group] = tuple(Group)) -> None:
        data = self.people.use(roster)
        for name, module in MODULES.items():
            await self.cell.ask("cli", name, module.InstallRoster(stamp(), data, self.people.sign(data, groups)))

    async def submit(self, name: str, order: Order | bytes, by: Sequence[str | SignedApproval]) -> OrderRow:
        data = order if isinstance(order, bytes) else order.encode()
        approvals = [a for one in by for a in (self.people.by(data, one) if isinstance(one, str) else (one,))]
        row: OrderRow = await self.cell.ask("cli", name, MODULES[name].SubmitOrder(stamp(), data, tuple(approvals)))
        return row

    async def everywhere(self, order: Order, *by: str) -> list[OrderRow]:
        return [await self.submit(name, order, by) for name in order.executors if name in MODULES]

    async def refusal(self, name: str, order: Order | bytes, *by: str | SignedApproval) -> str:
        try:
            await self.submit(name, order, by)
        except Exception as error:
            return str(getattr(error, "code", error))
        return "taken"


Work = Callable[[Ordered], Awaitable[Any]]


def run(root: Path, work: Work, policy: Policy = LENIENT, *, ledger: bool = True) -> None:
    async def whole() -> None:
        people = People()
        cell = new_cell(root)
        cell.settings["pinned"] = people.pinned()
        async with opened(cell, ledger=ledger):
            ordered = Ordered(cell, people)
            if ledger:
                await ordered.install(people.roster(policy))
            await work(ordered)

    asyncio.run(whole())


def orders_of(ordered: Ordered, name: str) -> Any:
    return ordered.cell.state(name).orders


def set_ahead(orders: Any, ahead: int, ran: int | None = None) -> None:
    """The clock is `ahead` ms ahead of ours; the executor has run for `ran` ms more, as long where that is None."""
    began, more = steady_ms(), ahead if ran is None else ran
    orders._clock, orders._steady = lambda: now_ms() + ahead, lambda: began + more


# --- stops and openings ----------------------------------------------------------------------------------------------


def test_one_partner_officer_stops_logins_and_two_lift_it(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        await ordered.everywhere(people.order("stop-logins"), "ada")
        assert not await cell.admits(account, PASSWORD)
        await settled(lambda: cell.seen.kinds().count("OrderExecuted") == 2)
        await asyncio.sleep(0.005)
        lift = people.order("lift-logins")
        assert await ordered.refusal("auth", lift, "ada") == "quorum"
        assert await ordered.refusal("auth", lift, "ada", "ops") == "quorum"
        await ordered.everywhere(lift, "ada", "sec")
        assert await cell.admits(account, PASSWORD)
        assert cell.seen.kinds().count("StopLifted") == 2

    run(tmp_path, work)


def test_a_stop_needs_no_ledger_and_lifting_it_does(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        cell.exchanges["ledger"].close()
        await ordered.everywhere(people.order("stop-logins"), "sec")
        assert not await cell.admits(account, PASSWORD)
        lift = people.order("lift-logins", issued=now_ms() + 1000)
        asking = asyncio.create_task(ordered.everywhere(lift, "ada", "sec"))
        await asyncio.sleep(0.3)
        assert not asking.done()
        assert not await cell.admits(account, PASSWORD)
        cell.add_ledger()
        await asking
        assert await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_a_lift_that_was_signed_before_a_stop_takes_back_no_stop_that_came_later(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        held_back = people.order("lift-logins")
        await asyncio.sleep(0.005)
        await ordered.everywhere(people.order("stop-logins"), "ada")
        assert await ordered.refusal("auth", held_back, "ada", "sec") == "old-epoch"
        assert orders_of(ordered, "auth")._effects.state.stop.stopped

    run(tmp_path, work)


def test_an_order_sent_again_is_answered_and_not_executed_again_also_after_a_restart(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        stop = people.order("stop-logins")
        first = await ordered.submit("auth", stop, ["ada"])
        lift = people.order("lift-logins", issued=now_ms() + 1000)
        await ordered.everywhere(lift, "ada", "sec")
        assert await ordered.submit("auth", stop, ["ada"]) == first
        await cell.restart("auth")
        assert await ordered.submit("auth", stop, ["ada"]) == first
        assert not cell.state("auth").stop.stopped

    run(tmp_path, work)


def test_the_serial_is_written_in_the_transaction_of_the_effect_or_neither_is(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        database = cell.database("auth")
        await database.write(
            lambda c: c.execute("CREATE TRIGGER no BEFORE UPDATE ON stop BEGIN SELECT RAISE(ABORT, 'no'); END") and None
        )
        stop = people.order("stop-logins")
        with pytest.raises(TemporaryFailure):
            await ordered.submit("auth", stop, ["ada"])
        assert database.read("SELECT * FROM officer_order") == []
        assert cell.state("auth").stop.stopped  # in memory it holds all the same
        await database.write(lambda c: c.execute("DROP TRIGGER no") and None)
        assert (await ordered.submit("auth", stop, ["ada"])).state == "executed"
        assert database.first("SELECT stopped FROM stop") == (1,)

    run(tmp_path, work)


def test_a_stop_with_an_end_lapses_unless_another_one_holds(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        orders, ahead = orders_of(ordered, "auth"), 0
        orders._clock = lambda: now_ms() + ahead
        until = now_ms() + 60_000
        await ordered.submit("auth", people.order("stop-logins", {"until": until}), ["ada"])
        await orders.run_due()
        assert cell.state("auth").stop.stopped
        ahead = 61_000
        await orders.run_due()
        assert not cell.state("auth").stop.stopped
        orders._seen = ahead = 0
        await asyncio.sleep(0.005)
        await ordered.submit("auth", people.order("stop-logins"), ["ada"])
        await asyncio.sleep(0.005)
        await ordered.submit("auth", people.order("stop-logins", {"until": now_ms() + 60_000}), ["ada"])
        ahead = 61_000
        await orders.run_due()
        assert cell.state("auth").stop.stopped  # the first of the two has no end

    run(tmp_path, work)


def test_a_machine_may_stop_for_an_hour_and_nothing_else(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        assert await ordered.refusal("auth", people.order("stop-logins"), "bot") == "no-lapse"
        far = people.order("stop-logins", {"until": now_ms() + 2 * HOUR_MS})
        assert await ordered.refusal("auth", far, "bot") == "no-lapse"
        assert await ordered.refusal("auth", people.order("lift-logins"), "bot", "ada") == "not-approving"
        row = await ordered.submit("auth", people.order("stop-logins", {"until": now_ms() + 60_000}), ["bot"])
        assert row.state == "executed"

    run(tmp_path, work)


# --- what destroys ---------------------------------------------------------------------------------------------------


def cancel(people: People, account: AccountId, **changes: Any) -> Order:
    return people.order("cancel-account", {"account": account.hex(), "address": "a@stnet.example"}, **changes)


def test_what_destroys_waits_a_day_by_a_clock_that_cannot_be_set_back_and_is_in_the_ledger_before(
    tmp_path: Path,
) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        orders, ahead = orders_of(ordered, "keyring"), 0
        orders._clock = lambda: now_ms() + ahead
        row = await ordered.submit("keyring", cancel(people, account), ["ada", "sec"])
        assert row.state == "waits"
        assert row.due >= now_ms() + DAY_MS - 5000
        ahead = DAY_MS - 60_000
        await orders.run_due()
        assert await cell.admits(account, PASSWORD)
        ahead = -DAY_MS
        assert orders.now() >= now_ms() + DAY_MS - 61_000
        await cell.restart("keyring")
        orders = orders_of(ordered, "keyring")
        orders._clock = lambda: now_ms() + ahead
        assert orders.now() >= now_ms() + DAY_MS - 61_000
        ahead = DAY_MS + 1000
        await orders.run_due()
        assert await cell.admits(account, PASSWORD)  # the clock says so, and the executor has run for a moment
        set_ahead(orders, DAY_MS + 1000)
        await orders.run_due()
        kinds = cell.seen.kinds()
        assert "OrderExecuted" in kinds
        await settled(lambda: "HalfDestroyed" in cell.seen.kinds())
        assert cell.seen.kinds().index("OrderExecuted") < cell.seen.kinds().index("HalfDestroyed")
        assert not await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_a_clock_set_forward_brings_nothing_that_destroys_forward_and_a_restart_forgets_no_wait(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        await ordered.submit("keyring", cancel(people, account), ["ada", "sec"])
        for half in range(2):
            orders = orders_of(ordered, "keyring")
            set_ahead(orders, 365 * DAY_MS, ran=DAY_MS // 2 - 600_000 * (1 - half))
            await orders.run_due()
            assert await cell.admits(account, PASSWORD)
            await cell.restart("keyring")
        orders = orders_of(ordered, "keyring")
        set_ahead(orders, 365 * DAY_MS, ran=600_000)
        await orders.run_due()
        assert not await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_any_one_officer_withdraws_what_waits_also_before_it_comes(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        first, second = cancel(people, account), cancel(people, account)
        await ordered.submit("keyring", first, ["ada", "sec"])
        for order in (first, second):
            withdraw = people.order("withdraw", {"serial": order.serial.hex()})
            await ordered.submit("keyring", withdraw, ["ops"])
        orders = orders_of(ordered, "keyring")
        set_ahead(orders, 2 * DAY_MS)
        await orders.run_due()
        assert await cell.admits(account, PASSWORD)
        assert (await ordered.submit("keyring", first, ["ada", "sec"])).state == "withdrawn"
        assert await ordered.refusal("keyring", second, "ada", "sec") == "withdrawn"

    run(tmp_path, work)


def test_an_order_that_waits_falls_with_an_officer_who_leaves(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        await ordered.submit("keyring", cancel(people, account), ["ada", "sec"])
        officers = tuple(officer for officer in people.officers() if officer.name != "sec")
        await ordered.install(people.roster(officers=officers))
        orders = orders_of(ordered, "keyring")
        set_ahead(orders, 2 * DAY_MS)
        await orders.run_due()
        assert await cell.admits(account, PASSWORD)
        assert cell.database("keyring").first("SELECT state FROM officer_order") == ("failed",)

    run(tmp_path, work)


def test_an_order_that_cannot_be_executed_stands_in_the_way_of_no_other(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        accounts = [await cell.add_account(PASSWORD) for _ in range(2)]
        waiting = [cancel(people, account) for account in accounts]
        for order in waiting:
            await ordered.submit("keyring", order, ["ada", "sec"])
        orders = orders_of(ordered, "keyring")
        set_ahead(orders, 2 * DAY_MS)
        execute = orders._execute_due

        async def failing(kept: Any, now: int) -> None:
            if kept.serial == waiting[0].serial:
                raise RuntimeError("our bug")
            await execute(kept, now)

        orders._execute_due = failing
        await orders.run_due()
        assert [await cell.admits(account, PASSWORD) for account in accounts] == [True, False]
        orders._execute_due = execute
        await orders.run_due()
        assert not await cell.admits(accounts[0], PASSWORD)

    run(tmp_path, work)


def test_withdrawals_that_name_each_other_or_themselves_hold_nothing_up(tmp_path: Path) -> None:
    """Each waited for the other's serial for ever, and a call with them."""

    async def work(ordered: Ordered) -> None:
        people = ordered.people
        one, other = bytes([1]) * 16, bytes([2]) * 16
        itself = people.order("withdraw", {"serial": one.hex()}, executors=("keyring",), serial=one)
        async with asyncio.timeout(60):
            assert await ordered.refusal("keyring", itself, "ada") == "serial-used"
            crossed = [
                people.order("withdraw", {"serial": named.hex()}, executors=("keyring",), serial=serial)
                for serial, named in ((one, other), (other, one))
            ]
            await asyncio.gather(
                *(ordered.submit("keyring", order, ["ada"]) for order in crossed), return_exceptions=True
            )

    run(tmp_path, work)


def test_the_daily_cap_counts_what_was_taken_and_not_withdrawn(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        orders = [cancel(people, AccountId(secrets.token_bytes(16))) for _ in range(4)]
        for order in orders[:2]:
            await ordered.submit("keyring", order, ["ada", "sec"])
        assert await ordered.refusal("keyring", orders[2], "ada", "sec") == "daily-cap"
        await ordered.submit("keyring", people.order("withdraw", {"serial": orders[0].serial.hex()}), ["ada"])
        assert await ordered.refusal("keyring", orders[2], "ada", "sec") == "taken"
        assert await ordered.refusal("keyring", orders[3], "ada", "sec") == "daily-cap"

    run(tmp_path, work, Policy(daily={"cancel-account": 2}))


# --- what is refused, and by which name ------------------------------------------------------------------------------


def test_each_fault_of_an_order_has_its_name(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        stop, now = people.order("stop-logins"), now_ms()
        faults: list[tuple[str, Order, tuple[str, ...]]] = [
            ("other-tenant", replace(stop, tenant=People("kddi").tenant), ("ada",)),
            ("unknown-action", replace(stop, action="stop-everything"), ("ada",)),
            ("other-executor", people.order("end-sessions"), ("ada",)),
            ("other-executor", replace(stop, executors=("auth",)), ("ada",)),
            ("bad-parameters", replace(stop, parameters={"account": "00" * 16}), ("ada",)),
            ("bad-parameters", replace(stop, parameters={"until": "tomorrow"}), ("ada",)),
            ("expired", replace(stop, issued=now - 2000, expires=now - 1000), ("ada",)),
            ("not-yet", replace(stop, issued=now + HOUR_MS, expires=now + 2 * HOUR_MS), ("ada",)),
            ("too-long", replace(stop, expires=now + LIFE_MAX_MS + HOUR_MS), ("ada",)),
            ("old-roster", replace(stop, roster=0), ("ada",)),
            ("old-roster", replace(stop, roster_hash=bytes(32)), ("ada",)),
            ("not-approving", stop, ("sup",)),
            ("not-approving", stop, ("eng",)),
            ("quorum", stop, ("ops",)),
            ("quorum", people.order("lift-logins"), ("ada", "ada")),
            ("quorum", people.order("lift-logins"), ("ops", "ovi")),
            ("no-passkey", people.order("lift-logins"), ("ada/passkey", "sec/passkey")),
            ("taken", stop, ("ada/passkey",)),
        ]
        for code, order, by in faults:
            name = "auth"
            assert await ordered.refusal(name, order, *by) == code, code
        assert await ordered.refusal("auth", replace(stop, reason="another"), "ada") == "serial-used"

    run(tmp_path, work)


def test_signatures_of_others_and_under_other_orders_are_refused(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people, stranger = ordered.people, People()
        shown, submitted = people.order("end-sessions"), people.order("stop-logins")
        under_shown = people.by(shown.encode(), "ada")[0]
        assert await ordered.refusal("auth", submitted, under_shown) == "bad-signature"
        passkey = signed(people.passkeys["ada"].approve("ada", order_hash(shown.encode())))
        assert await ordered.refusal("auth", submitted, passkey) == "other-challenge"
        forged = stranger.by(submitted.encode(), "ada")[0]
        assert await ordered.refusal("auth", submitted, forged) == "unknown-key"
        genuine = people.by(submitted.encode(), "ada")[0]
        pretended = SignedApproval(genuine.officer, genuine.key, forged.signature)
        assert await ordered.refusal("auth", submitted, pretended) == "bad-signature"
        unknown = SignedApproval("eve", genuine.key, genuine.signature)
        assert await ordered.refusal("auth", submitted, unknown) == "unknown-officer"
        as_other = SignedApproval("sec", genuine.key, genuine.signature)
        assert await ordered.refusal("auth", submitted, as_other) == "unknown-key"
        assert await ordered.refusal("auth", submitted, genuine) == "taken"

    run(tmp_path, work)


def test_a_passkey_is_held_to_origin_party_user_and_counter(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        order = people.order("stop-logins")
        challenge = order_hash(order.encode())

        async def answer(change: dict[str, Any], **more: Any) -> str:
            passkey = people.passkeys["ada"]
            before = {name: getattr(passkey, name) for name in change}
            for name, value in change.items():
                setattr(passkey, name, value)
            approval = signed(passkey.approve("ada", challenge, **more))
            for name, value in before.items():
                setattr(passkey, name, value)
            return await ordered.refusal("auth", order, approval)

        assert await answer({"origin": "https://evil.example"}) == "other-origin"
        assert await answer({"rp_id": "evil.example"}) == "other-party"
        assert await answer({"flags": 0x01}) == "user-not-verified"
        assert await answer({"flags": 0x04}) == "user-not-verified"
        assert await answer({"type": "webauthn.create"}) == "bad-signature"
        assert await answer({}, crossOrigin=True) == "bad-signature"
        people.passkeys["ada"].counter = 7
        assert await ordered.refusal("auth", order, "ada/passkey") == "taken"
        people.passkeys["ada"].counter = 5
        assert await ordered.refusal("auth", people.order("stop-logins"), "ada/passkey") == "passkey-counter"
        assert await ordered.refusal("auth", people.order("stop-logins"), "sec/passkey") == "taken"

    run(tmp_path, work)


def test_a_key_that_is_no_passkey_of_the_roster_approves_nothing(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        order = ordered.people.order("stop-logins")
        stray = signed(Authenticator().approve("ada", order_hash(order.encode())))
        assert await ordered.refusal("auth", order, stray) == "unknown-key"

    run(tmp_path, work)


# --- the roster ------------------------------------------------------------------------------------------------------


def test_a_roster_is_taken_from_both_roots_in_order_and_no_other(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        old = people.octets

        async def answer(data: bytes, signatures: Any) -> str:
            try:
                await cell.ask("cli", "auth", to_auth.InstallRoster(stamp(), data, signatures))
            except Refused as error:
                return error.code
            return "taken"

        following = people.roster()
        data = following.encode()
        assert await answer(data, people.sign(data, [Group.PARTNER])) == "quorum"
        assert await answer(data, people.sign(data, [Group.OPERATOR])) == "quorum"
        assert await answer(data, People().sign(data)) == "unknown-root"
        assert await answer(data, people.sign(old)) == "bad-signature"
        skipped = replace(following, version=following.version + 1).encode()
        assert await answer(skipped, people.sign(skipped)) == "roster-gap"
        fork = replace(following, previous=bytes(32)).encode()
        assert await answer(fork, people.sign(fork)) == "roster-fork"
        other = replace(following, tenant=People("kddi").tenant).encode()
        assert await answer(other, people.sign(other)) == "other-tenant"
        assert await answer(data, people.sign(data)) == "taken"
        assert await answer(old, people.sign(old)) == "old-roster"
        await cell.restart("auth")
        assert await answer(old, people.sign(old)) == "old-roster"
        assert await answer(data, people.sign(data)) == "taken"  # again: it is in force

    run(tmp_path, work)


def test_other_roots_in_the_settings_put_no_other_roster_in_force(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, others = ordered.cell, People()
        others.version, others.hash = ordered.people.version, ordered.people.hash
        cell.settings["pinned"] = others.pinned()
        await cell.restart("auth")
        data = others.roster().encode()
        with refused("roots-changed"):
            await cell.ask("cli", "auth", to_auth.InstallRoster(stamp(), data, others.sign(data)))
        assert await ordered.refusal("auth", ordered.people.order("stop-logins"), "ada") == "taken"

    run(tmp_path, work)


def test_after_a_restore_only_stops_are_taken_until_the_next_roster_and_nothing_that_waited(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        await ordered.submit("keyring", cancel(people, account), ["ada", "sec"])
        await cell.database("keyring").write(after_restore)
        await cell.restart("keyring")
        orders = orders_of(ordered, "keyring")
        signed_before = people.order("lift-logins", issued=now_ms() + 60_000)
        assert await ordered.refusal("keyring", signed_before, "ada", "sec") == "roster-restored"
        assert await ordered.refusal("keyring", people.order("end-sessions"), "ada") == "taken"
        await ordered.install(people.roster())
        assert await ordered.refusal("keyring", signed_before, "ada", "sec") == "old-roster"
        await asyncio.sleep(0.005)
        assert await ordered.refusal("keyring", people.order("lift-logins"), "ada", "sec") == "taken"
        set_ahead(orders, 2 * DAY_MS)
        await orders.run_due()
        assert await cell.admits(account, PASSWORD)

    run(tmp_path, work)


def test_a_restored_cell_is_led_past_the_newest_roster_that_the_log_names(tmp_path: Path) -> None:
    """Whoever left with roster 3 could still sign under roster 2, and what was done under 3 could be done again."""

    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        await cell.database("keyring").write(lambda connection: after_restore(connection, 3))
        await cell.restart("keyring")
        for expected in ("roster-restored", "roster-restored", "taken"):
            await ordered.install(people.roster())
            await asyncio.sleep(0.005)
            assert await ordered.refusal("keyring", people.order("lift-logins"), "ada", "sec") == expected
        await cell.restart("keyring")
        assert not orders_of(ordered, "keyring").roster.restored

    run(tmp_path, work)


def test_without_roots_or_roster_no_order_is_taken(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        people = ordered.people
        assert await ordered.refusal("auth", people.order("stop-logins"), "ada") == "no-roster"

    run(tmp_path, work, ledger=False)


# --- the local command line ------------------------------------------------------------------------------------------


def test_where_the_roster_says_so_the_command_line_does_nothing_that_needs_an_order(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell = ordered.cell
        account = await cell.add_account(PASSWORD)
        await ordered.install(ordered.people.roster(Policy(local_refused=True)))
        epoch, fresh = now_ms(), AccountId(new_id())
        for name, request in (
            ("auth", to_auth.StopTenantLogins(stamp(), epoch, "mine")),
            ("auth", to_auth.LiftTenantStop(stamp(), epoch, "mine")),
            ("auth", to_auth.SetLoginState(stamp(), account, 3)),
            ("auth", to_auth.RotateKey(stamp(), True, 0)),
            ("keyring", to_keyring.SetHalfState(stamp(), account, 3)),
            ("keyring", to_keyring.RevokeCredentials(stamp(), epoch, 3, "mine")),
            ("keyring", to_keyring.GrantRecovery(stamp(), account, bytes(16), b"", b"")),
            ("keyring", to_keyring.ExportKeys(stamp(), account)),
            ("keyring", to_keyring.CreateMailboxKeys(stamp(), fresh)),
        ):
            with refused("order-required"):
                await cell.ask("cli", name, request)  # type: ignore[arg-type]
        assert await cell.admits(account, PASSWORD)
        made = [await cell.ask("cli", "keyring", to_keyring.CreateMailboxKeys(stamp(), fresh, False)) for _ in range(2)]
        assert made[0] == made[1] and made[0].token == bytes(16)  # nobody has a password for it
        with refused("bad-token"):
            await cell.ask("cli", "auth", to_auth.SetPassword(stamp(), fresh, PASSWORD, made[0].token, 7))

    run(tmp_path, work)


def test_a_recovery_that_was_ordered_opens_its_mailbox_once(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account = await cell.add_account(PASSWORD)
        await ordered.install(people.roster(Policy(local_refused=True)))

        async def recover() -> Any:
            offer = await cell.ask("cli", "keyring", to_keyring.BeginRecovery(stamp(), account))
            key = OrderKey.verify(offer.order_key, cell.binding_key, TENANT, account, offer.generation, offer.order)
            shares = (
                reseal_share(offer.sealed_s1, Holder.PARTNER, PARTNER_KEY, key),
                reseal_share(offer.sealed_s2, Holder.OPERATOR, OPERATOR_KEY, key),
            )
            return await cell.ask("cli", "keyring", to_keyring.GrantRecovery(stamp(), account, offer.order, *shares))

        with refused("order-required"):
            await recover()
        await ordered.submit("keyring", people.order("recover-mailbox", {"account": account.hex()}), ["sec", "ops"])
        token = (await recover()).token
        await cell.set_password(account, b"another horse battery", token)
        assert await cell.admits(account, b"another horse battery")
        with refused("order-required"):
            await recover()
        assert cell.database("keyring").read("SELECT state FROM officer_order") == [("used",)]

    run(tmp_path, work)


def test_an_order_permits_the_command_line_what_it_names_once_or_for_its_time(tmp_path: Path) -> None:
    async def work(ordered: Ordered) -> None:
        cell, people = ordered.cell, ordered.people
        account, other = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        await ordered.install(people.roster(Policy(local_refused=True)))
        await ordered.everywhere(people.order("rotate-keys"), "ada", "ops")
        assert "OrderTaken" in cell.seen.kinds()
        for _ in range(2):
            await cell.ask("cli", "auth", to_auth.RotateKey(stamp(), False, 3600))
        await ordered.submit("keyring", people.order("recover-mailbox", {"account": account.hex()}), ["ada", "ops"])
        for who, code in ((other, "order-required"), (account, "bad-shares"), (account, "bad-shares")):
            with refused(code):  # what came to nothing may be tried again
                await cell.ask("cli", "keyring", to_keyring.GrantRecovery(stamp(), who, bytes(16), b"", b""))

    run(tmp_path, work)
