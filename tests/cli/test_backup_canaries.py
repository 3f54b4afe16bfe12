"""A backup's canaries are accounts in it and in nothing else, also where the run that planted them was killed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.backup_notes import change_notes
from bulkhead.config import load_installation, set_value
from bulkhead.errors import TemporaryFailure
from bulkhead.identifiers import format_id
from bulkhead.supervisor.layout import Layout

pytestmark = pytest.mark.timeout(120)
TENANT = "stnet"


@pytest.fixture(scope="module")
def place(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    set_value(live.directory, f"tenants/{TENANT}.toml", "backups.canaries", 2)
    yield tmp_path_factory.mktemp("canaries") / "backups"
    set_value(live.directory, f"tenants/{TENANT}.toml", "backups.canaries", 0)
    shutil.rmtree(live.directory / "backup")


def _back_up(live: Live, place: Path) -> str:
    ran = live("backup", "run", TENANT, "--to", str(place), "--json")
    assert ran.status == 0, ran.err
    return str(ran.json["backups"][0]["backup"])


def _copies(live: Live) -> dict[str, dict[str, Any]]:
    return {row["copy"]: row for row in live("incident", "canaries", TENANT, "--json").json["copies"]}


def _addresses(live: Live) -> set[str]:
    return {row["address"] for row in live("account", "list", TENANT, "--json").json["accounts"]}


@pytest.fixture
def due(live: Live, place: Path) -> None:
    """The set of the day is due, whatever was backed up before."""
    layout = Layout(live.directory, load_installation(live.directory).tenant(TENANT).id)
    change_notes(layout, planted_at=0)


@pytest.mark.usefixtures("due")
def test_they_are_known_under_the_backups_id_and_leave_nothing_live(live: Live, place: Path) -> None:
    before = _addresses(live)
    backup = _back_up(live, place)
    assert _copies(live)[backup.lower()]["canaries"] == 2
    assert _addresses(live) == before
    assert not (live.directory / "backup" / f"{TENANT}.canaries").exists()


@pytest.mark.usefixtures("due")
def test_one_day_has_one_set(live: Live, place: Path) -> None:
    _back_up(live, place)
    second = _back_up(live, place)
    assert second.lower() not in _copies(live)


@pytest.mark.usefixtures("due")
def test_those_that_a_run_left_live_are_withdrawn_by_the_next(
    live: Live, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _addresses(live)

    async def gone(*_: object, **__: object) -> None:
        raise TemporaryFailure("killed here")

    with monkeypatch.context() as patched:
        patched.setattr("bulkhead.cli.copy_canaries.withdraw_account", gone)
        _back_up(live, place)
    left = json.loads((live.directory / "backup" / f"{TENANT}.canaries").read_text())
    assert len(left) == 2
    assert _addresses(live) - before == set(left)
    _back_up(live, place)
    assert _addresses(live) == before


@pytest.mark.usefixtures("due")
def test_a_subscriber_who_took_a_noted_name_meanwhile_is_no_canary(live: Live, place: Path) -> None:
    address, note = "taken-meanwhile@stnet.example", live.directory / "backup" / f"{TENANT}.canaries"
    live.add(address, tenant=TENANT)
    note.write_text(json.dumps({address: format_id("acc", bytes(range(16)))}))  # killed before it was made
    _back_up(live, place)
    rows = {row["address"]: row["status"] for row in live("account", "list", TENANT, "--json").json["accounts"]}
    assert rows[address] == "active"
    assert not note.exists()


@pytest.mark.usefixtures("due")
def test_a_note_without_ids_destroys_nobody(live: Live, place: Path) -> None:
    address, note = "of-an-older-note@stnet.example", live.directory / "backup" / f"{TENANT}.canaries"
    live.add(address, tenant=TENANT)
    note.write_text(json.dumps([address]))
    try:
        ran = live("backup", "run", TENANT, "--to", str(place))
        assert "account cancel" in ran.err
    finally:
        note.unlink()
    rows = {row["address"]: row["status"] for row in live("account", "list", TENANT, "--json").json["accounts"]}
    assert rows[address] == "active"
