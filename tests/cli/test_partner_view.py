"""The partner measures a contract, and compares its own advisories, from an exported log and an inventory alone."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.inventory.records import record
from tests.inventory.test_match import component
from tests.ledger.conftest import SIGNER, Logs, event

from bulkhead.cli.main import main
from bulkhead.inventory.components import digest
from bulkhead.inventory.cyclonedx import document

KEY = str(SIGNER.verifier)
DAY = 86_400_000
NOW = time.time_ns() // 1_000_000
ROWS = (component("1.0"),)
COMPARED = event(0, "ComponentsChecked", inventory=digest(ROWS).hex(), records=3, newest=NOW - DAY, unsure=0, left=0)
OPENED = event(
    1, "AdvisoryOpened", advisory="TEST-2026-1", component="h11", severity="high", published=NOW - 9 * DAY - 1
)  # fmt: skip
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command where no installation is; its status, JSON and what it told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.json").write_bytes(record())
    (tmp_path / "inventory.json").write_text(json.dumps(document(ROWS, "0.1.0", datetime(2026, 11, 1, tzinfo=UTC))))
    (tmp_path / "contract.toml").write_text(
        "schema = 1\n[patch]\ndays = 30\nhigh_days = 7\n[retention]\nundelete_days = 7\n"
    )

    def go(*words: str) -> tuple[int, Any, str]:
        status = main([*words, "--json"])
        told = capsys.readouterr()
        return status, json.loads(told.out) if told.out else None, told.err

    return go


def exported(tmp_path: Path, entries: Sequence[bytes]) -> str:
    """An export of a log of these."""
    logs = Logs(tmp_path)
    return str(logs.export(logs.make("log", entries), "export"))


def test_the_partner_measures_patch_age_from_the_log_and_no_setting_of_the_cell(run: Run, tmp_path: Path) -> None:
    log = exported(tmp_path, [COMPARED, OPENED])
    status, said, _ = run("contract", "verify", "contract.toml", "--log", log, "--key", KEY)
    assert status == 1 and said["entries"] == 2
    assert [(row["term"], row["standing"], row["measured"], row["entry"]) for row in said["terms"]] == [
        ("patch.days", "kept", 10, 1), ("patch.high_days", "broken", 10, 1),
        ("retention.undelete_days", "unmeasured", -1, -1),
    ]  # fmt: skip


def test_an_advisory_that_the_log_has_open_is_agreed_on_and_one_that_it_has_not_is_a_finding(
    run: Run, tmp_path: Path
) -> None:
    log = exported(tmp_path, [COMPARED, OPENED])
    words = ("advisory", "compare", "own.json", "--inventory", "inventory.json", "--log", log, "--key", KEY)
    status, said, _ = run(*words)
    assert (status, said["noted"], [row["open_in_log"] for row in said["rows"]]) == (0, True, [True])
    (tmp_path / "own.json").write_bytes(record("TEST-2026-2"))
    status, said, _ = run(*words)
    assert (status, [row["open_in_log"] for row in said["rows"]], said["log"]) == (1, [False], ["TEST-2026-1 h11"])


def test_an_inventory_that_the_log_does_not_name_is_a_finding(run: Run, tmp_path: Path) -> None:
    log = exported(tmp_path, [event(0, "ComponentsChecked", inventory="00" * 32), OPENED])
    status, said, _ = run(
        "advisory", "compare", "own.json", "--inventory", "inventory.json", "--log", log, "--key", KEY
    )
    assert (status, said["noted"]) == (1, False)


def test_without_a_log_nothing_is_said_about_one(run: Run) -> None:
    status, said, _ = run("advisory", "compare", "own.json", "--inventory", "inventory.json")
    assert (status, said["noted"], said["rows"][0]["open_in_log"]) == (0, None, None)
    assert run("advisory", "compare", "own.json", "--inventory", "inventory.json", "--key", KEY)[0] == 2


def test_a_damaged_log_measures_nothing(run: Run, tmp_path: Path) -> None:
    log = exported(tmp_path, [COMPARED, OPENED])
    (bundle,) = (path for path in Path(log).rglob("*") if path.is_file() and "entries" in path.parts)
    bundle.write_bytes(bundle.read_bytes().replace(b"high", b"lowx"))
    status, said, told = run("contract", "verify", "contract.toml", "--log", log, "--key", KEY)
    assert (status, said) == (5, None) and "damaged" in told


@pytest.mark.parametrize("name", ["own.json", "inventory.json"])
def test_a_file_that_is_something_else_is_named(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    status, _, told = run("advisory", "compare", "own.json", "--inventory", "inventory.json")
    assert status == 2 and name in told
