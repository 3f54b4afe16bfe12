"""Oblivion receipts: that an account is destroyed, for whoever holds the log's public key and nothing else. PURE.

A receipt carries entries of the log, each with its inclusion proof, below one signed checkpoint. Everything else in it
follows from those: a check makes it again from the entries and compares, so that a changed byte is named. Only the
opening of the commitment does not; it stands in the copy of the former subscriber and nowhere else.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bulkhead.errors import IntegrityError
from bulkhead.ledger.event import Event, Scalar, parse_event
from bulkhead.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from bulkhead.ledger.note import Checkpoint, VerifierKey, parse_note, verify_checkpoint

SCHEMA = "bulkhead/oblivion/1"
RECEIPT_MAX = 256 * 1024  # octets
RANDOM_BYTES = 32
ENTRIES_MAX = 80  # those of the account, and one for each key version that copies lie under
KEY = "ring"  # keyring's version key: without it neither verifier nor mailbox key opens

DESTROYED = (
    ("keyring_at", "keyring: verifier and mailbox key"),
    ("auth_at", "auth: salts and limits"),
    ("store_at", "store: mailboxes and mail"),
    ("queue_at", "queue: mail that had not left"),
    ("directory_at", "directory: the address reaches nothing, and nobody gets it again"),
)
"""What goes, in this order: detail of the entry, and what it says."""


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry with the proof that it is in the tree of the checkpoint."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """What shows that a commitment is about this address."""

    address: str  # its key: folded and unquoted
    random: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Copies:
    """Key versions that copies made before lie under. until: ms; 0 where no date is set, or all are destroyed."""

    first: int
    last: int
    destroyed: bool
    until: int


@dataclass(frozen=True, slots=True)
class Oblivion:
    """A receipt that holds."""

    tenant: str
    subject: str
    commitment: str
    at: int
    destroyed: tuple[tuple[str, int], ...]
    copies: Copies
    opening: Opening | None
    checkpoint: Checkpoint


def commitment(tenant: str, opening: Opening) -> bytes:
    """SHA-256 over `bulkhead oblivion 1`, tenant and address, each after its length (u16), and 32 random octets."""
    if len(opening.random) != RANDOM_BYTES:
        raise ValueError("a commitment takes 32 random octets")
    parts = (b"bulkhead oblivion 1", tenant.encode(), opening.address.encode())
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return hashlib.sha256(framed + opening.random).digest()


def render(
    tenant: str, checkpoint: str, entries: Sequence[Proven], subject: str, opening: Opening | None = None
) -> bytes:
    """The receipt's one byte form. Raises IntegrityError where the entries make none."""
    events = _events(entries, subject)
    made = _one(events, "AccountDestroyed", "cli")
    copies = _copies(made.details, events)
    document = {
        "schema": SCHEMA,
        "tenant": tenant,
        "subject": subject,
        "commitment": made.details["commitment"],
        "opening": None if opening is None else {"address": opening.address, "random": opening.random.hex()},
        "destroyed": [{"what": what, "at": made.details[name]} for name, what in DESTROYED],
        "said_by": [str(event.details.get("compartment")) for _, event in events if event.subjects],
        "copies": {
            "key": KEY, "first_version": copies.first, "last_version": copies.last, "destroyed": copies.destroyed,
            "until": copies.until,
        },
        "entries": [
            {"index": item.index, "entry": item.entry.decode(), "proof": [value.hex() for value in item.proof]}
            for item in entries
        ],
        "checkpoint": checkpoint,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


def check_receipt(data: bytes, key: VerifierKey) -> Oblivion:
    """What a receipt shows, from its octets and the log's key alone. Raises IntegrityError, naming what is wrong."""
    tenant, subject, opening, entries, note = _parse(data)
    try:
        checkpoint = verify_checkpoint(parse_note(note.encode()), key.name, key)
    except IntegrityError as error:
        raise IntegrityError(f"checkpoint: {error.public}") from None
    for item in entries:
        try:
            verify_inclusion(leaf_hash(item.entry), item.index, checkpoint.size, list(item.proof), checkpoint.root)
        except (IntegrityError, ValueError):
            raise IntegrityError(
                f"entry {item.index} is not in the tree of the checkpoint: its text, index or proof was changed"
            ) from None
    _compare(render(tenant, note, entries, subject, opening), data)
    events = _events(entries, subject)
    made = _one(events, "AccountDestroyed", "cli")
    if tenant != made.details.get("tenant"):
        raise IntegrityError("tenant: it is another one's receipt")
    committed = str(made.details["commitment"])
    if opening is not None and not hmac.compare_digest(commitment(tenant, opening).hex(), committed):
        raise IntegrityError("opening: the commitment in the log is to another address, or to other random octets")
    times = tuple((what, _integer(made.details, name)) for name, what in DESTROYED)
    if list(times) != sorted(times, key=lambda pair: pair[1]):
        raise IntegrityError("destroyed: keyring's half did not go first, or the rest not in order")
    return Oblivion(tenant, subject, committed, made.at, times, _copies(made.details, events), opening, checkpoint)


def parts_of(data: bytes) -> tuple[str, str, Opening | None, tuple[Proven, ...]]:
    """Tenant, subject, opening and entries of a receipt, unchecked but for their form. Raises IntegrityError."""
    return _parse(data)[:4]


def _parse(data: bytes) -> tuple[str, str, Opening | None, tuple[Proven, ...], str]:
    if len(data) > RECEIPT_MAX:
        raise IntegrityError(f"a receipt has at most {RECEIPT_MAX} octets")
    try:
        document = json.loads(data.decode("utf-8"))
        if document["schema"] != SCHEMA:
            raise IntegrityError(f"schema: this is no {SCHEMA}")
        opened = document["opening"]
        opening = None if opened is None else Opening(_text(opened["address"]), bytes.fromhex(opened["random"]))
        if opening is not None and len(opening.random) != RANDOM_BYTES:
            raise IntegrityError("opening: random has 32 octets")
        rows = document["entries"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= ENTRIES_MAX:
            raise IntegrityError(f"entries: there are 1 to {ENTRIES_MAX}")
        entries = tuple(_proven(row) for row in rows)
        return _text(document["tenant"]), _text(document["subject"]), opening, entries, _text(document["checkpoint"])
    except IntegrityError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"this is no receipt: {type(error).__name__} at {str(error)[:100]}") from None


def _proven(row: Mapping[str, object]) -> Proven:
    index, entry, proof = row["index"], row["entry"], row["proof"]
    if type(index) is not int or not 0 <= index < 1 << 63 or not isinstance(entry, str) or not isinstance(proof, list):
        raise IntegrityError("entries: one has no index, text or proof")
    hashes = tuple(bytes.fromhex(value) for value in proof)
    if any(len(value) != HASH_BYTES for value in hashes):
        raise IntegrityError(f"entry {index}: a hash has {HASH_BYTES} octets")
    return Proven(index, entry.encode(), hashes)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise IntegrityError("this is no receipt: a text is missing")
    return value


def _compare(expected: bytes, found: bytes) -> None:
    """Raises IntegrityError with the first line that is not as the entries have it."""
    if expected == found:
        return
    lines = zip(expected.splitlines(), found.splitlines(), strict=False)
    number = next((n for n, (one, other) in enumerate(lines, 1) if one != other), len(expected.splitlines()) + 1)
    wrong = found.splitlines()[number - 1 : number]
    text = wrong[0].decode("utf-8", "replace").strip()[:80] if wrong else "missing"
    raise IntegrityError(f"line {number} is not what the entries of the log say: {text}")


def _events(entries: Sequence[Proven], subject: str) -> list[tuple[int, Event]]:
    """The entries understood, in order. Raises IntegrityError on one of another account or of no use here."""
    events = []
    for item in entries:
        event = parse_event(item.entry)
        about_it = [one.hex() for one in event.subjects] == [subject]
        about_key = event.details.get("key") == KEY and event.kind.name in ("KeyRotationVerified", "KeyDestroyed")
        if not about_it and not (about_key and event.details.get("compartment") == "keyring"):
            raise IntegrityError(f"entry {item.index} is about something else")
        events.append((item.index, event))
    if [index for index, _ in events] != sorted({index for index, _ in events}):
        raise IntegrityError("entries: they are not in order")
    return events


def _one(events: Sequence[tuple[int, Event]], kind: str, compartment: str) -> Event:
    found = [
        event for _, event in events if event.kind.name == kind and event.details.get("compartment") == compartment
    ]
    if len(found) != 1:
        raise IntegrityError(f"entries: there is not one {kind}")
    return found[0]


def _copies(details: Mapping[str, Scalar], events: Sequence[tuple[int, Event]]) -> Copies:
    first, last = _integer(details, "ring_first"), _integer(details, "ring_version")
    gone = {_integer(e.details, "version") for _, e in events if e.kind.name == "KeyDestroyed"}
    if not 0 < first <= last < first + ENTRIES_MAX:
        raise IntegrityError("copies: no key versions")
    if all(version in gone for version in range(first, last + 1)):
        return Copies(first, last, destroyed=True, until=0)
    retired = [
        _integer(e.details, "destroy_after")
        for _, e in events
        if e.kind.name == "KeyRotationVerified" and _integer(e.details, "version") > last
    ]
    until = 1000 * max(retired[0], _integer(details, "older_until")) if retired else 0
    return Copies(first, last, destroyed=False, until=until)


def _integer(details: Mapping[str, Scalar], name: str) -> int:
    value = details.get(name)
    if type(value) is not int:
        raise IntegrityError(f"entries: {name} is missing")
    return value
