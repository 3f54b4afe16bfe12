"""Power and processes cut at every step of the log, on a disk that forgets what was not synced.

The property (Promise): after any crash the log opens, holds every acknowledged entry, contradicts no checkpoint that
ever bore its name, and can go on. Each sync call is then left out in turn, and the property must break.
"""

import copy
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.simulated_disk import PowerCut, SimulatedDisk

from bulkhead.errors import IntegrityError
from bulkhead.ledger import log as log_module
from bulkhead.ledger.export import exported_files, write_export
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NOTE_MAX, Checkpoint, NoteSigner, parse_checkpoint, parse_note
from bulkhead.ledger.verify import verify_export

ORIGIN = "bulkhead.example/stnet"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BATCHES = (3, 197, 70, 10, 1)  # the fourth rolls 256 entries into tiles
SURVIVORS = [("nothing", 0), ("all", 0), *(("some", seed) for seed in range(6))]


@pytest.fixture(autouse=True, scope="module")
def rolls_come_early() -> Iterator[None]:
    """A journal is rolled at 256 entries, not at 1,024, so that a test reads a quarter as much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "JOURNAL_ENTRIES", 256)
        yield


Skip = Callable[[list[str]], bool]


def batch_at(first: int, count: int) -> list[bytes]:
    return [b"entry %d of the log" % i for i in range(first, first + count)]


class Run:
    """One life of the log on one disk: what it was told to do, and what it was told is safe."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.acknowledged = 0
        self.offered = 0
        self.created = False

    def begin(self) -> "Run":
        create_log(self.disk, SIGNER, ORIGIN)
        self.created = True
        return self

    def append(self, sizes: tuple[int, ...]) -> "Run":
        log = open_log(self.disk, SIGNER, ORIGIN)
        assert log.size >= self.acknowledged
        for size in sizes:
            self.offered = max(self.offered, log.size + size)
            log.append(batch_at(log.size, size))
            self.acknowledged = log.size
        return self


def seen_checkpoint(disk: SimulatedDisk) -> Checkpoint | None:
    """What a reader could have copied at this moment."""
    try:
        return parse_checkpoint(parse_note(disk.read("checkpoint", limit=NOTE_MAX)).text)
    except FileNotFoundError:
        return None


def check_promise(run: Run, survivor: str, seed: int, *, thorough: bool = True) -> SimulatedDisk:
    """Crash the run's disk, open the log and raise AssertionError or IntegrityError where a promise is broken."""
    seen = seen_checkpoint(run.disk)
    disk = run.disk.after_crash(survivor, seed)
    if not run.created:
        create_after_crash(disk, seen)
    log = open_log(disk, SIGNER, ORIGIN)
    assert run.acknowledged <= log.size <= max(run.offered, run.acknowledged)
    assert seen is None or seen.size <= log.size
    if log.size < 10_000:
        assert list(log.entries(0, log.size)) == batch_at(0, log.size)
    if thorough:
        log.append(batch_at(log.size, 2))
        copied = SimulatedDisk()
        write_export(exported_files(log), copied)
        verified = verify_export(copied, ORIGIN, SIGNER.verifier, previous=seen)
        assert verified.checkpoint.size == log.size
    return disk


def create_after_crash(disk: SimulatedDisk, seen: Checkpoint | None) -> None:
    """What the caller of create_log does when it did not return: again, unless there is a log."""
    try:
        create_log(disk, SIGNER, ORIGIN)
    except IntegrityError as error:
        assert seen is not None, error.public


def cut_runs(*, skip: Skip | None = None) -> Iterator[Run]:
    """The whole life of a log, once for each step at which it may be cut, and once uncut."""
    cut = 0
    while True:
        run = Run(SimulatedDisk(cut=cut, skip=skip))
        try:
            run.begin().append(BATCHES)
        except PowerCut:
            yield run
            cut += 1
            continue
        yield run
        return


def test_a_crash_at_any_step_loses_no_acknowledged_entry_and_forks_nothing() -> None:
    runs = list(cut_runs())
    assert len(runs) > 50
    for run in runs:
        for survivor, seed in SURVIVORS:
            check_promise(run, survivor, seed)


def test_a_crash_during_recovery_is_recovered_from() -> None:
    for run in cut_runs():
        if not run.created:
            continue
        for survivor, seed in SURVIVORS[:4]:
            crashed = run.disk.after_crash(survivor, seed)
            cut = 0
            while recovery_is_cut(crashed, run, cut):
                cut += 1


def recovery_is_cut(crashed: SimulatedDisk, run: Run, cut: int) -> bool:
    """Cut a recovery of the crashed disk at step `cut` and check the promise; False once it has no such step."""
    again = Run(copy.deepcopy(crashed))
    again.created, again.acknowledged, again.offered = True, run.acknowledged, run.offered
    again.disk.cut = cut
    try:
        open_log(again.disk, SIGNER, ORIGIN)
    except PowerCut:
        for survivor, seed in SURVIVORS[:4]:
            check_promise(again, survivor, seed, thorough=False)
        return True
    return False


def killed_then_cut_runs(*, skip: Skip | None = None) -> Iterator[Run]:
    """The process is killed before, in or behind a roll, the machine lives; a new one goes on, then power is cut.

    skip: sees what was done since the new process began.
    """
    for killed in cut_runs():
        if killed.acknowledged not in (200, 270):  # in the append before the roll, or in the roll and the one behind it
            continue
        cut = len(killed.disk.operations)
        while True:
            run = Run(copy.deepcopy(killed.disk))
            run.created, run.acknowledged, run.offered = True, killed.acknowledged, killed.offered
            run.disk.cut = cut
            run.disk.skip = skip and since(len(killed.disk.operations), skip)
            try:
                run.append((10,))
            except PowerCut:
                yield run
                cut += 1
                continue
            yield run
            break


def test_a_power_cut_after_a_killed_process_was_replaced_loses_nothing() -> None:
    for run in killed_then_cut_runs():
        for survivor, seed in [("nothing", 0), ("some", 1), ("some", 2)]:
            check_promise(run, survivor, seed, thorough=False)


def since(start: int, skip: Skip) -> Skip:
    return lambda done: skip(done[start:])


def last(*operations: str) -> Skip:
    """Leave out a sync that is the last of just these operations."""
    return lambda done: tuple(done[-len(operations) :]) == operations


def begins(prefix: str) -> Skip:
    return lambda done: done[-1].startswith(prefix)


LEFT_OUT: dict[str, Skip] = {
    "A2 journal's record": last("write_at journal", "sync journal"),
    "A4 checkpoint.new": last("write checkpoint.new", "sync checkpoint.new"),
    "A6 directory after the checkpoint": last("rename checkpoint.new checkpoint", "sync_directory ."),
    "R2 bundles": begins("sync tile/entries/"),
    "R2 tiles": begins("sync tile/0/"),
    "R3 the bundles' directory": begins("sync_directory tile/entries"),
    "R3 the tiles' directory": begins("sync_directory tile/0"),
    "R3 the directory of levels": lambda done: done[-1] == "sync_directory tile",
    "R3 the log's directory": lambda done: done[-1] == "sync_directory ." and "rename" not in done[-2],
    "R5 journal.new": last("write journal.new", "sync journal.new"),
}


def breaks(runs: Iterator[Run]) -> bool:
    """Whether some cut and some survivors break the promise."""
    for run in runs:
        for survivor, seed in SURVIVORS:
            try:
                check_promise(run, survivor, seed, thorough=False)
            except (AssertionError, IntegrityError):
                return True
    return False


@pytest.mark.parametrize("name", LEFT_OUT)
def test_no_sync_of_append_or_roll_can_be_left_out(name: str) -> None:
    assert breaks(cut_runs(skip=LEFT_OUT[name]))


OPENING = {
    "O3 journal": lambda done: done == ["sync journal"],
    "O3 directory": lambda done: done == ["sync journal", "sync_directory ."],
}


@pytest.mark.parametrize("name", OPENING)
def test_no_sync_of_opening_can_be_left_out(name: str) -> None:
    assert breaks(killed_then_cut_runs(skip=OPENING[name]))


@pytest.fixture(scope="module")
def before_65536() -> SimulatedDisk:
    """A log one append before its first level-1 tile is full."""
    disk = SimulatedDisk()
    create_log(disk, SIGNER, ORIGIN)
    log = open_log(disk, SIGNER, ORIGIN)
    for _ in range(64):
        log.append(batch_at(log.size, 1024))
    assert log.size == 65_536
    return disk


def test_a_crash_while_a_level_1_tile_fills_loses_nothing(before_65536: SimulatedDisk) -> None:
    cut = start = len(before_65536.operations)
    while True:
        run = Run(copy.deepcopy(before_65536))
        run.created, run.acknowledged, run.offered = True, 65_536, 65_546
        run.disk.cut = cut
        try:
            run.append((10,))
        except PowerCut:
            for survivor, seed in SURVIVORS[:3]:
                check_promise(run, survivor, seed, thorough=False)
            cut += 1
            continue
        break
    assert cut - start > 20
    log = open_log(run.disk.after_crash("nothing"), SIGNER, ORIGIN)
    assert log.entry(0) == batch_at(0, 1)[0]
    assert log.entry(65_545) == batch_at(65_545, 1)[0]
    copied = SimulatedDisk()
    write_export(exported_files(log), copied)
    assert {"tile/1/000", "tile/2/000.p/1", "tile/0/256.p/10"} <= copied.names.keys()
    verify_export(copied, ORIGIN, SIGNER.verifier)
