"""What is due, what is overdue, what retention lets go; by the id and the manifest of each backup."""

import dataclasses
from pathlib import Path

import pytest

from bulkhead.cli.backup_notes import Notes, change_notes, note_verified, read_notes
from bulkhead.cli.backup_prune import CUT_DAYS, prune_shelf
from bulkhead.cli.backup_schedule import DAY, HOUR, Standing, is_due, metrics_of, write_metrics
from bulkhead.cli.backup_store import MANIFEST, Manifest, Shelf, Stream, segments_there
from bulkhead.cli.backup_target import DirectoryTarget
from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import Tenant, load_installation, set_value
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import DomainName, TenantId
from bulkhead.supervisor.layout import Layout

NOW = 1_800_000_000_000
COMPARTMENTS = ("auth", "keyring", "store", "directory", "queue", "incident", "ledger")


def backup_id(day: int) -> str:
    return f"202611{day:02}T000000Z-00000000"


def put(shelf: Shelf, day: int, created: int, segments: dict[int, tuple[str, bool]] | None = None) -> str:
    """A whole backup."""
    backup, streams = backup_id(day), []
    for name in COMPARTMENTS:
        streams.append(Stream(name, 4, shelf.write(backup, f"{name}.stream", b"seal")))
    manifest = Manifest(shelf.tenant, backup, created, "test", tuple(streams), segments or {})
    shelf.write(backup, MANIFEST, manifest.encode())
    return backup


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(DirectoryTarget(tmp_path / "backups"), TenantId("t0"))


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    directory = tmp_path_factory.mktemp("i") / "here"
    new = NewTenant(TenantId("t0"), 0, DomainName("t0.example"), "127.7.7.7", "T", {"backups.every_hours": 24})
    make_installation(directory, "Test", [new])
    set_value(directory, "bulkhead.toml", "backup.directory", str(directory / "backups"))
    return load_installation(directory).tenant("t0")


def test_a_backup_is_due_when_its_time_has_nearly_passed(shelf: Shelf, tenant: Tenant) -> None:
    assert is_due(shelf, tenant, NOW)
    put(shelf, 1, NOW)
    shelf.write(backup_id(2), "auth.stream", b"cut short")
    assert not is_due(shelf, tenant, NOW + 23 * HOUR)
    assert is_due(shelf, tenant, NOW + 24 * HOUR - 60_000)  # a timer does not come to the second


def test_old_ones_go_but_for_the_newest_the_verified_and_what_a_kept_one_relies_on(shelf: Shelf) -> None:
    relied, verified = put(shelf, 1, NOW - 90 * DAY), put(shelf, 2, NOW - 80 * DAY)
    gone = put(shelf, 3, NOW - 70 * DAY)
    kept = put(shelf, 4, NOW - DAY, {1: (relied, True)})
    pruned = prune_shelf(shelf, 30, {verified}, NOW)
    assert (pruned.removed, shelf.ids()) == ([gone], [relied, verified, kept])
    assert prune_shelf(shelf, 30, {verified}, NOW + 90 * DAY).removed == []
    assert prune_shelf(shelf, 30, set(), NOW + 90 * DAY).removed == [verified]
    assert shelf.ids() == [relied, kept]


def test_what_was_cut_short_goes_after_two_days_and_not_before(shelf: Shelf) -> None:
    shelf.write(backup_id(1), "auth.stream", b"cut short")
    begun = 1_793_491_200_000  # 2026-11-01
    assert prune_shelf(shelf, 30, set(), begun + CUT_DAYS * DAY).cut == []
    assert prune_shelf(shelf, 30, set(), begun + CUT_DAYS * DAY + 1).cut == [backup_id(1)]
    assert shelf.ids() == []


def test_a_damaged_manifest_is_evidence_and_stays(shelf: Shelf) -> None:
    shelf.write(backup_id(1), MANIFEST, b"{}")
    pruned = prune_shelf(shelf, 1, set(), NOW + 999 * DAY)
    assert (pruned.removed, pruned.cut, shelf.ids()) == ([], [], [backup_id(1)])


def test_nothing_goes_where_a_kept_one_lacks_what_it_relies_on(shelf: Shelf) -> None:
    put(shelf, 1, NOW - 90 * DAY)
    put(shelf, 2, NOW, {1: (backup_id(9), True)})
    shelf.target.remove(shelf.name(backup_id(1)), ())
    put(shelf, 3, NOW - 90 * DAY)
    manifest = shelf.manifest(backup_id(2))
    broken = dataclasses.replace(manifest.streams[0], parent=backup_id(9))
    shelf.target.remove(shelf.name(backup_id(2)), ())
    changed = dataclasses.replace(manifest, streams=(broken, *manifest.streams[1:]))
    shelf.write(backup_id(2), MANIFEST, changed.encode())
    with pytest.raises(IntegrityError, match="is kept and not whole, so nothing goes"):
        prune_shelf(shelf, 30, set(), NOW)
    assert backup_id(3) in shelf.ids()


def test_segments_whose_carrier_is_gone_or_cut_are_carried_anew(shelf: Shelf) -> None:
    """Each later backup named them there for ever, and none of them could be restored."""
    put(shelf, 1, NOW)
    put(shelf, 2, NOW)
    put(shelf, 3, NOW)
    where = {1: (backup_id(1), True), 2: (backup_id(2), True), 3: (backup_id(3), True), 4: (backup_id(9), True)}
    last = shelf.manifest(put(shelf, 4, NOW, {**where, 5: (backup_id(4), True), 6: (backup_id(4), False)}))
    assert set(segments_there(shelf, last)) == {1, 2, 3, 5}
    (tmp := Path(shelf.where) / backup_id(2) / "store.stream").unlink()
    tmp.write_bytes(b"cut")
    shelf.remove(backup_id(3))
    assert set(segments_there(shelf, last)) == {1, 5}


def test_a_carrier_without_manifest_that_a_kept_one_relies_on_stays(shelf: Shelf) -> None:
    carrier = put(shelf, 1, NOW - 90 * DAY)
    put(shelf, 2, NOW, {1: (carrier, True)})
    (Path(shelf.where) / carrier / MANIFEST).unlink()
    assert prune_shelf(shelf, 30, set(), NOW).cut == []


@pytest.mark.parametrize(("age", "overdue"), [(2 * 24 * HOUR, False), (2 * 24 * HOUR + 1, True)])
def test_it_is_overdue_after_two_periods(age: int, overdue: bool) -> None:
    assert Standing("t0", 24 * HOUR, 30, Notes(made="x", made_at=NOW), NOW + age).overdue is overdue


def test_nothing_is_overdue_that_is_not_scheduled() -> None:
    assert not Standing("t0", 0, 30, Notes(), NOW).overdue


def test_metrics_are_a_file_of_the_text_format(tmp_path: Path) -> None:
    standing = Standing("t0", 24 * HOUR, 30, Notes(made="x", made_at=NOW, octets=5, seconds=1.5), NOW + DAY)
    write_metrics(tmp_path / "backup.prom", [standing])
    lines = (tmp_path / "backup.prom").read_text().splitlines()
    assert 'bulkhead_backup_last_success_timestamp_seconds{tenant="t0"} 1800000000' in lines
    assert 'bulkhead_backup_overdue{tenant="t0"} 0' in lines
    assert lines == list(metrics_of([standing]))
    assert [path.name for path in tmp_path.iterdir()] == ["backup.prom"]


def test_notes_that_are_damaged_are_empty_and_are_written_anew(tmp_path: Path) -> None:
    layout = Layout(tmp_path, TenantId("t0"))
    change_notes(layout, made="x", made_at=NOW)
    assert read_notes(layout) == Notes(made="x", made_at=NOW)
    for damaged in ("{", '{"made": 1}', '{"other": ""}', "[]"):
        (tmp_path / "backup" / "t0.json").write_text(damaged)
        assert read_notes(layout) == Notes()
    change_notes(layout, octets=3)
    assert read_notes(layout) == Notes(octets=3)


def test_the_newest_sound_one_is_noted_and_one_that_is_not_sound_until_it_is(tmp_path: Path) -> None:
    layout = Layout(tmp_path, TenantId("t0"))
    note_verified(layout, "b", NOW, NOW + 1, sound=True)
    note_verified(layout, "a", NOW - DAY, NOW + 2, sound=True)
    assert (read_notes(layout).verified, read_notes(layout).verified_at) == ("b", NOW + 1)
    note_verified(layout, "a", NOW - DAY, NOW + 3, sound=False)
    assert (read_notes(layout).verified, read_notes(layout).unsound) == ("b", "a")
    note_verified(layout, "a", NOW - DAY, NOW + 4, sound=True)
    assert read_notes(layout).unsound == ""
