"""Rules by which holders stop one source, one process or one sender by themselves: fired, lapsed, confirmed, or not."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.keyring.two_halves import TwoHalves, refused, run, settled, stamp

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import CountLogins
from bulkhead.boundary.messages.to_keyring import CountKeyring, OpenPages, ReadSurfaces
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.holder.rules import ACCOUNTS, CAP, HELD_MAX, Rule, Tried, WorkerRate, subject_digest
from bulkhead.holder.sources import Source, network_text
from bulkhead.identifiers import AccountId, new_id

MAIN, WRONG = b"the main password", b"another password"
HOUR_MS = 3_600_000
HERE, THERE = "192.0.2.7", "198.51.100.7"
AUTH: dict[str, Any] = {"failure_seconds": 0.05, "failing_accounts_per_network_hour": 3, "rule_minutes": 60}
KEYRING: dict[str, Any] = {"keys_per_worker_minute": 5000, "rule_minutes": 60}
PAGES = tuple(range(1, 11))  # 2,560 keys


def now() -> int:
    return time.time_ns() // 1_000_000


def freeze(cell: TwoHalves) -> WorkerRate:
    """keyring's counts, in one minute that does not end, where one account's keys are as good as many's."""
    rate: WorkerRate = cell.state("keyring").openings.rate
    rate.clock, rate.accounts = lambda: 0.0, 1
    return rate


async def open_pages(cell: TwoHalves, gate: str, handle: bytes) -> None:
    await cell.ask(gate, "keyring", OpenPages(handle, PAGES))


def test_a_process_that_opens_more_keys_than_is_usual_is_stopped_until_it_lapses_and_no_other(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        freeze(cell)
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        doomed, spared = await cell.log_in(account, MAIN), await cell.log_in(other, MAIN)
        elsewhere = await cell.log_in(account, MAIN, gate="access/1")
        await open_pages(cell, "access", doomed.handle)
        with refused("no-session"):
            await open_pages(cell, "access", spared.handle)
        with refused("no-session"):
            await open_pages(cell, "access", doomed.handle)
        await settled(lambda: cell.seen.kinds().count("SurfacesStopped"))
        with pytest.raises(TemporaryFailure, match="stopped"):
            await cell.log_in(other, MAIN)
        await open_pages(cell, "access/1", elsewhere.handle)
        (stopped,) = (await cell.ask("cli", "keyring", ReadSurfaces())).stopped
        assert stopped.surface == Surface.RULE_WORKER and 0 < stopped.until - now() <= HOUR_MS
        assert (await cell.ask("cli", "keyring", CountKeyring())).rule_stops == 1
        await cell.restart("keyring")
        freeze(cell)
        assert (await cell.ask("cli", "keyring", CountKeyring())).rule_stops == 1  # it is durable
        await cell.state("keyring").surfaces.lapse(stopped.until)
        await settled(lambda: cell.seen.kinds().count("SurfacesLifted"))
        again = await cell.log_in(other, MAIN)
        await open_pages(cell, "access", again.handle)
        assert not cell.database("keyring").first("SELECT count(*) FROM surface")[0]

    run(tmp_path, work, auth=AUTH, keyring=KEYRING)


def test_a_rules_stop_that_is_given_again_without_an_end_holds_until_it_is_lifted(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        freeze(cell)
        account, other = await cell.add_account(MAIN), await cell.add_account(MAIN)
        session, another = await cell.log_in(account, MAIN), await cell.log_in(other, MAIN)
        await open_pages(cell, "access", session.handle)
        with refused("no-session"):
            await open_pages(cell, "access", another.handle)
        await settled(lambda: cell.seen.kinds().count("SurfacesStopped"))
        (stopped,) = (await cell.ask("cli", "keyring", ReadSurfaces())).stopped
        confirm = to_keyring.StopSurfaces(stamp(), now() + 1, Surface.RULE_WORKER, stopped.accounts, 0, "confirmed")
        await cell.ask("cli", "keyring", confirm)
        await cell.state("keyring").surfaces.lapse(stopped.until + HOUR_MS)
        with pytest.raises(TemporaryFailure, match="stopped"):
            await cell.log_in(account, MAIN)
        lift = to_keyring.LiftSurfaces(stamp(), now() + 2, Surface.RULE_WORKER, stopped.accounts, "it was a migration")
        await cell.ask("cli", "keyring", lift)
        await cell.log_in(account, MAIN)

    run(tmp_path, work, auth=AUTH, keyring=KEYRING)


def test_wrong_passwords_for_many_accounts_stop_their_network_at_that_gate_and_nobody_who_was_there_before(
    tmp_path: Path,
) -> None:
    async def work(cell: TwoHalves) -> None:
        old, new = await cell.add_account(MAIN), await cell.add_account(MAIN)
        await cell.log_in(old, MAIN, source=HERE)
        for victim in (AccountId(new_id()), AccountId(new_id()), new):  # the first two exist nowhere
            with refused("bad-credentials"):
                await cell.log_in(victim, WRONG, source=HERE)
        await settled(lambda: cell.seen.kinds().count("SurfacesStopped"))
        with refused("bad-credentials"):
            await cell.log_in(new, MAIN, source="192.0.2.99")  # of the same network
        await cell.log_in(old, MAIN, source=HERE)
        await cell.log_in(new, MAIN, source=THERE)
        await cell.log_in(new, MAIN, to_auth.Scope.SUBMIT, "submit", HERE)
        said = await cell.ask("cli", "auth", CountLogins())
        assert said.rule_stops == 1 and said.over_source == 1
        (stopped,) = (await cell.ask("cli", "auth", to_auth.ReadSurfaces())).stopped
        assert stopped.accounts == subject_digest(b"access/" + Source.of(HERE).network)
        await cell.state("auth").surfaces.lapse(stopped.until)
        await cell.log_in(await cell.add_account(MAIN), MAIN, source=HERE)

    run(tmp_path, work, auth=AUTH)


def test_who_was_there_before_is_none_of_the_tried_and_is_not_stopped_however_often_an_old_client_fails(
    tmp_path: Path,
) -> None:
    async def work(cell: TwoHalves) -> None:
        limits = cell.state("auth").logins.limits
        people = [await cell.add_account(MAIN) for _ in range(4)]
        for person in people:  # as after a reset: their programs go on with the password of before
            await cell.log_in(person, MAIN, source=HERE)
            while not limits._by_known.is_full(limits._who(person, "access")):
                limits._by_known.add(limits._who(person, "access"))
            with refused("bad-credentials"):
                await cell.log_in(person, WRONG, source=HERE)
        assert not limits.tried.rule._tasks and not limits.tried.held()
        for _ in range(3):
            with refused("bad-credentials"):
                await cell.log_in(AccountId(new_id()), WRONG, source=HERE)
        await settled(lambda: cell.seen.kinds().count("SurfacesStopped"))
        await cell.log_in(people[0], MAIN, source=HERE)

    run(tmp_path, work, auth=AUTH)


def test_an_account_that_is_guessed_at_again_and_again_fires_no_rule(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(MAIN)
        for _ in range(5):
            with refused("bad-credentials"):
                await cell.log_in(account, WRONG, source=HERE)
        await cell.log_in(account, MAIN, source=HERE)
        assert not (await cell.ask("cli", "auth", to_auth.ReadSurfaces())).stopped

    run(tmp_path, work, auth=AUTH)


class _Recorded:
    """A rule that fires into a list."""

    bit, minutes = Surface.RULE_WORKER, 60

    def __init__(self) -> None:
        self.fires: list[bytes] = []

    def fire(self, subject: bytes, _: str) -> None:
        self.fires.append(subject)

    def stops(self, _: bytes) -> bool:
        return False


def test_what_is_usual_grows_with_busy_minutes_and_never_beyond_ten_times_what_is_configured() -> None:
    clock, rule = [0.0], _Recorded()
    rate = WorkerRate(rule, lambda _: None, lambda: clock[0])  # type: ignore[arg-type]  # what it uses of a rule
    rate.set({"keys_per_worker_minute": 1000, "rule_minutes": 60})
    rate.accounts = 1000
    channel = Channel("access", 0, 1)
    for minute in range(1, 400):
        clock[0] = 60.0 * minute
        _open(rate, channel, 900)
        assert not rule.fires
    assert 8000 < rate.usual("access") <= 9000 and rate.usual("submit") == 1000
    for minute in range(400, 1200):
        clock[0] = 60.0 * minute
        _open(rate, channel, rate.usual("access"))
    assert rate.usual("access") == CAP * 1000 and not rule.fires
    rate.add(channel, b"one more", 1)
    assert rule.fires == [b"access/0/1"]


def _open(rate: WorkerRate, channel: Channel, accounts: int) -> None:
    for number in range(accounts):
        rate.add(channel, number.to_bytes(4, "big"), 1)


def test_one_subscriber_stops_no_process_however_much_is_read() -> None:
    rule = _Recorded()
    rate = WorkerRate(rule, lambda _: None, lambda: 0.0)  # type: ignore[arg-type]  # what it uses of a rule
    rate.set({"keys_per_worker_minute": 1600, "rule_minutes": 60})
    channel = Channel("access", 0, 1)
    for account in range(ACCOUNTS):
        for _ in range(5):
            rate.add(channel, bytes([account]), 1_000_000)
    assert not rule.fires
    rate.add(channel, b"one more", 1)
    assert rule.fires


def test_a_window_of_tries_ends_after_an_hour() -> None:
    clock, rule = [0.0], _Recorded()
    tried = Tried(lambda: clock[0])
    tried.rule = rule  # type: ignore[assignment]  # what it uses of a rule
    tried.set({"failing_accounts_per_network_hour": 3, "rule_minutes": 60})
    for hour in range(4):
        clock[0] = 3600.0 * hour
        for _ in range(2):
            tried.note(Source.of(HERE), b"access", new_id())
    assert not rule.fires
    tried.note(Source.of(HERE), b"access", new_id())
    assert len(rule.fires) == 1
    for _ in range(9):
        tried.note(Source.of("no address"), b"access", new_id())
    assert len(rule.fires) == 1


def test_no_more_stops_of_a_rule_are_in_force_than_leave_room_for_officers(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        state = cell.state("auth")
        rule: Rule = state.logins.limits.tried.rule
        for number in range(HELD_MAX + 9):
            rule.fire(number.to_bytes(4, "big"), "test")
        await settled(lambda: not rule._tasks)
        assert state.surfaces.count_closed(Surface.RULE_SOURCE) == HELD_MAX == rule.fired
        stop = to_auth.StopSurfaces(stamp(), now(), Surface.IMAP, b"", 0, "officers")
        await cell.ask("cli", "auth", stop)

    run(tmp_path, work, auth=AUTH)


@pytest.mark.parametrize(
    ("surfaces", "digest"),
    [(Surface.RULE_WORKER, b""), (Surface.RULE_WORKER | Surface.IMAP, bytes(32))],
)
def test_a_rules_surface_is_never_closed_to_everybody_nor_beside_others(
    tmp_path: Path, surfaces: int, digest: bytes
) -> None:
    async def work(cell: TwoHalves) -> None:
        with pytest.raises(Refused) as caught:
            await cell.ask("cli", "keyring", to_keyring.StopSurfaces(stamp(), now(), surfaces, digest, 0, ""))
        assert caught.value.code == "bad-surface"
        await asyncio.sleep(0)

    run(tmp_path, work)


def test_a_network_reads_as_one() -> None:
    assert network_text(Source.of(HERE).network) == "192.0.2.0/24"
    assert network_text(Source.of("2001:db8:1:2ff::1").network) == "2001:db8:1:200::/56"
