"""bulkhead.ledger.event: one byte form, limits, no addresses."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.ledger.event import (
    DETAIL_TEXT_MAX,
    EVENT_MAX,
    EVENTS,
    INTEGER_MAX,
    SUBJECTS_MAX,
    Event,
    Scalar,
    SubjectId,
    encode_event,
    parse_event,
    subject_id,
)

SUBJECT = SubjectId(bytes(range(16)))
STOP = Event(EVENTS["StopLogins"], 1_700_000_000_000, "officer:a", (SUBJECT,), {"scope": "tenant", "hours": 4})
GOLDEN = (
    b'{"actor":"officer:a","at":1700000000000,"details":{"hours":4,"scope":"tenant"},"kind":7,'
    b'"subjects":["000102030405060708090a0b0c0d0e0f"],"v":1}'
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@"), max_size=60)
scalars = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | texts
names = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)


def test_the_byte_form_of_version_1_never_changes() -> None:
    assert encode_event(STOP) == GOLDEN
    assert parse_event(GOLDEN) == STOP


def test_an_event_in_another_encoding_or_behind_a_byte_order_mark_is_none() -> None:
    for octets in (b"\xef\xbb\xbf" + GOLDEN, GOLDEN.decode().encode("utf-16"), GOLDEN.replace(b"tenant", b"\xe9")):
        with pytest.raises(IntegrityError):
            parse_event(octets)


def test_numbers_of_kinds_never_change() -> None:
    assert {name: kind.number for name, kind in EVENTS.items()} == {
        "TenantCreated": 1,
        "DomainAdded": 2,
        "AccountAdded": 3,
        "AccountStatusChanged": 4,
        "PasswordSet": 5,
        "RecoveryUsed": 6,
        "StopLogins": 7,
        "StopSessions": 8,
        "StopLifted": 9,
        "KeyOpeningsCounted": 10,
        "LoginsCounted": 11,
        "EdgeViolation": 12,
        "CellStarted": 13,
        "CompartmentRestarted": 14,
        "DrillRun": 15,
        "CredentialsAudited": 16,
        "AppPasswordRevoked": 17,
        "CredentialsRevoked": 18,
        "Stuffing": 19,
        "MailboxRenewalOrdered": 20,
        "MailboxKeyRenewed": 21,
        "MailboxKeyDestroyed": 22,
        "KeyRotationBegun": 24,
        "KeyRotationVerified": 25,
        "KeyDestroyed": 26,
        "HalfDestroyed": 27,
        "AccountDestroyed": 28,
        "CanariesPlanted": 29,
        "CanaryUsed": 30,
        "BackupMade": 31,
        "BackupVerified": 32,
        "RestoreBegun": 33,
        "RestoreDone": 34,
        "KeysEscrowed": 35,
        "MailRestored": 36,
        "MailboxKeysExported": 40,
        "ExportWritten": 41,
        "MessagesUndeleted": 42,
        "ExportBegun": 43,
        "ImportBegun": 44,
        "ImportDone": 45,
        "MailImported": 46,
        "EventsLate": 47,
        "LedgerAlive": 48,
        "ContractAdopted": 50,
        "ContractBroken": 51,
        "ContractKept": 52,
        "NoticeGiven": 53,
        "AddressAdded": 60,
        "AddressRetired": 61,
        "ForwardChanged": 62,
        "GroupChanged": 63,
        "ServicesChanged": 64,
        "QuotaChanged": 65,
        "ClassDefined": 66,
        "ProvisionBegun": 67,
        "ProvisionEnded": 68,
        "BindingsListed": 69,
        "RosterInstalled": 70,
        "StaffSessionOpened": 77,
        "OrderTaken": 71,
        "OrderExecuted": 72,
        "OrderWithdrawn": 73,
        "StopOutbound": 74,
        "SurfacesStopped": 75,
        "SurfacesLifted": 76,
        "DomainRemoved": 78,
        "AccountReopened": 79,
        "StandbyBegun": 80,
        "StandbyPromoted": 81,
        "AdvisoryOpened": 90,
        "AdvisoryClosed": 91,
        "ComponentsChecked": 92,
        "SupportCaseOpened": 110,
        "SupportCaseClosed": 111,
        "SupportCardShown": 112,
        "ConsentGiven": 113,
        "ConsentVoid": 114,
        "SupportActed": 115,
    }
    assert all(kind.doc.endswith(".") for kind in EVENTS.values())


def test_every_kind_has_its_row_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs/ledger.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([A-Z][A-Za-z]+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(str(kind.number), kind.name, kind.doc) for kind in EVENTS.values()]


@given(
    st.sampled_from(sorted(EVENTS)),
    st.integers(0, INTEGER_MAX),
    st.lists(st.binary(min_size=16, max_size=16).map(SubjectId), max_size=4),
    st.dictionaries(names, scalars, max_size=6),
)
def test_an_event_survives_its_encoding(kind: str, at: int, who: list[SubjectId], details: dict[str, Scalar]) -> None:
    event = Event(EVENTS[kind], at, "cell", tuple(who), details)
    assert parse_event(encode_event(event)) == event


@given(texts)
def test_any_text_is_written_as_rfc_8785_writes_it(text: str) -> None:
    data = encode_event(Event(EVENTS["CellStarted"], 0, "cell", (), {"note": text}))
    assert json.loads(data)["details"]["note"] == text
    assert b"\\u" not in data or any(ord(c) < 0x20 for c in text) or "\\" in text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 5000,
        GOLDEN + b"\n",
        GOLDEN.replace(b":4,", b":4.0,"),
        GOLDEN.replace(b":4,", b":4e0,"),
        GOLDEN.replace(b":4,", b": 4,"),
        GOLDEN.replace(b":4,", b":NaN,"),
        GOLDEN.replace(b":4,", b":[],"),
        GOLDEN.replace(b":4,", b":9007199254740992,"),
        GOLDEN.replace(b'"kind":7', b'"kind":99'),
        GOLDEN.replace(b'"kind":7', b'"kind":[]'),
        GOLDEN.replace(b'"kind":7', b'"kind":7.0'),
        GOLDEN.replace(b'"v":1', b'"v":true'),
        GOLDEN.replace(b'"v":1', b'"v":1,"v":1'),
        GOLDEN.replace(b'"v":1', b'"v":2'),
        GOLDEN.replace(b"0e0f", b"0E0F"),
        GOLDEN.replace(b"0e0f", b"0e"),
        GOLDEN.replace(b"tenant", b"a@b"),
        GOLDEN.replace(b"tenant", b"\\ud800"),
        GOLDEN.replace(b"tenant", b"t\\u0065nant"),
    ],
)
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_event(data)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_integrity_errors(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_event(data)


@pytest.mark.parametrize("detail", ["someone@stnet.example", "\ud800", "x" * (DETAIL_TEXT_MAX + 1), 2**53, 1.5, b"x"])
def test_a_detail_that_does_not_belong_in_the_log_is_refused(detail: object) -> None:
    with pytest.raises(ValueError, match="detail"):
        Event(EVENTS["CellStarted"], 0, "cell", (), {"note": detail})  # type: ignore[dict-item]


def test_limits_hold_at_the_limit_and_one_past_it() -> None:
    kind = EVENTS["AccountAdded"]
    Event(kind, INTEGER_MAX, "a" * 128, (SUBJECT,) * SUBJECTS_MAX, {f"d{i}": True for i in range(32)})
    for bad in (
        lambda: Event(kind, -1, "a"),
        lambda: Event(kind, INTEGER_MAX + 1, "a"),
        lambda: Event(kind, 0, ""),
        lambda: Event(kind, 0, "a" * 129),
        lambda: Event(kind, 0, "a", (SUBJECT,) * (SUBJECTS_MAX + 1)),
        lambda: Event(kind, 0, "a", (SubjectId(b"short"),)),
        lambda: Event(kind, 0, "a", (), {f"d{i}": True for i in range(33)}),
        lambda: Event(kind, 0, "a", (), {"Upper": 1}),
    ):
        with pytest.raises(ValueError, match=r"event|detail"):
            bad()


def test_an_event_of_8_kib_fits_and_one_byte_more_does_not() -> None:
    def event(filler: int) -> Event:
        details: dict[str, Scalar] = {f"d{i}": "x" * DETAIL_TEXT_MAX for i in range(7)}
        return Event(EVENTS["CellStarted"], 0, "cell", (), details | {"z": "x" * filler})

    room = EVENT_MAX - len(encode_event(event(0)))
    assert len(encode_event(event(room))) == EVENT_MAX
    with pytest.raises(ValueError, match="8192"):
        encode_event(event(room + 1))
    with pytest.raises(IntegrityError):
        parse_event(encode_event(event(room)) + b" ")


def test_a_subject_id_depends_on_key_and_account() -> None:
    account, other = AccountId(bytes(16)), AccountId(b"\x01" * 16)
    assert subject_id(bytes(32), account) != subject_id(bytes(32), other)
    assert subject_id(bytes(32), account) != subject_id(b"\x01" * 32, account)
    assert subject_id(bytes(32), account).hex() == "1c6673f351c2bae48fbc752809ef36b1"
    with pytest.raises(ValueError, match="32 bytes"):
        subject_id(b"short", account)
