"""Oblivion receipts: made from a log's entries, and believed only as far as those prove them."""

import secrets
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.ledger.event import EVENTS, Event, Scalar, encode_event, subject_id
from bulkhead.ledger.merkle import leaf_hash, tree_root
from bulkhead.ledger.note import Checkpoint, NoteSigner, VerifierKey, sign_checkpoint
from bulkhead.ledger.oblivion import Copies, Opening, Proven, check_receipt, commitment, render

PRIVATE = Ed25519PrivateKey.generate()
KEY = VerifierKey("bulkhead/stnet", PRIVATE.public_key().public_bytes_raw())
SUBJECT = subject_id(bytes(32), AccountId(bytes(16)))
OTHER = subject_id(bytes(32), AccountId(bytes([1]) * 16))
OPENING = Opening("sato@stnet.example", secrets.token_bytes(32))
TIMES = {"keyring_at": 10, "auth_at": 11, "store_at": 12, "queue_at": 13, "directory_at": 14}


def _event(kind: str, compartment: str, details: dict[str, Scalar], subject: bytes | None = SUBJECT) -> bytes:
    subjects = () if subject is None else (SUBJECT if subject == SUBJECT else OTHER,)
    return encode_event(Event(EVENTS[kind], 20, "cli", subjects, {**details, "compartment": compartment}))


def _end(**changed: Scalar) -> bytes:
    details: dict[str, Scalar] = {
        "tenant": "stnet", "commitment": commitment("stnet", OPENING).hex(), **TIMES, "ring_first": 2,
        "ring_version": 3, "older_until": 70,
    }  # fmt: skip
    return _event("AccountDestroyed", "cli", {**details, **changed})


def _key_event(kind: str, version: int, compartment: str = "keyring", **details: Scalar) -> bytes:
    return _event(kind, compartment, {"key": "ring", "version": version, **details}, None)


def _receipt(entries: Sequence[bytes], *, opening: Opening | None = OPENING, subject: bytes = SUBJECT) -> bytes:
    """A log of these entries, after one that is about something else, and the receipt that all of them make."""
    log = [_event("CellStarted", "supervisor", {}, None), *entries]
    leaves = [leaf_hash(entry) for entry in log]

    checkpoint = Checkpoint(KEY.name, len(log), tree_root(leaves))
    note = sign_checkpoint(checkpoint, NoteSigner(KEY.name, PRIVATE)).encode().decode()
    proven = [Proven(index, entry, tuple(_proof(index, leaves))) for index, entry in enumerate(log) if index > 0]
    return render("stnet", note, proven, subject.hex(), opening)


def _proof(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1, as written there."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*_proof(index, leaves[:split]), tree_root(leaves[split:])]
    return [*_proof(index - split, leaves[split:]), tree_root(leaves[:split])]


SAID = (_event("HalfDestroyed", "keyring", {"version": 3}), _event("HalfDestroyed", "auth", {"version": 1}))


def test_a_receipt_says_when_what_was_destroyed_and_that_no_date_is_set_for_older_copies() -> None:
    shown = check_receipt(_receipt([*SAID, _end()]), KEY)
    assert [at for _, at in shown.destroyed] == [10, 11, 12, 13, 14]
    assert shown.copies == Copies(2, 3, destroyed=False, until=0)
    assert shown.opening == OPENING
    assert check_receipt(_receipt([*SAID, _end()], opening=None), KEY).opening is None


def test_older_copies_die_with_the_last_version_that_they_may_lie_under() -> None:
    retired = _key_event("KeyRotationVerified", 4, destroy_after=60)
    shown = check_receipt(_receipt([_end(), retired]), KEY)
    assert shown.copies == Copies(2, 3, destroyed=False, until=70_000)  # version 2 is kept longer than 3
    one = check_receipt(_receipt([_end(), retired, _key_event("KeyDestroyed", 3)]), KEY)
    assert not one.copies.destroyed
    both = check_receipt(_receipt([_end(), retired, _key_event("KeyDestroyed", 2), _key_event("KeyDestroyed", 3)]), KEY)
    assert both.copies == Copies(2, 3, destroyed=True, until=0)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([*SAID], "not one AccountDestroyed"),
        ([_end(), _end()], "not one AccountDestroyed"),
        ([_end(), _event("HalfDestroyed", "keyring", {}, OTHER)], "about something else"),
        ([_end(), _key_event("KeyDestroyed", 3, "auth")], "about something else"),
        ([_end(), _event("StopLifted", "auth", {}, None)], "about something else"),
        ([_end(ring_first=0)], "no key versions"),
        ([_end(ring_version=None)], "ring_version is missing"),
    ],
)
def test_entries_that_make_no_receipt_are_refused(entries: list[bytes], why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        _receipt(entries)


def test_a_receipt_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(IntegrityError, match="did not go first"):
        check_receipt(_receipt([_end(keyring_at=15)]), KEY)
    with pytest.raises(IntegrityError, match="another one's"):
        check_receipt(_receipt([_end(tenant="kddi")]), KEY)
    for opening in (Opening("other@stnet.example", OPENING.random), Opening(OPENING.address, bytes(32))):
        with pytest.raises(IntegrityError, match="opening"):
            check_receipt(_receipt([_end()], opening=opening), KEY)
    stranger = VerifierKey(KEY.name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(IntegrityError, match="checkpoint"):
        check_receipt(_receipt([_end()]), stranger)


@given(st.integers(0, 10_000), st.binary(max_size=4))
def test_no_other_octets_than_the_receipts_own_are_believed(place: int, instead: bytes) -> None:
    whole = _WHOLE
    place %= len(whole)
    changed = whole[:place] + instead + whole[place + len(instead) :]
    if changed != whole:
        with pytest.raises(IntegrityError):
            check_receipt(changed, KEY)


@given(st.binary(max_size=300))
def test_what_is_no_receipt_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        check_receipt(data, KEY)


_WHOLE = _receipt([*SAID, _end(), _key_event("KeyRotationVerified", 4, destroy_after=60)])
