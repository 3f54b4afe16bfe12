"""Who of the staff reads the log: whose session enough holders entered, until it ends."""

import hashlib

import pytest

from bulkhead.boundary.messages.to_ledger import Event
from bulkhead.boundary.staff import EXECUTORS
from bulkhead.errors import Refused
from bulkhead.ledger.sessions import ENDED_MAX, SESSIONS_MAX, WITNESSES, Readers

TOKEN = bytes(range(32))
UNTIL = 1000


class Clock:
    """ms."""

    at = 0

    def __call__(self) -> int:
        return self.at


def opened(token: bytes = TOKEN, role: str = "partner-admin", expires: int = UNTIL) -> Event:
    session = hashlib.sha256(token).hexdigest()
    return Event("StaffSessionOpened", 1, "officer:ada", b"", {"session": session, "role": role, "expires": expires})


def refusal(readers: Readers, token: bytes = TOKEN, message: str = "ReadEntries") -> str:
    try:
        readers.require(token, message)
    except Refused as error:
        return error.code
    return ""


def told(readers: Readers, event: Event, holders: tuple[str, ...] = EXECUTORS[:WITNESSES]) -> Readers:
    for holder in holders:
        readers.learn(holder, [event])
    return readers


def test_a_session_that_enough_holders_entered_alike_reads_until_its_time() -> None:
    clock = Clock()
    readers = Readers(clock)
    for holder in EXECUTORS[: WITNESSES - 1]:
        readers.learn(holder, [opened()])
        readers.learn(holder, [opened()])  # said twice is said once
        assert refusal(readers) == "no-session"
    readers.learn(EXECUTORS[WITNESSES], [opened()])
    assert refusal(readers) == ""
    assert refusal(readers, bytes(32)) == "no-session"
    clock.at = UNTIL
    assert refusal(readers) == "no-session"


@pytest.mark.parametrize("lie", [opened(role="partner-security"), opened(expires=UNTIL + 1), opened(b"x" * 32)])
def test_holders_that_say_different_things_are_not_counted_together(lie: Event) -> None:
    readers = told(Readers(Clock()), opened(), EXECUTORS[: WITNESSES - 1])
    readers.learn(EXECUTORS[-1], [lie])
    assert refusal(readers) == "no-session"


@pytest.mark.parametrize("compartment", ["console", "incident", "cli", "ledger", "mx"])
def test_who_verifies_no_session_is_not_heard(compartment: str) -> None:
    readers = told(Readers(Clock()), opened(), EXECUTORS[: WITNESSES - 1])
    readers.learn(compartment, [opened()])
    assert refusal(readers) == "no-session"


def test_the_role_decides_what_is_read() -> None:
    readers = told(Readers(Clock()), opened(role="partner-support"))
    assert (refusal(readers, message="ReadCheckpoint"), refusal(readers)) == ("", "role")
    assert refusal(told(Readers(Clock()), opened(role="partner-collector")), message="ReadCheckpoint") == "role"


def test_an_end_and_a_roster_end_it_and_a_late_entry_does_not_begin_it_again() -> None:
    readers = told(Readers(Clock()), opened())
    readers.end(bytes(32))
    assert refusal(readers) == ""
    readers.end(TOKEN)
    assert refusal(told(readers, opened())) == "no-session"
    others = told(Readers(Clock()), opened())
    others.learn("auth", [Event("RosterInstalled", 1, "roster", b"", {"version": 2})])
    assert refusal(others) == "no-session"
    assert refusal(told(others, opened())) == ""


def test_what_is_remembered_is_bounded_and_what_has_another_form_is_passed_over() -> None:
    readers = Readers(Clock())
    for number in range(SESSIONS_MAX + ENDED_MAX):
        token = number.to_bytes(32, "big")
        told(readers, opened(token))
        if number % 2:
            readers.end(token)
    assert len(readers._heard) <= SESSIONS_MAX and len(readers._ended) <= ENDED_MAX
    readers.learn("auth", [Event("StaffSessionOpened", 1, "x", b"", {"session": 1, "role": None, "expires": "x"})])
