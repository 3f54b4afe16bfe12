"""What was brought lies in the installation as it came, once, and is read again or refused by name."""

from pathlib import Path

import pytest
from tests.inventory.records import record
from tests.inventory.test_match import component

from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.inventory.shelf import FOLDER, STATE, Taken, bring, read_brought, records

ROWS = (component("1.0"),)
NOW = 1_800_000_000_000


def _file(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_only_what_names_a_component_is_kept_and_in_the_newest_form(tmp_path: Path) -> None:
    new, old = record(modified="2026-10-09T00:00:00Z"), record()
    folder = tmp_path / "feed"
    _file(folder, "a.json", new)
    _file(folder, "b.json", old)
    _file(folder, "c.json", record("TEST-2", "django"))
    _file(folder, "notes.txt", b"no record")
    assert bring(tmp_path, [folder], ROWS, NOW) == Taken(3, 1, 1, 0)
    assert [(one.id, one.modified) for one in records(tmp_path)] == [("TEST-2026-1", 1_791_504_000_000)]
    assert (tmp_path / FOLDER / "TEST-2026-1.json").read_bytes() == new
    assert bring(tmp_path, [folder / "b.json"], ROWS, NOW + 5) == Taken(1, 1, 0, 1)
    state = read_brought(tmp_path)
    assert (state.at, state.came, state.newest) == (NOW + 5, {"TEST-2026-1": NOW}, 1_791_504_000_000)


def test_a_kept_record_that_names_the_component_no_more_replaces_the_one_that_did(tmp_path: Path) -> None:
    bring(tmp_path, [_file(tmp_path, "a.json", record())], ROWS, NOW)
    newer = record(package="other", modified="2026-10-09T00:00:00Z")
    assert bring(tmp_path, [_file(tmp_path, "a.json", newer)], ROWS, NOW).changed == 1
    (kept,) = records(tmp_path)
    assert kept.affected[0].package is not None and kept.affected[0].package.name == "other"


def test_one_file_that_is_no_record_is_named_and_none_is_kept(tmp_path: Path) -> None:
    files = [_file(tmp_path, "a.json", record()), _file(tmp_path, "b.json", b'{"id": 3}')]
    with pytest.raises(ConfigError, match=r"b\.json: this is no OSV record"):
        bring(tmp_path, files, ROWS, NOW)
    assert records(tmp_path) == [] and read_brought(tmp_path).at == 0


def test_a_kept_file_that_is_another_or_damaged_is_named(tmp_path: Path) -> None:
    bring(tmp_path, [_file(tmp_path, "a.json", record())], ROWS, NOW)
    path = tmp_path / FOLDER / "TEST-2026-1.json"
    path.write_bytes(record("TEST-2026-2"))
    with pytest.raises(IntegrityError, match="holds TEST-2026-2"):
        records(tmp_path)
    path.write_bytes(b"{")
    with pytest.raises(IntegrityError, match=r"TEST-2026-1\.json"):
        records(tmp_path)
    (tmp_path / FOLDER / STATE).write_bytes(b"[]")
    with pytest.raises(IntegrityError, match="brought"):
        read_brought(tmp_path)


def test_a_date_of_a_time_to_come_does_not_make_a_feed_young(tmp_path: Path) -> None:
    bring(tmp_path, [_file(tmp_path, "a.json", record(modified="2999-01-01T00:00:00Z"))], ROWS, NOW)
    assert read_brought(tmp_path).newest == NOW
