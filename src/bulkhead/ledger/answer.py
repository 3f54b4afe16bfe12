"""What the console's API answers about the log, checked with the log's public key alone. PURE.

`GET /v1/ledger/entries` brings a page of entries, the newest checkpoint, and the inclusion proofs of the first and the
last of them (docs/console.md). Nothing of it holds before `check_entries`, whoever carried it.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.errors import IntegrityError
from bulkhead.ledger.merkle import PROOF_MAX, TREE_SIZE_MAX, leaf_hash, verify_range
from bulkhead.ledger.note import Checkpoint, VerifierKey, parse_note
from bulkhead.ledger.tiles import ENTRY_MAX
from bulkhead.ledger.verify import parse_signed, verify_signed

ANSWER_MAX = 4 << 20  # octets
PAGE_MAX = 100  # entries


@dataclass(frozen=True, slots=True)
class Page:
    """Entries that are in the log, from `first` on, and the checkpoint under which they are."""

    first: int
    entries: tuple[bytes, ...]
    checkpoint: Checkpoint


def check_entries(data: bytes, key: VerifierKey) -> Page:
    """The page, if the log with this key and name has these entries there. Raises IntegrityError."""
    value = _object(data)
    checkpoint = check_note(value.get("checkpoint"), key)
    first, entries = value.get("first"), [_octets(entry) for entry in _list(value.get("entries"), PAGE_MAX)]
    if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first <= TREE_SIZE_MAX:
        raise IntegrityError("answer: `first` is the index of an entry")
    if entries:
        before, behind = _hashes(value.get("first_proof")), _hashes(value.get("last_proof"))
        verify_range([leaf_hash(entry) for entry in entries], first, checkpoint.size, before, behind, checkpoint.root)
    elif first < checkpoint.size:
        raise IntegrityError(f"answer: the log has {checkpoint.size} entries, and none was given from {first} on")
    return Page(first, tuple(entries), checkpoint)


def check_note(text: Any, key: VerifierKey) -> Checkpoint:
    """The checkpoint that the log with this key and name signed. Raises IntegrityError."""
    if not isinstance(text, str):
        raise IntegrityError("answer: it has no checkpoint")
    note = parse_note(text.encode("utf-8", "replace"))
    return verify_signed(parse_signed(note.encode(), "checkpoint", key), "checkpoint", key.name, key)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data) if len(data) <= ANSWER_MAX else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(f"answer: a JSON object of at most {ANSWER_MAX} octets belongs here")
    return value


def _list(value: Any, limit: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise IntegrityError(f"answer: a list of at most {limit} belongs here")
    return value


def _octets(text: Any) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True) if isinstance(text, str) else b""
    except (ValueError, binascii.Error):
        data = b""
    if not data or len(data) > ENTRY_MAX:
        raise IntegrityError(f"answer: an entry is base64 of at most {ENTRY_MAX} octets")
    return data


def _hashes(value: Any) -> list[bytes]:
    try:
        return [bytes.fromhex(one) for one in _list(value, PROOF_MAX)]
    except (TypeError, ValueError):
        raise IntegrityError("answer: a proof is a list of hexadecimal hashes") from None
