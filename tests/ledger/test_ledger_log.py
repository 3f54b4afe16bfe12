"""bulkhead.ledger.log, export and verify on a real directory: reading, proofs, damage, limits."""

import errno
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.simulated_disk import SimulatedDisk

from bulkhead.errors import IntegrityError, TemporaryFailure
from bulkhead.ledger import merkle
from bulkhead.ledger.export import ExportedFile, exported_files, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.journal import BATCH_MAX, Edge, encode_journal, parse_journal
from bulkhead.ledger.log import Log, create_log, open_log
from bulkhead.ledger.note import (
    Checkpoint,
    NoteSigner,
    SignatureType,
    add_signatures,
    cosign,
    parse_checkpoint,
    sign_checkpoint,
)
from bulkhead.ledger.tiles import Tile
from bulkhead.ledger.tree import StoredTree
from bulkhead.ledger.verify import verify_export

ORIGIN = "bulkhead.example/stnet"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
WITNESS = NoteSigner("partner.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32), SignatureType.COSIGNATURE)


def entries_at(first: int, count: int) -> list[bytes]:
    return [b"entry %d" % i for i in range(first, first + count)]


def new_log(directory: Path) -> Log:
    directory.mkdir(exist_ok=True)
    files = DirectoryFiles(str(directory))
    create_log(files, SIGNER, ORIGIN)
    return open_log(files, SIGNER, ORIGIN)


def reopen(directory: Path) -> Log:
    files = DirectoryFiles(str(directory))
    try:
        return open_log(files, SIGNER, ORIGIN)
    except IntegrityError:
        files.close()
        raise


def grown_log(directory: Path, *batches: int) -> Log:
    log = new_log(directory)
    for count in batches:
        log.append(entries_at(log.size, count))
    return log


def test_append_gives_the_first_index_and_every_entry_is_read_back(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    assert [log.append(entries_at(first, 400)) for first in range(0, 2400, 400)] == list(range(0, 2400, 400))
    assert list(log.entries(0, 2400)) == entries_at(0, 2400)
    assert [log.entry(i) for i in (0, 255, 256, 2399)] == [b"entry 0", b"entry 255", b"entry 256", b"entry 2399"]
    log.close()
    assert list(reopen(tmp_path).entries(0, 2400)) == entries_at(0, 2400)


def test_reopening_gives_the_same_checkpoint_and_root(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 1000, 1000, 1)
    note, root = log.note, log.root
    log.close()
    again = reopen(tmp_path)
    assert (again.note, again.root, again.size) == (note, root, 2001)
    assert root == merkle.tree_root(map(merkle.leaf_hash, entries_at(0, 2001)))


def test_every_proof_over_tiles_and_journal_verifies(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 700, 700, 700)
    leaves = [merkle.leaf_hash(entry) for entry in entries_at(0, 2100)]
    for size in (1, 256, 257, 1024, 1300, 2100):
        root = merkle.tree_root(leaves[:size])
        for index in {0, size // 3, size - 1}:
            merkle.verify_inclusion(leaves[index], index, size, log.inclusion_proof(index, size), root)
        merkle.verify_consistency(size, 2100, log.consistency_proof(size, 2100), root, log.root)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=6), st.data())
def test_proofs_and_exports_hold_for_any_batches(counts: list[int], data: st.DataObject) -> None:
    disk = SimulatedDisk()
    create_log(disk, SIGNER, ORIGIN)
    log = open_log(disk, SIGNER, ORIGIN)
    for count in counts:
        log.append(entries_at(log.size, count))
    old = data.draw(st.integers(1, log.size))
    index = data.draw(st.integers(0, old - 1))
    old_root = merkle.tree_root(map(merkle.leaf_hash, entries_at(0, old)))
    merkle.verify_consistency(old, log.size, log.consistency_proof(old, log.size), old_root, log.root)
    merkle.verify_inclusion(merkle.leaf_hash(log.entry(index)), index, old, log.inclusion_proof(index, old), old_root)
    copied = SimulatedDisk()
    write_export(exported_files(log), copied)
    verified = verify_export(copied, ORIGIN, SIGNER.verifier, previous=Checkpoint(ORIGIN, old, old_root))
    assert verified.checkpoint.size == log.size


def test_an_export_can_be_cosigned_and_checked_with_the_witness_key(tmp_path: Path) -> None:
    log = grown_log(tmp_path / "log", 1000, 500)
    (tmp_path / "copy").mkdir()
    copy = DirectoryFiles(str(tmp_path / "copy"))
    write_export(exported_files(log), copy)
    seen: list[bytes] = []
    verified = verify_export(copy, ORIGIN, SIGNER.verifier, visit=lambda index, entry: seen.append(entry))
    assert seen == entries_at(0, 1500)
    with pytest.raises(IntegrityError, match="no signature by partner"):
        verify_export(copy, ORIGIN, SIGNER.verifier, witnesses=[WITNESS.verifier])
    cosigned = add_signatures(verified.note, [cosign(verified.note, WITNESS, time=1_700_000_000)])
    (tmp_path / "copy/checkpoint").write_bytes(cosigned.encode())
    again = verify_export(copy, ORIGIN, SIGNER.verifier, witnesses=[WITNESS.verifier], previous=verified.checkpoint)
    assert again.cosigned == {"partner.example": 1_700_000_000}


def test_a_later_export_needs_only_what_is_new(tmp_path: Path) -> None:
    log = grown_log(tmp_path / "log", 1000)
    (tmp_path / "copy").mkdir()
    copy = DirectoryFiles(str(tmp_path / "copy"))
    write_export(exported_files(log), copy)
    before = parse_checkpoint(log.note.text)
    log.append(entries_at(1000, 500))
    later = list(exported_files(log, since=before.size))
    assert "tile/entries/000" not in [item.path for item in later]
    write_export(later, copy)
    assert verify_export(copy, ORIGIN, SIGNER.verifier, previous=before).checkpoint.size == 1500


def test_an_export_begun_before_an_append_is_of_the_earlier_tree(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 1000, 100)
    copied = SimulatedDisk()
    exported = exported_files(log)
    first = next(exported)
    log.append(entries_at(1100, 900))
    write_export([first, *exported], copied)
    assert verify_export(copied, ORIGIN, SIGNER.verifier).checkpoint.size == 1100


@pytest.mark.parametrize("path", ["../evil", "tile/0/../../x", "/etc/passwd", "tile/9/1", "journal"])
def test_an_export_cannot_write_outside_its_layout(path: str) -> None:
    with pytest.raises(IntegrityError):
        write_export([ExportedFile(path, b"")], SimulatedDisk())


def test_every_damaged_or_missing_file_of_an_export_is_named() -> None:
    disk = SimulatedDisk()
    create_log(disk, SIGNER, ORIGIN)
    log = open_log(disk, SIGNER, ORIGIN)
    for _ in range(3):
        log.append(entries_at(log.size, 600))
    exported = list(exported_files(log))
    for item in exported:
        for offset in {0, len(item.data) // 2, len(item.data) - 1}:
            copied = SimulatedDisk()
            write_export(exported, copied)
            copied.damage(item.path, offset, 0x01)
            with pytest.raises(IntegrityError) as raised:
                verify_export(copied, ORIGIN, SIGNER.verifier)
            # A changed entry is found where its hash is compared: the tile of the same number.
            assert raised.value.public.startswith((item.path, item.path.replace("entries", "0")))
        copied.lose(item.path)
        with pytest.raises(IntegrityError, match=r"is missing"):
            verify_export(copied, ORIGIN, SIGNER.verifier)


def test_a_rewritten_history_with_valid_signatures_is_an_alarm() -> None:
    def export_of(word: bytes, count: int) -> SimulatedDisk:
        disk, copied = SimulatedDisk(), SimulatedDisk()
        create_log(disk, SIGNER, ORIGIN)
        log = open_log(disk, SIGNER, ORIGIN)
        log.append([word] * count)
        write_export(exported_files(log), copied)
        return copied

    seen = verify_export(export_of(b"true", 5), ORIGIN, SIGNER.verifier).checkpoint
    with pytest.raises(IntegrityError, match="rewritten"):
        verify_export(export_of(b"false", 9), ORIGIN, SIGNER.verifier, previous=seen)
    with pytest.raises(IntegrityError, match="cut"):
        verify_export(export_of(b"true", 4), ORIGIN, SIGNER.verifier, previous=seen)
    with pytest.raises(IntegrityError, match="rewritten"):
        verify_export(export_of(b"false", 5), ORIGIN, SIGNER.verifier, previous=seen)


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/001"])
def test_a_turned_bit_in_a_stored_file_is_found_on_reading_and_named(tmp_path: Path, path: str) -> None:
    grown_log(tmp_path, 1000, 100, 10).close()
    data = bytearray((tmp_path / path).read_bytes())
    data[40] ^= 1
    (tmp_path / path).write_bytes(data)
    log = reopen(tmp_path)
    with pytest.raises(IntegrityError, match=path):
        log.entry(300)
    if path.startswith("tile/0"):
        with pytest.raises(IntegrityError, match=path):
            log.inclusion_proof(300, 1110)
    (tmp_path / path).unlink()
    with pytest.raises(IntegrityError, match=f"{path} is missing"):
        log.entry(300)


def test_a_turned_bit_anywhere_in_the_journal_below_the_checkpoint_is_found_at_opening(tmp_path: Path) -> None:
    grown_log(tmp_path, 1000, 100, 3).close()
    whole = (tmp_path / "journal").read_bytes()
    for offset in range(0, len(whole), 7):
        data = bytearray(whole)
        data[offset] ^= 0x10
        (tmp_path / "journal").write_bytes(data)
        with pytest.raises(IntegrityError, match="journal"):
            reopen(tmp_path)
    (tmp_path / "journal").write_bytes(whole)
    assert reopen(tmp_path).size == 1103


def test_every_length_of_a_torn_tail_reopens_to_the_checkpoint(tmp_path: Path) -> None:
    grown_log(tmp_path, 5).close()
    checkpoint = (tmp_path / "checkpoint").read_bytes()
    held = len((tmp_path / "journal").read_bytes())
    log = reopen(tmp_path)
    log.append([b"next"])
    log.close()
    longer = (tmp_path / "journal").read_bytes()
    for length in range(held, len(longer) + 1):
        (tmp_path / "journal").write_bytes(longer[:length])
        (tmp_path / "checkpoint").write_bytes(checkpoint)
        again = reopen(tmp_path)
        assert again.size == (6 if length == len(longer) else 5)
        again.close()


@pytest.mark.parametrize("name", ["checkpoint", "journal"])
def test_a_missing_file_is_named_at_opening(tmp_path: Path, name: str) -> None:
    grown_log(tmp_path, 5).close()
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing"):
        reopen(tmp_path)


def test_a_checkpoint_of_another_day_beside_the_journal_is_found(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 100)
    shutil.copy(tmp_path / "checkpoint", tmp_path / "kept")
    log.append(entries_at(100, 1000))
    log.append(entries_at(1100, 5))
    log.close()
    shutil.copy(tmp_path / "kept", tmp_path / "checkpoint")
    with pytest.raises(IntegrityError, match="another day"):
        reopen(tmp_path)


def test_a_checkpoint_signed_over_another_root_is_found(tmp_path: Path) -> None:
    grown_log(tmp_path, 4).close()
    (tmp_path / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, 4, bytes(32)), SIGNER).encode())
    with pytest.raises(IntegrityError, match="does not lead to the root"):
        reopen(tmp_path)
    (tmp_path / "checkpoint").write_bytes(sign_checkpoint(Checkpoint("other", 4, bytes(32)), SIGNER).encode())
    with pytest.raises(IntegrityError, match="checkpoint: the checkpoint is of the log other"):
        reopen(tmp_path)


def test_a_second_process_cannot_open_the_log(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 1)
    with pytest.raises(TemporaryFailure, match="in use"):
        reopen(tmp_path)
    log.close()
    reopen(tmp_path)


def test_creating_over_a_log_or_its_remains_is_refused(tmp_path: Path) -> None:
    grown_log(tmp_path, 1).close()
    with pytest.raises(IntegrityError, match="a log already"):
        create_log(DirectoryFiles(str(tmp_path)), SIGNER, ORIGIN)
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(IntegrityError, match="checkpoint is missing"):
        create_log(DirectoryFiles(str(tmp_path)), SIGNER, ORIGIN)


def test_limits_of_a_batch_hold_at_the_limit_and_one_past_it(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    log.append([b""] * BATCH_MAX)
    log.append([bytes(65_535)])
    log.append([bytes(65_534)] * 128)
    for bad in ([], [b""] * (BATCH_MAX + 1), [bytes(65_536)], [bytes(65_534)] * 128 + [b""]):
        with pytest.raises(ValueError, match=r"batch|entry"):
            log.append(bad)
    assert log.size == 1024 + 1 + 128


def test_a_journal_of_the_largest_entries_is_rolled_and_reopened(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for first in range(0, 500, 125):
        log.append([bytes([first // 2]) * 65_535] * 125)
    log.close()
    again = reopen(tmp_path)
    assert (again.size, again.entry(499)) == (500, bytes([187]) * 65_535)
    assert (tmp_path / "tile/entries/000").stat().st_size == 256 * 65_537


def test_after_a_failed_write_the_log_is_closed_until_opened_again() -> None:
    class FullDisk(SimulatedDisk):
        full = False

        def write_at(self, path: str, offset: int, data: bytes) -> None:
            super().write_at(path, offset, data[:40] if self.full else data)
            if self.full:
                raise OSError(errno.ENOSPC, "no space")

    disk = FullDisk()
    create_log(disk, SIGNER, ORIGIN)
    log = open_log(disk, SIGNER, ORIGIN)
    log.append(entries_at(0, 3))
    disk.full = True
    with pytest.raises(TemporaryFailure, match="free its disk"):
        log.append(entries_at(3, 3))
    disk.full = False
    with pytest.raises(TemporaryFailure, match="restart"):
        log.append(entries_at(3, 3))
    again = open_log(disk, SIGNER, ORIGIN)
    assert (again.size, again.append(entries_at(3, 3)), again.size) == (3, 3, 6)


def test_an_index_past_the_end_is_our_bug(tmp_path: Path) -> None:
    log = grown_log(tmp_path, 3)
    for call in (
        lambda: log.entry(3),
        lambda: log.inclusion_proof(0, 4),
        lambda: log.consistency_proof(1, 4),
        lambda: log.hashes(Tile(0, 0, 4)),
    ):
        with pytest.raises(ValueError, match=r"entry|large|complete"):
            call()


def test_the_tree_of_another_journal_is_empty_without_entries() -> None:
    assert StoredTree(SimulatedDisk(), Edge(0, ()), []).size == 0


@given(st.binary(max_size=400))
def test_random_bytes_behind_a_journal_are_a_torn_tail(tail: bytes) -> None:
    data = encode_journal(Edge(0, ()), entries_at(0, 2))
    journal = parse_journal(data + tail)
    assert (list(journal.entries), journal.length) == (entries_at(0, 2), len(data))


@given(st.binary(max_size=400))
def test_random_bytes_as_a_journal_raise_only_integrity_errors(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_journal(data)
    with pytest.raises(IntegrityError):
        parse_journal(b"BLKJRNL1" + data)
