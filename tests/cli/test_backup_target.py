"""A place for backups only ever takes on, and says in the words of the error tree what it does not do."""

import hashlib
from pathlib import Path

import pytest

from bulkhead.cli.backup_target import EXISTS, MISSING, DirectoryTarget, write_object
from bulkhead.errors import IntegrityError, Refused

NAME = "t0/20261122T000000Z-00000000/auth.stream"
FOLDER = NAME.rpartition("/")[0]


@pytest.fixture
def target(tmp_path: Path) -> DirectoryTarget:
    return DirectoryTarget(tmp_path / "backups")


def test_an_object_reads_as_it_was_written_from_any_offset(target: DirectoryTarget) -> None:
    content = bytes(range(256)) * 5000
    assert write_object(target, NAME, content) == hashlib.sha256(content).hexdigest()
    assert b"".join(target.pieces(NAME)) == content
    assert b"".join(target.pieces(NAME, 1_000_001, 7)) == content[1_000_001:1_000_008]
    assert b"".join(target.pieces(NAME, len(content) + 1)) == b""
    assert target.files(FOLDER) == {"auth.stream": len(content)}
    assert target.folders("t0") == [FOLDER.partition("/")[2]]


def test_nothing_is_written_over(target: DirectoryTarget) -> None:
    write_object(target, NAME, b"first")
    with pytest.raises(Refused) as refused:
        write_object(target, NAME, b"second")
    assert refused.value.code == EXISTS
    assert b"".join(target.pieces(NAME)) == b"first"


def test_what_is_not_there_is_missing_and_an_unknown_folder_is_empty(target: DirectoryTarget) -> None:
    with pytest.raises(IntegrityError) as missing:
        list(target.pieces(NAME))
    assert missing.value.code == MISSING
    assert (target.files(FOLDER), target.folders("t0")) == ({}, [])


def test_a_folder_that_is_removed_is_gone_with_what_was_cut_short(target: DirectoryTarget) -> None:
    write_object(target, NAME, b"whole")
    target.create(f"{FOLDER}/keyring.stream").close()
    target.remove(FOLDER, ("manifest.json", "auth.stream"))
    assert target.folders("t0") == []
