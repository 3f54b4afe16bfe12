"""A lease ends first where it is held, whatever is delayed, replayed or paused; no promotion comes before that."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.boundary.messages import to_auth, to_keyring, to_queue, to_store
from bulkhead.errors import Error, IntegrityError, Refused, TemporaryFailure
from bulkhead.gate.lease import require_time
from bulkhead.holder.lease import Lease
from bulkhead.identifiers import TenantId
from bulkhead.records.lease import LeaseAsk, StandbyKeys, grant_lease, read_grant
from bulkhead.standby import promise as promise_module
from bulkhead.standby.place import Place
from bulkhead.standby.promise import DRIFT, MARGIN, Promises

TENANT = TenantId("kddi")
KEYS = StandbyKeys.of(bytes(range(32)), TENANT)


class Clock:
    """CLOCK_BOOTTIME of one machine; of the other clocks nothing here may ask."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock_gettime(self, clock: int) -> float:
        assert clock == time.CLOCK_BOOTTIME
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "clock_gettime", clock.clock_gettime)
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the time of day was asked"))
    return clock


def held(term: int = 0) -> Lease:
    return Lease(TENANT, "store", term, KEYS.signing.public_key())


def ask_of(lease: Lease, seconds: int = 10, term: int = 0) -> bytes:
    return LeaseAsk(TENANT, term, seconds, {"store": lease.ask()}).encode()


def test_a_lease_is_counted_from_when_it_was_asked_for(clock: Clock) -> None:
    lease = held()
    ask = ask_of(lease)
    clock.now += 6
    lease.take(ask, grant_lease(KEYS.signing, ask))
    clock.now += 3.9
    lease.require()
    require_time(lease.until)
    clock.now += 0.2
    with pytest.raises(TemporaryFailure):
        lease.require()
    with pytest.raises(TemporaryFailure):
        require_time(lease.until)


def test_a_holder_without_a_lease_answers_nothing_and_one_without_a_standby_everything(clock: Clock) -> None:
    with pytest.raises(TemporaryFailure):
        held().require()
    alone = Lease(TENANT, "store", 0, None)
    alone.require()
    require_time(alone.until)


def test_a_grant_is_taken_once(clock: Clock) -> None:
    lease = held()
    ask = ask_of(lease)
    grant = grant_lease(KEYS.signing, ask)
    lease.take(ask, grant)
    clock.now += 100
    with pytest.raises(Refused):
        lease.take(ask, grant)
    assert lease.failure() is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda ask, grant: (ask, grant_lease(Ed25519PrivateKey.generate(), ask)),
        lambda ask, grant: (ask.replace(b'"seconds":10', b'"seconds":99'), grant),
        lambda ask, grant: (ask, grant[:-1]),
        lambda ask, grant: (ask[:-1], grant),
        lambda ask, grant: (ask, bytes(8) + (99).to_bytes(4, "big") + grant[12:]),
    ],
)
def test_a_grant_of_another_standby_or_for_something_else_is_refused(
    clock: Clock, spoil: Callable[[bytes, bytes], tuple[bytes, bytes]]
) -> None:
    lease = held()
    ask = ask_of(lease)
    with pytest.raises(Error):
        lease.take(*spoil(ask, grant_lease(KEYS.signing, ask)))
    assert lease.failure() is not None


def test_a_grant_of_another_term_or_to_another_holder_is_refused(clock: Clock) -> None:
    lease = held(term=2)
    for ask in (ask_of(lease, term=1), LeaseAsk(TENANT, 2, 10, {"queue": lease.ask()}).encode()):
        with pytest.raises(Refused):
            lease.take(ask, grant_lease(KEYS.signing, ask))


def test_a_lease_that_was_laid_down_is_not_taken_up_again(clock: Clock) -> None:
    lease = held()
    ask = ask_of(lease)
    lease.end()
    with pytest.raises(Refused):
        lease.take(ask, grant_lease(KEYS.signing, ask))


def test_a_restart_of_the_standbys_machine_makes_it_wait_the_whole_time_again(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promises = Promises(tmp_path)
    promises.grant(KEYS.signing, ask_of(held(), seconds=100))
    monkeypatch.setattr(promise_module, "boot_id", lambda: "another")
    clock.now = 5.0
    assert Promises(tmp_path).promote(1) == pytest.approx(100 * (1 + DRIFT) + MARGIN)
    clock.now += 60
    assert Promises(tmp_path).promote(1) == pytest.approx(40 + 100 * DRIFT + MARGIN)


def test_a_shorter_promise_after_a_restart_of_the_machine_takes_back_none_before(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = held()
    Promises(tmp_path).grant(KEYS.signing, ask_of(lease, 300))
    monkeypatch.setattr(promise_module, "boot_id", lambda: "another")
    clock.now = 7.0
    promises = Promises(tmp_path)
    promises.grant(KEYS.signing, ask_of(lease, 1))
    assert promises.promote(1) == pytest.approx(300 * (1 + DRIFT) + MARGIN)


def test_a_standby_that_took_over_grants_nothing_nor_does_one_to_an_older_term(clock: Clock, tmp_path: Path) -> None:
    promises = Promises(tmp_path)
    promises.grant(KEYS.signing, ask_of(held(), term=3))
    with pytest.raises(Refused):
        promises.grant(KEYS.signing, ask_of(held(), term=2))
    promises.promote(4)
    with pytest.raises(Refused):
        promises.grant(KEYS.signing, ask_of(held(), term=4))
    assert promises.promoted


def test_a_grant_behind_a_hand_over_takes_it_back(clock: Clock, tmp_path: Path) -> None:
    promises = Promises(tmp_path)
    promises.grant(KEYS.signing, ask_of(held()))
    promises.release()
    assert promises.released
    promises.grant(KEYS.signing, ask_of(held()))
    assert not promises.released


def test_nobody_but_the_standby_can_say_that_it_took_over(tmp_path: Path) -> None:
    place = Place(tmp_path, TENANT)
    assert place.superseded(KEYS.signing.public_key()) == 0
    place.supersede(Ed25519PrivateKey.generate(), 7)
    assert place.superseded(KEYS.signing.public_key()) == 0
    place.supersede(KEYS.signing, 7)
    assert place.superseded(KEYS.signing.public_key()) == 7
    assert Place(tmp_path, TenantId("kddi")).superseded(KEYS.signing.public_key()) == 7


@given(st.binary(max_size=300))
def test_octets_that_ask_for_nothing_raise_only_integrity_errors(octets: bytes) -> None:
    for read in (lambda: LeaseAsk.decode(octets), lambda: read_grant(KEYS.signing.public_key(), octets, octets)):
        with pytest.raises(IntegrityError):
            read()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 8)),
        st.tuples(st.sampled_from(["ask", "grant", "take", "replay", "answer"]), st.just(0.0)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=200)
@given(steps=STEPS, drift=st.floats(-0.005, 0.005), delay=st.floats(0, 30))
def test_no_answer_is_given_once_a_promotion_could_serve(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], drift: float, delay: float
) -> None:
    """Two clocks of different speed and origin; asks, grants and their copies arrive late, twice, or never."""
    here, there = Clock(), Clock()
    there.now = 77.0
    clock = here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "clock_gettime", lambda which: clock.clock_gettime(which))  # noqa: PLW0108  # it changes
        promises, lease = Promises(tmp_path_factory.mktemp("p")), held()
        asks: list[bytes] = []
        grants: list[tuple[bytes, bytes]] = []
        for what, seconds in steps:
            clock = here
            if what == "pass":
                here.now += seconds * (1 + drift)
                there.now += seconds
            elif what == "ask":
                asks.append(ask_of(lease))
            elif what == "grant" and asks:
                clock = there
                grants.append((asks[-1], promises.grant(KEYS.signing, asks[-1])))
            elif what in ("take", "replay") and grants:
                try:
                    lease.take(*grants[-1 if what == "take" else 0])
                except Refused:
                    continue
        clock = there
        wait = promises.promote(1)
        for ask in asks:
            with pytest.raises(Refused):
                promises.grant(KEYS.signing, ask)
        here.now += (wait + delay) * (1 + drift)
        clock = here
        for pair in grants:
            try:
                lease.take(*pair)
            except Refused:
                continue
        assert lease.failure() is not None
        with pytest.raises(TemporaryFailure):
            require_time(lease.until)


def test_what_narrows_reach_needs_no_lease_and_what_a_client_is_told_does() -> None:
    free = {to_auth.StopTenantLogins, to_auth.RevokeCredentials, to_auth.RevokeAppPasswords, to_keyring.SetHalfState}
    free |= {to_keyring.StopTenantSessions, to_queue.StopOutbound, to_keyring.StopOutbound, to_store.DestroyAccount}
    bound = {to_store.DeliverMail, to_store.AppendMessage, to_store.StoreFlags, to_queue.Enqueue, to_auth.SetPassword}
    bound |= {to_auth.LiftTenantStop, to_auth.AddAppPassword, to_keyring.LiftSessionStop}
    assert not any(request.leased for request in free)
    assert all(request.leased for request in bound)
