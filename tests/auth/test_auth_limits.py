"""Strangers who guess hold up strangers, never a network where the password was right, and nobody for ever."""

import asyncio
import itertools
import secrets
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict
from tests.keyring.two_halves import SETTINGS, TwoHalves, refused, run, settled, stamp

from bulkhead.auth.known import DAY, PER_ACCOUNT
from bulkhead.auth.limits import Limit, Limits
from bulkhead.auth.stretching import BEHIND, Stretching
from bulkhead.boundary.messages.to_auth import CountLogins, SetLoginState
from bulkhead.cli.logins import login_lines
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.credential import StretchParameters

PASSWORD, WRONG = b"correct horse battery", b"incorrect horse battery"
HOME, ABROAD = "192.0.2.1", "198.51.100.9"
VICTIM = AccountId(bytes(16))


class _Known:
    """Networks by account, without a database."""

    days = 90

    def __init__(self) -> None:
        self.pairs: set[tuple[bytes, bytes]] = set()

    def has(self, account: AccountId, network: bytes) -> bool:
        return (account, network) in self.pairs

    def remember(self, account: AccountId, network: bytes) -> None:
        self.pairs.add((account, network))


class World:
    """Limits alone, with a clock that is set by hand. keyring: its own count of wrong passwords by hour."""

    def __init__(self, **changes: int) -> None:
        self.now = 1_000_000.0
        auth = {**SETTINGS["auth"], **{name: value for name, value in changes.items() if name in SETTINGS["auth"]}}
        keyring = {**SETTINGS["keyring"], "failures_per_hour": changes.get("failures_per_hour", 1200)}
        self.limits = Limits(_Known(), {"auth": auth, "keyring": keyring}, lambda: self.now)  # type: ignore[arg-type]
        self.wrong: Counter[tuple[bytes, int]] = Counter()

    def log_in(self, source: str, account: AccountId = VICTIM, *, right: bool = False, gate: str = "access") -> bool:
        """Whether it was tried."""
        try:
            with self.limits.attempt(account, source, gate) as attempt:
                if attempt.over is not None:
                    return False
                if not right:
                    self.wrong[account, int(self.now // 3600)] += 1
                    raise Refused("wrong")
        except Refused:
            pass
        return True


def host(number: int) -> str:
    """The first host of a network."""
    return f"10.{number >> 8 & 255}.{number & 255}.1"


def test_a_network_where_the_password_was_right_is_not_held_up_by_any_number_of_strangers() -> None:
    world = World(failing_accounts_per_minute=10, failures_per_gate_minute=600, failures_per_hour=1200)
    assert world.log_in(HOME, right=True)
    for number in range(3000):
        world.now += 1
        world.log_in(host(number))
        world.log_in(HOME[:-1] + "77", AccountId(number.to_bytes(16, "big")))  # neighbours, at other accounts
        if number % 100 == 0:
            assert world.log_in(HOME, right=True) and world.log_in("192.0.2.200", right=True)
    assert world.limits.spread.over


def test_somebody_from_a_new_network_gets_in_within_the_maximum_while_strangers_guess() -> None:
    world = World()
    for number in range(200):
        world.log_in(host(number))
    world.log_in(ABROAD)  # refused unread, or wrong: it is not yet due
    began = world.now
    while not world.log_in(ABROAD, right=True):
        world.now += 10
        world.log_in(host(int(world.now) % 200))
        assert world.now <= began + SETTINGS["auth"]["delay_seconds_max"]
    assert world.log_in(ABROAD, right=True)  # it is known now


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.floats(0, 700)), max_size=150),
    st.integers(1, 30),
)
def test_whatever_a_few_strangers_do_nobody_new_waits_longer_than_the_maximum(
    history: list[tuple[int, bool, float]], ceiling: int
) -> None:
    world = World(failing_accounts_per_minute=ceiling, failures_per_gate_minute=60)
    world.log_in(HOME, right=True)
    for number, at_victim, pause in history:
        world.now += pause
        world.log_in(host(number), VICTIM if at_victim else AccountId(number.to_bytes(16, "big")))
        assert world.log_in(HOME, right=True)
    if not world.log_in(ABROAD, right=True):
        world.now += SETTINGS["auth"]["delay_seconds_max"]
        assert world.log_in(ABROAD, right=True)


def test_a_botnet_and_a_known_network_together_stay_below_keyrings_hour() -> None:
    world = World(failures_per_hour=400)
    assert world.log_in(HOME, right=True)
    for second in range(0, 4 * 3600, 4):
        world.now += 4
        for number in range(3):
            world.log_in(host(second % 1000 * 3 + number), gate=("access", "submit")[number % 2])
        world.log_in(HOME, gate=("access", "submit")[second // 4 % 2])
    tried = list(world.wrong.values())
    assert max(tried) <= 400 and sum(tried) > 400


def test_wrong_passwords_from_one_network_cost_it_a_wait_that_doubles() -> None:
    world = World()
    tried = []
    for second in range(4 * 3600):
        world.now += 1
        if world.log_in(HOME if second % 2 else "192.0.2.9"):
            tried.append(second)
    assert tried[:9] == list(range(9)) and tried[9] == 10 and tried[10] == 14
    assert len(tried) < 25 and max(b - a for a, b in itertools.pairwise(tried)) <= 3600
    assert world.limits.refused[Limit.DELAY] == 4 * 3600 - len(tried)


def test_a_source_a_network_and_a_gate_have_their_own_limits() -> None:
    world = World(failures_per_source_minute=5, failures_per_network_minute=12, failures_per_gate_minute=15)
    ids = iter(range(1, 1000))

    def tries(source: str, gate: str, count: int) -> int:
        return sum(world.log_in(source, AccountId(next(ids).to_bytes(16, "big")), gate=gate) for _ in range(count))

    assert tries("192.0.2.1", "access", 9) == 5 and world.limits.refused[Limit.SOURCE] == 4
    assert tries("192.0.2.2", "access", 5) == 5
    assert tries("192.0.2.3", "access", 5) == 2 and world.limits.refused[Limit.NETWORK] == 3
    assert tries("198.51.100.1", "access", 4) == 3 and world.limits.refused[Limit.GATE] == 1
    assert tries("198.51.100.1", "submit", 1) == 1
    world.now += 60
    assert tries("192.0.2.1", "access", 5) == 5


def test_a_gate_that_claims_the_subscribers_own_network_leaves_the_other_gate_its_logins() -> None:
    world = World(failures_per_hour=400)
    assert world.log_in(HOME, right=True)
    for _ in range(1000):
        world.log_in(HOME, gate="submit")
    assert not world.log_in(HOME, right=True, gate="submit")
    assert world.log_in(HOME, right=True) and world.log_in(ABROAD, right=True)


def test_right_and_unanswered_logins_are_not_counted() -> None:
    world = World(failures_per_source_minute=3)
    for number in range(20):
        account = AccountId(number.to_bytes(16, "big"))
        assert world.log_in(HOME, account, right=True)
        with pytest.raises(TemporaryFailure), world.limits.attempt(account, ABROAD, "access"):
            raise TemporaryFailure("keyring is away")
    assert not world.limits.refused and not world.limits._sources.of(b"") and len(world.limits._waits) == 0


def test_many_accounts_in_a_minute_are_stuffing_and_those_known_go_on() -> None:
    world = World(failing_accounts_per_minute=50)
    subscribers = [AccountId(secrets.token_bytes(16)) for _ in range(5)]
    assert all(world.log_in(HOME, account, right=True) for account in subscribers)
    tried = sum(world.log_in(host(number), AccountId(number.to_bytes(16, "big"))) for number in range(500))
    assert tried == 50 and world.limits.refused[Limit.STUFFING] == 450
    assert all(world.log_in(HOME, account, right=True) for account in subscribers)
    assert not world.log_in(ABROAD, subscribers[0], right=True)
    world.now += SETTINGS["auth"]["delay_seconds_max"]
    assert world.log_in(ABROAD, subscribers[0], right=True)


def test_attempts_at_once_count_before_their_outcome() -> None:
    world = World()
    blocks = [world.limits.attempt(VICTIM, HOME, "access") for _ in range(20)]
    tried = [block.__enter__().over is None for block in blocks]
    assert sum(tried) == 8


# --- with auth and keyring ------------------------------------------------------------------------------------------


def test_a_known_network_outlives_a_restart_and_is_named_nowhere(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.log_in(account, PASSWORD, source=HOME)
        known = cell.services["auth"]._auth.known
        database = cell.database("auth")
        assert database.read("SELECT * FROM known") == []  # a login waits for no write
        await known.flush()
        before = database.transactions
        await cell.log_in(account, PASSWORD, source="192.0.2.77")
        await known.flush()
        assert database.transactions == before  # nor is it written again
        await cell.restart("auth")
        known = cell.services["auth"]._auth.known
        assert known.has(account, bytes((192, 0, 2))) and not known.has(account, bytes((198, 51, 100)))
        ((owner, tag, _),) = cell.database("auth").read("SELECT * FROM known")
        assert len(owner) == 16 and len(tag) == 8
        for number in range(2 * PER_ACCOUNT):
            known._clock = lambda number=number: time.time() + number * DAY
            known.remember(account, bytes((10, 0, number)))
            await known.flush()
        rows = cell.database("auth").read("SELECT day FROM known ORDER BY day DESC")
        assert len(rows) == PER_ACCOUNT
        assert known.has(account, bytes((10, 0, 2 * PER_ACCOUNT - 1)))
        known._clock = lambda: time.time() + 200 * DAY
        assert not known.has(account, bytes((10, 0, 2 * PER_ACCOUNT - 1)))
        known.remember(account, bytes((10, 1, 1)))
        await cell.ask("cli", "auth", SetLoginState(stamp(), account, 3))
        await known.flush()
        assert cell.database("auth").read("SELECT * FROM known") == []

    run(tmp_path, work)


def test_strangers_who_guess_leave_the_subscriber_his_login_also_at_keyring(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await cell.add_account(PASSWORD)
        await cell.log_in(account, PASSWORD, source=HOME)
        limits = cell.services["auth"]._auth.logins.limits

        async def guess(number: int) -> None:
            with refused("bad-credentials"):
                await cell.log_in(account, WRONG, source=host(number))

        for first in range(0, 240, 40):
            await asyncio.gather(*(guess(number) for number in range(first, first + 40)))
        failures = cell.services["keyring"]._keyring.failures
        assert 0 < failures._counts[cell.services["keyring"]._keyring.keys.mid(account)][1] <= 50
        assert limits.refused[Limit.DELAY] > 100
        await cell.log_in(account, PASSWORD, source=HOME)
        with refused("bad-credentials"):
            await cell.log_in(account, PASSWORD, source=ABROAD)
        now = time.monotonic
        limits._waits.clock = lambda: now() + 900
        await cell.log_in(account, PASSWORD, source=ABROAD)

    run(tmp_path, work)


def test_stuffing_is_told_to_the_ledger_with_counts_by_limit_and_no_address(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        async def guess(number: int) -> None:
            with refused("bad-credentials"):
                await cell.log_in(AccountId(new_id()), WRONG, source=host(number))

        await asyncio.gather(*(guess(number) for number in range(20)))
        await asyncio.gather(*(guess(number) for number in range(10)))
        await cell.services["auth"].note_logins()
        await settled(lambda: "Stuffing" in cell.seen.kinds())
        counts = await cell.ask("cli", "auth", CountLogins())
        assert (counts.stuffing, counts.episodes, counts.failing) == (True, 1, 20)
        shown = list(login_lines("stnet", asdict(counts)))
        assert "accounts tried" in shown[0]
        assert "STUFFING" in shown[1]
        details = {event.kind: dict(event.details) for event in cell.seen.events}
        assert details["LoginsCounted"] == {"granted": 0, "refused": 30, "over_accounts": 10}
        assert details["Stuffing"] == {"accounts_per_minute": 20}
        assert not any(event.account for event in cell.seen.events)

    run(tmp_path, work, auth={"failing_accounts_per_minute": 20})


def test_keyring_answers_for_no_more_accounts_than_may_fail_in_an_hour(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(PASSWORD) for _ in range(5)]
        for account in accounts[:3]:
            assert not await cell.admits(account, WRONG)
        assert not await cell.admits(accounts[3], WRONG)
        assert not await cell.admits(accounts[4], PASSWORD)
        assert await cell.admits(accounts[0], PASSWORD)
        await cell.restart("keyring")
        cell.connect("keyring", "store")
        assert not await cell.admits(accounts[4], PASSWORD)
        failures = cell.services["keyring"]._keyring.failures
        assert len(failures._counts) == 4  # three, and what stands for all others
        failures._clock = lambda: time.time() + 3601
        await failures.forget_old()
        assert await cell.admits(accounts[4], PASSWORD)

    run(tmp_path, work, keyring={"failing_accounts_per_hour": 3})


def test_a_thousand_hostile_logins_leave_a_known_source_its_turn_within_a_few_hashes() -> None:
    async def work() -> None:
        stretching, done = Stretching(1, 4096), list[str]()

        async def log_in(who: str, gate: str, *, known: bool) -> None:
            await stretching.stretch(b"password", bytes(16), StretchParameters(8, 1, 1), gate, known=known)
            done.append(who)

        flood = [asyncio.create_task(log_in("stranger", "access", known=False)) for _ in range(1000)]
        await asyncio.sleep(0)
        await log_in("subscriber", "access", known=True)
        assert done.index("subscriber") <= 3
        own = [asyncio.create_task(log_in("subscriber", "access", known=True)) for _ in range(40)]
        await asyncio.gather(*own)
        strangers = done[: len(done) - done[::-1].index("subscriber")].count("stranger")
        assert 8 <= strangers <= 20  # a share for those who are new
        waited = asyncio.create_task(stretching.wait_without("access"))
        await asyncio.gather(*flood)
        await waited
        await stretching.wait_without("access")
        assert stretching._idle == 1
        stretching.stop()

    asyncio.run(work())


def test_what_nobody_waits_for_is_hashed_last_and_still_is() -> None:
    async def work() -> None:
        stretching, done = Stretching(1, 4096), list[str]()

        async def stretch(asker: str, *, known: bool) -> None:
            await stretching.stretch(b"password", bytes(16), StretchParameters(8, 1, 1), asker, known=known)
            done.append(asker)

        behind = [asyncio.create_task(stretch(BEHIND, known=True)) for _ in range(20)]
        await asyncio.sleep(0)
        logins = [asyncio.create_task(stretch("access", known=bool(number % 2))) for number in range(80)]
        await asyncio.gather(*logins)
        assert 5 <= done.count(BEHIND) <= 13
        await asyncio.gather(*behind)
        assert stretching._idle == 1
        stretching.stop()

    asyncio.run(work())


def test_what_is_refused_unread_is_busy_where_the_queue_is_full() -> None:
    async def work() -> None:
        stretching = Stretching(1, 1)
        cost = StretchParameters(1024, 1, 1)
        flood = [
            asyncio.create_task(stretching.stretch(b"p", bytes(16), cost, "access", known=False)) for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(TemporaryFailure):
            await stretching.wait_without("access")
        await stretching.wait_without("submit")
        await asyncio.gather(*flood)
        stretching.stop()

    asyncio.run(work())
