"""A file that is none of ours is named as such: nested too deep for a parser, no text, or links that end nowhere."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhead.cli import audit_send, backup_notes, copy_canaries, oblivion
from bulkhead.cli.backup_notes import Notes, read_notes
from bulkhead.cli.ledger_offline import public_key
from bulkhead.cli.rehearsal import Rehearsal
from bulkhead.cli.restore_following import read_following
from bulkhead.errors import Error
from bulkhead.exports.cell import CELL, check_cell
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.ledger.note import SignatureType
from bulkhead.supervisor.layout import Layout

DEEP = b"[" * 100_000


def _cell(path: Path) -> None:
    (path.parent / CELL).mkdir()
    (path.parent / CELL / "sums").write_bytes(DEEP)
    check_cell(path.parent, hashlib.sha256(DEEP).hexdigest())


def _following(path: Path) -> None:
    layout = Layout(path.parent, TenantId("t0"))
    layout.following.parent.mkdir(parents=True)
    layout.following.write_bytes(DEEP)
    read_following(layout)


READERS: dict[str, Callable[[Path], object]] = {
    "test restore": lambda path: Rehearsal.decode(path.read_bytes()),
    "transfer": lambda path: audit_send._read_state(path, "t0"),
    "canaries": copy_canaries._read,
    "cancellation": lambda path: oblivion._Note.read(path, AccountId(bytes(16))),
    "cell of an export": _cell,
    "mail that follows": _following,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_nested_too_deep_is_an_error_of_the_tree(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DEEP)
    with pytest.raises(Error):
        READERS[reader](path)


def test_notes_that_are_nested_too_deep_are_empty(tmp_path: Path) -> None:
    layout = Layout(tmp_path, TenantId("t0"))
    path = backup_notes._path(layout)
    path.parent.mkdir(parents=True)
    path.write_bytes(DEEP)
    assert read_notes(layout) == Notes()


def test_a_key_that_is_no_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(Error):
        public_key(str(path), next(iter(SignatureType)))
