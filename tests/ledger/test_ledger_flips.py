"""Every flipped byte of what a partner holds is found, and the file and what is wrong with it are named."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.ledger.conftest import ORIGIN, SIGNER, WITNESS, event
from tests.ledger.simulated_disk import SimulatedDisk

from bulkhead.errors import IntegrityError
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.export import exported_files
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import Checkpoint, add_signatures, cosign, parse_checkpoint
from bulkhead.ledger.proof import Consistency, ExportTree, Inclusion, parse_proof
from bulkhead.ledger.verify import verify_export

SIZE = 256 * 2 + 41


def _export() -> tuple[dict[str, bytes], Checkpoint, list[bytes]]:
    """Files of an export whose checkpoint is cosigned; a checkpoint before; the proofs made from it."""
    disk = SimulatedDisk()
    create_log(disk, SIGNER, ORIGIN)
    log = open_log(disk, SIGNER, ORIGIN)
    log.append([event(number, at=1_700_000_000_000 + number) for number in range(300)])
    earlier = parse_checkpoint(log.note.text)
    log.append([event(number, at=1_700_000_000_000 + number) for number in range(300, SIZE)])
    files = {item.path: item.data for item in exported_files(log)}
    note = add_signatures(log.note, [cosign(log.note, WITNESS, time=1_700_000_000)])
    files["checkpoint"] = note.encode()
    tree = ExportTree(_disk(files), SIZE)
    proofs = [tree.prove_entry(300, note, SIGNER.verifier), tree.prove_extension(earlier, note, SIGNER.verifier)]
    return files, earlier, [proof.encode() for proof in proofs]


def _disk(files: dict[str, bytes]) -> SimulatedDisk:
    disk = SimulatedDisk()
    for path, data in files.items():
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            disk.make_directory("/".join(parts[:depth]))
        disk.write(path, data)
    return disk


FILES, EARLIER, PROOFS = _export()
PLACES = [(path, offset) for path, data in sorted(FILES.items()) for offset in range(len(data))]


def _verify(files: dict[str, bytes]) -> None:
    witnesses = [WITNESS.verifier]
    verify_export(_disk(files), ORIGIN, SIGNER.verifier, witnesses=witnesses, previous=EARLIER)


def test_the_untouched_export_and_its_proofs_hold() -> None:
    _verify(FILES)
    for data in PROOFS:
        _check(data)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(PLACES) - 1), st.integers(1, 255))
def test_every_flipped_byte_of_an_export_is_found_and_its_file_named(place: int, mask: int) -> None:
    path, offset = PLACES[place]
    data = FILES[path]
    flipped = data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]
    with pytest.raises(IntegrityError) as raised:
        _verify({**FILES, path: flipped})
    assert raised.value.public.startswith(f"{path}: ")
    assert raised.value.code in {Alarm.DAMAGED.value, Alarm.UNKNOWN_SIGNER.value}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, len(FILES["checkpoint"]) - 1), st.integers(1, 255))
def test_every_flipped_byte_of_checkpoint_and_cosignature_is_found(offset: int, mask: int) -> None:
    data = FILES["checkpoint"]
    flipped = data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]
    with pytest.raises(IntegrityError, match=r"^checkpoint: "):
        _verify({**FILES, "checkpoint": flipped})


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 1 << 16))
def test_every_cut_file_of_an_export_is_found_and_named(path: str, length: int) -> None:
    cut = FILES[path][: length % len(FILES[path])]
    with pytest.raises(IntegrityError) as raised:
        _verify({**FILES, path: cut})
    assert raised.value.public.startswith(f"{path}: ")


def _check(data: bytes) -> None:
    proof: Inclusion | Consistency = parse_proof(data)
    check: Callable[[], Checkpoint] = (
        (lambda: proof.check(SIGNER.verifier))
        if isinstance(proof, Inclusion)
        else (lambda: proof.check(SIGNER.verifier, EARLIER))
    )
    check()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(PROOFS), st.integers(0, 1 << 16), st.integers(1, 255))
@example(PROOFS[0], 0, 1)
@example(PROOFS[1], 4, 1)
def test_every_flipped_byte_of_a_proof_is_found(data: bytes, place: int, mask: int) -> None:
    signed = data.index("— partner.example".encode()) - 1  # the witness's line is checked by whoever knows the witness
    offset = place % signed
    with pytest.raises(IntegrityError):
        _check(data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :])
