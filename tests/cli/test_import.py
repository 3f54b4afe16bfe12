"""`account import` against running cells: whole, cut off, hostile; and nothing of it on the disk."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Live
from tests.records.legacy_vectors import VECTORS

from bulkhead.cli.import_reader import _NEEDED
from bulkhead.config import set_value
from bulkhead.imports.reader import MODULE
from bulkhead.imports.rows import AccountLine, FileEnd, FrameReader, ReaderLock

pytestmark = pytest.mark.timeout(120)
CLEAR = "Kein-Geheimnis-mehr-4711"


def contents(*folders: Path) -> bytes:
    """Every file: databases, WAL, segments, ledger, logs, notes."""
    return b"\0".join(p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file())


def test_accounts_are_imported_and_nothing_weaker_than_a_record_is_on_the_disk(live: Live, tmp_path: Path) -> None:
    digests = [text for _, text, _ in VECTORS][:6]
    lines = ["address,password,quota,status,aliases"]
    lines += [f'import-{n}@kddi.example,"{text}",2M,,' for n, text in enumerate(digests)]
    lines += [f"import-clear@kddi.example,{CLEAR},,suspended,alias@kddi.example"]
    lines += [f"import-clear@kddi.example,{CLEAR},,,", "import-x@nowhere.example,secret-4712,,,", "no secret-4712"]
    file = tmp_path / "file" / "accounts.csv"
    file.parent.mkdir()
    file.write_text("\r\n".join(lines))
    ran = live("account", "import", "kddi", str(file), "--json")
    assert ran.status == 1, ran.err
    assert (ran.json["imported"], ran.json["refused"], ran.json["noted"], ran.json["complete"]) == (7, 3, 1, True)
    shown = live("account", "show", "kddi", "import-clear@kddi.example", "--json").json
    assert shown["status"] == "suspended"
    assert live("account", "show", "kddi", "import-1@kddi.example", "--json").json["quota_bytes"] == 2 << 20

    errors, state = Path(f"{file}.errors"), Path(f"{file}.state")
    told = dict(line.split(": ", 1) for line in errors.read_text().splitlines())
    assert sorted(told) == ["line 10", "line 11", "line 8", "line 9"]
    assert "without its aliases" in told["line 8"] and "twice" in told["line 9"]
    assert (errors.stat().st_mode & 0o777, state.stat().st_mode & 0o777) == (0o600, 0o600)

    file.unlink()
    disk = contents(live.directory, file.parent)
    for secret in (CLEAR, "secret-4712", *(text.rpartition("$")[2][-24:] for text in digests)):
        assert secret.encode() not in disk
    assert not list((live.directory / "run").glob("pending/kddi/*"))
    audit = live("exposure", "kddi", "--json").json["rows"]
    assert any("sha512-crypt" in row["scheme"] for row in audit)


def test_an_import_that_is_killed_goes_on_and_makes_each_account_once(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    names = [f"killed-{n:03}@kddi.example" for n in range(60)]
    file.write_text("".join(json.dumps({"address": name, "password": CLEAR}) + "\n" for name in names))
    state = Path(f"{file}.state")
    command = [sys.executable, "-m", "bulkhead.cli.main", "account", "import", "kddi", str(file)]
    for wanted in (5, 30):
        process = subprocess.Popen([*command, "-C", str(live.directory)], stderr=subprocess.PIPE)
        while process.poll() is None and there(live) < wanted:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ran = live("account", "import", "kddi", str(file), "--json")
    assert ran.status == 0, ran.err
    assert (ran.json["complete"], ran.json["left"]) == (True, 0)
    rows = live("account", "list", "kddi", "--json").json["accounts"]
    killed = [row for row in rows if row["address"].startswith("killed-")]
    assert [row["address"] for row in killed] == names
    assert {row["status"] for row in killed} == {"active"}
    assert not list((live.directory / "run").glob("pending/kddi/*"))
    assert live("fsck", "kddi").status == 0
    again = live("account", "import", "kddi", str(file))
    assert again.status == 0 and "is imported; remove" in again.err
    file.write_text(file.read_text() + "\n")
    assert "is of another import" in live("account", "import", "kddi", str(file)).err
    state.unlink()
    over = live("account", "import", "kddi", str(file), "--json").json
    assert (over["imported"], over["refused"]) == (0, 60)


def there(live: Live) -> int:
    rows = live("account", "list", "kddi", "--json").json["accounts"]
    return sum(row["address"].startswith("killed-") for row in rows)


def test_one_file_is_imported_by_one_command_at_a_time(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(f"once@stnet.example,{CLEAR}\n")
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ran = live("account", "import", "stnet", str(file))
    assert ran.status == 2 and "by another command" in ran.err
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_can_be_checked_without_a_cell_and_leaves_nothing(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("a@b.example:{SSHA}H/zrDv8FXUu1JmwvVYijfrYEF34jVZcO::::::\nc@b.example:{CRAM-MD5}e02d::::::\n")
    ran = live("account", "import", "stnet", str(file), "--check", "--json")
    assert ran.status == 1
    assert (ran.json["dialect"], ran.json["refused"]) == ("dovecot", 1)
    assert ran.json["schemes"] == [{"scheme": "sha1", "accounts": 1}]
    assert "line 2: has a password of scheme CRAM-MD5" in ran.err and "e02d" not in ran.err
    assert list(tmp_path.iterdir()) == [file]
    assert live("account", "import", "stnet", str(tmp_path)).status == 2
    assert live("account", "import", "stnet", "/dev/null").status == 2


def test_the_reader_is_locked_before_it_reads_and_reads_names_of_any_script(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("ä@日本.example,pässword\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    uid = 64_000 if os.geteuid() == 0 else os.geteuid()
    with file.open("rb") as stream:
        command = [sys.executable, "-I", "-m", MODULE, "auto", "0", str(empty), str(uid)]
        done = subprocess.run(command, stdin=stream, capture_output=True, check=True, timeout=60)
    lock, row, end = FrameReader().receive(done.stdout)
    assert isinstance(lock, ReaderLock) and set(lock.applied) >= _NEEDED
    assert isinstance(row, AccountLine) and row.octets == "pässword".encode()
    assert isinstance(end, FileEnd) and end.dialect == "csv"


def test_no_digest_is_imported_where_its_failure_would_be_answered_late(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(f"late@stnet.example,{CLEAR}\n")
    set_value(live.directory, "tenants/stnet.toml", "auth.failure_seconds", 0.5)
    try:
        ran = live("account", "import", "stnet", str(file))
    finally:
        set_value(live.directory, "tenants/stnet.toml", "auth.failure_seconds", 1.0)
    assert ran.status == 2 and "auth.failure_seconds must be at least 0.6" in ran.err
    assert list(tmp_path.iterdir()) == [file]
