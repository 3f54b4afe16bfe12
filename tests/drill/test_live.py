"""A drill of an installation in use: nobody's data changes, and its canaries are gone afterwards, also when killed."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import Live, Mailbox

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.config import set_value
from bulkhead.demo.booty import CANARY_FILE
from bulkhead.drill.live import note_path, rows_left_out, safe_rows

ROWS = "store,keyring,access/reach-*,access/access-live-*,mx/mx-walls-stand"
_COUNTERS = {"meta", "sqlite_sequence", "segment", "domain", "tally"}  # of a whole compartment, not of a subscriber
_OWN = ("ledger",)  # takes an entry for each act, as it shall


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with tempfile.TemporaryDirectory(prefix="bl-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        running = Live(Path(made) / "i", tenants=2)
        try:
            yield running
        finally:
            running.running.stop()


@pytest.fixture(scope="module")
def people(live: Live) -> list[Mailbox]:
    """Subscribers with mail in both cells."""
    found = [mailbox for tenant in live.tenants for mailbox in live.add(tenant, ["asahi", "midori"])]
    for mailbox in found:
        live.deliver(mailbox, f"for {mailbox.address}")
    before: dict[tuple[str, str], dict[str, int]] = {}
    while before != (before := contents(live)):  # sessions file what has arrived, some time after they read it
        for mailbox in found:
            with live.imap(mailbox) as client:
                client.noop()
                time.sleep(0.3)
    return found


def command(live: Live, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bulkhead.cli.main", "drill", "--live", str(live.directory), *arguments]


def contents(live: Live) -> dict[tuple[str, str], dict[str, int]]:
    """(database, table) to the digests of its rows, and how often each is there."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for path in sorted((live.directory / "cells").glob("*/*/*")):
        if not path.is_file() or path.parent.name in _OWN or not path.read_bytes()[:16].startswith(b"SQLite format 3"):
            continue
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for table in tables:
                rows = found.setdefault((str(path.relative_to(live.directory)), table), {})
                for row in database.execute(f'SELECT * FROM "{table}"') if table not in _COUNTERS else ():
                    digest = hashlib.sha256(repr(row).encode()).hexdigest()
                    rows[digest] = rows.get(digest, 0) + 1
    return found


def lost(before: dict[tuple[str, str], dict[str, int]], after: dict[tuple[str, str], dict[str, int]]) -> set[Any]:
    """Tables in which a row that was there is not any more, or reads otherwise."""
    return {
        table for table, rows in before.items()
        if any(after.get(table, {}).get(digest, 0) < count for digest, count in rows.items())
    }  # fmt: skip


def reload(live: Live) -> None:
    live.running.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)


def canaries(live: Live, tenant: str) -> list[str]:
    """Statuses of the canaries' accounts."""
    listed = live.json("account", "list", tenant)["accounts"]
    return [row["status"] for row in listed if row["address"].startswith("drill-")]


def nothing_is_left(live: Live) -> bool:
    """No canary file, no note, no account that is not cancelled, no twin."""
    homes = [live.directory / "cells" / t / p.name for t in live.tenants for p in PROCESSES.values()
             if p.disk is Disk.DATA]  # fmt: skip
    return (
        not any((home / CANARY_FILE).exists() for home in homes)
        and not note_path(live.directory, "t0").exists()
        and set(canaries(live, "t0")) <= {"cancelled", "purged"}
    )


def test_a_live_drill_changes_nobodys_data_and_leaves_its_result_in_that_tenants_ledger(
    live: Live, people: list[Mailbox], tmp_path: Path
) -> None:
    before = contents(live)
    assert any("account" in table for _, table in before)
    written = tmp_path / "d.json"
    with live.imap(people[0]) as client:  # a session that goes on meanwhile
        done = subprocess.run(
            command(live, "--tenant", "t0", "--yes", "--rows", ROWS, "--json", str(written)),
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert client.noop()[0] == "OK"
    assert written.exists(), done.stderr
    document = json.loads(written.read_text())
    assert document["over"] == [], done.stdout
    assert document["gaps"] == [], done.stdout
    assert done.returncode == 0
    assert (document["live"], document["whole"], document["home"]) == (True, False, "t0")
    told = next(line for line in done.stderr.splitlines() if line.startswith("into the ledgers:"))
    assert "t0 entry" in told
    assert "t1" not in told
    assert lost(before, contents(live)) == set()
    assert [live.subjects(mailbox) for mailbox in people] == [[f"for {mailbox.address}"] for mailbox in people]
    assert len(canaries(live, "t0")) == 3
    assert canaries(live, "t1") == []
    assert nothing_is_left(live)


@pytest.mark.parametrize("by", ["the next drill", "--clean"])
def test_the_canaries_of_a_killed_drill_are_withdrawn(live: Live, people: list[Mailbox], by: str) -> None:
    before = contents(live)
    drill = subprocess.Popen(
        command(live, "--tenant", "t0", "--yes"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert drill.stderr is not None
        assert any("the wall of" in line for line in drill.stderr)  # its canaries are there, and so are twins
        assert note_path(live.directory, "t0").exists()
        refused = subprocess.run(
            command(live, "--tenant", "t0", "--clean"), capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2
        assert "another drill" in refused.stderr
    finally:
        drill.send_signal(signal.SIGKILL)
        drill.communicate()
    assert "active" in canaries(live, "t0")
    (live.directory / "cells" / "t1" / "store" / CANARY_FILE).write_bytes(os.urandom(32))  # killed while it was there
    arguments = ["--clean"] if by == "--clean" else ["--yes", "--rows", "mx/mx-walls-stand"]
    subprocess.run(command(live, "--tenant", "t0", *arguments), capture_output=True, timeout=60, check=True)
    deadline = time.monotonic() + 60.0
    while any(row["twin"] for row in live.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [row for row in live.processes() if row["twin"]] == []
    assert nothing_is_left(live)
    assert lost(before, contents(live)) == set()


def test_it_runs_for_nobody_who_did_not_say_so(live: Live) -> None:
    for arguments in (["--tenant", "t0"], ["--yes"], ["--tenant", "t9", "--yes"]):
        done = subprocess.run(
            command(live, *arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode != 0
        assert "drill" in done.stderr or "--tenant" in done.stderr
    assert not note_path(live.directory, "t0").exists()


def test_in_production_no_twin_is_forked_unless_the_configuration_allows_it(live: Live) -> None:
    set_value(live.directory, "bulkhead.toml", "production", True)
    reload(live)
    try:
        done = subprocess.run(
            command(live, "--tenant", "t0", "--yes", "--rows", "mx/reach-door"), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert "allow_live_drill" in done.stderr
        assert nothing_is_left(live)
        set_value(live.directory, "bulkhead.toml", "allow_live_drill", True)
        reload(live)
        allowed = subprocess.run(
            command(live, "--tenant", "t0", "--yes", "--rows", "mx/reach-door"), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert allowed.returncode == 0, allowed.stderr
    finally:
        set_value(live.directory, "bulkhead.toml", "production", False)
        set_value(live.directory, "bulkhead.toml", "allow_live_drill", False)
        reload(live)


def test_rows_for_a_live_installation_touch_canaries_or_look(live: Live) -> None:
    names = {probe.name for probe in safe_rows()}
    assert not names & set(rows_left_out())
    assert not any(probe.disturbs or probe.slow or probe.by_charter for probe in safe_rows())
    assert not any(name.endswith(("own-disk", "destroys-its-own", "guesses-passwords")) for name in names)
