"""What a restore does again: an account's end is final, in whichever order the compartments' entries come."""

from bulkhead.ledger.acts import acts_of
from bulkhead.ledger.event import EVENTS, Event, SubjectId, encode_event

SUBJECT = SubjectId(bytes(range(16)))


def _entry(kind: str, **details: str) -> bytes:
    return encode_event(Event(EVENTS[kind], 1_700_000_000_000, "cli", (SUBJECT,), details))


def test_an_entry_of_directory_that_comes_late_brings_no_destroyed_account_back() -> None:
    ended, active = _entry("HalfDestroyed"), _entry("AccountStatusChanged", to="active")
    assert acts_of([ended, active]).status == {SUBJECT: "cancelled"}
    purged = _entry("AccountStatusChanged", to="purged")
    assert acts_of([ended, active, purged, ended]).status == {SUBJECT: "purged"}
