"""An export made a running cell of another installation: programs log in as before and fetch nothing anew."""

import contextlib
import hashlib
import imaplib
import json
import poplib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live import PASSWORD, Live, Mailbox, free_number, network_of, uid_base_of

from bulkhead.cli.import_commands import IMPORT_COMMANDS
from bulkhead.cli.init import make_installation
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.config import load_installation, set_value
from bulkhead.demo.endpoints import endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.exports.cell import CellFiles
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.identifiers import TenantId
from bulkhead.wire.imap.mailbox_name import encode_utf7

FOLDER = "受信/仕事.2026"


class Sites:
    """Here, a cell with mail and its export; elsewhere, an installation without tenants."""

    def __init__(self, base: Path) -> None:
        self.base, self.export = base, base / "export"
        self.here = Live(base / "here", tenants=1, settings={"auth.failure_seconds": 0.1})
        self.anna, self.ben, self.cleo = self.here.add("t0", ["anna", "ben", "cleo"])
        with self.here.imap(self.anna, "") as client:
            wire = b'"' + encode_utf7(FOLDER) + b'"'
            client.create(wire)  # type: ignore[arg-type]
            for number in range(6):
                body = f"Subject: letter {number}\r\n\r\n{'x' * number * 40_000}\r\n".encode()
                flags = ("", "\\Seen", "\\Flagged $Forwarded")[number % 3]
                box: Any = wire if number % 2 else "INBOX"
                client.append(box, f"({flags})", imaplib.Time2Internaldate(1_000_000_000 + number), body)
            client.subscribe(encode_utf7(FOLDER).decode())
            client.select("INBOX")
            client.uid("COPY", "1", wire.decode())
            client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
            client.expunge()
        typed = f"{PASSWORD}\n".encode()
        words = ("app-password", "add", "t0", self.ben.address, "--password-stdin", "--json")
        self.device = str(json.loads(self.here.command(*words, given=typed).stdout)["password"])
        self.here.command("account", "suspend", "t0", self.cleo.address)
        self.seen = self.state(self.here)
        self.listed = self.here.json("account", "list", "t0")["accounts"]
        self.made = self.here.json("export", "make", "t0", "--to", str(self.export))

    @property
    def keys(self) -> list[str]:
        folder = self.here.directory / "recovery" / "t0"
        return ["--partner-key", str(folder / "partner.key"), "--operator-key", str(folder / "operator.key")]

    def state(self, live: Live) -> dict[str, Any]:
        """What programs know: UIDVALIDITY, UIDs, flags, dates, hashes of each mailbox, and POP3's unique-ids."""
        found: dict[str, Any] = {}
        with live.imap(self.anna, "") as client:
            found["subscriptions"] = client.lsub()[1]
            for name in ("INBOX", FOLDER):
                wire: Any = b'"' + encode_utf7(name) + b'"'
                found[f"status {name}"] = client.status(wire, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")[1]
                client.select(wire, readonly=True)
                _, parts = client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE MODSEQ EMAILID BODY.PEEK[])")
                rows = [part for part in parts if isinstance(part, tuple)]
                found[name] = [
                    (re.sub(rb"BODY.*", b"", row[0]).split(b" ", 1)[1], hashlib.sha256(row[1]).hexdigest())
                    for row in rows
                ]
        with live.pop3(self.anna) as client:
            found["uidl"] = client.uidl()[1]
        return found

    def elsewhere(self, name: str) -> Path:
        """A new installation without tenants."""
        directory = self.base / name
        make_installation(directory, "Another carrier", [])
        set_value(directory, "bulkhead.toml", "uid_base", uid_base_of(free_number()))
        shutil.copy(self.here.directory / "example.zone", directory / "example.zone")
        return directory

    def importing(self, directory: Path, *more: str) -> list[str]:
        address = f"{network_of(free_number())}.1"
        command = [sys.executable, "-m", "bulkhead.cli.main", "import", "cell", str(self.export), *self.keys]
        return [*command, "--address", address, "-C", str(directory), *more]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    sites = Sites(tmp_path_factory.mktemp("x"))
    yield sites
    sites.here.running.stop()


def run(command: list[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def logs_in(live: Live, mailbox: Mailbox, password: str = PASSWORD) -> bool:
    try:
        with live.imap(Mailbox(mailbox.tenant, mailbox.address, password)):
            return True
    except imaplib.IMAP4.error:
        return False


def test_nothing_in_an_export_tells_an_address_without_keys(sites: Sites) -> None:
    told = [mailbox.address.encode() for mailbox in (sites.anna, sites.ben, sites.cleo)]
    for path in sites.export.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            # whole addresses: three or four octets turn up by chance in megabytes of ciphertext
            assert not [address for address in told if address in content], path
    records = json.loads((sites.export / "cell/dns.json").read_bytes())["records"]
    assert {"MX", "A", "TXT", "SRV"} == {row["type"] for row in records}


def test_an_export_has_canaries_of_its_own_which_are_nobody_here_any_more(sites: Sites) -> None:
    copies = sites.here.json("incident", "canaries", "t0")["copies"]
    assert [row["canaries"] for row in copies if row["copy"].startswith("export-")] == [2]
    assert sites.here.json("account", "list", "t0")["accounts"] == sites.listed
    tenant, folder = TenantId("t0"), sites.here.directory / "recovery/t0"
    found = read_recovery_keys(folder / "partner.key", folder / "operator.key", tenant)
    files = CellFiles(sites.export / "cell", tenant, RecoveryKeys(found.partner, found.operator))
    database = sites.base / "directory.sqlite"
    database.write_bytes(b"".join(files.database("directory")))
    with contextlib.closing(sqlite3.connect(database)) as connection:
        ((accounts,),) = connection.execute("SELECT count(*) FROM account")
    assert accounts == len(sites.listed) + 2


def test_programs_log_in_with_old_passwords_and_see_the_same_uids(sites: Sites) -> None:
    directory = sites.elsewhere("there")
    done = run(sites.importing(directory, "--json", "--manifest", sites.made["manifest"]))
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert (report["accounts"], report["messages"], report["missing"], report["halves_apart"]) == (
        3,
        6,
        0,
        0,
    )  # no canary
    assert set(report) - {"schema"} == set(IMPORT_COMMANDS[0].json_keys)
    there = object.__new__(Live)
    there.directory, there.tenants, there._made = directory, ["t0"], 0
    there.running = Running(directory)
    try:
        there.running.wait_ready()
        there.endpoints, there.tls = endpoints_of(load_installation(directory)), trust(directory)
        assert sites.state(there) == sites.seen
        assert logs_in(there, sites.ben) and logs_in(there, sites.ben, sites.device)
        assert not logs_in(there, sites.ben, "wrong") and not logs_in(there, sites.cleo)
        there.command("account", "activate", "t0", sites.cleo.address)
        assert logs_in(there, sites.cleo)
        with there.imap(sites.anna) as client:
            client.append("INBOX", None, None, b"Subject: new\r\n\r\nnew\r\n")  # type: ignore[arg-type]
        with there.pop3(sites.anna) as client:
            assert isinstance(client, poplib.POP3) and len(client.list()[1]) == 3
        assert there.json("fsck", "t0")["sound"]
        kinds = [entry["kind"] for entry in there.json("ledger", "t0", "list", "--limit", "4")["entries"]]
        assert kinds[:3] == ["TenantCreated", "ImportBegun", "ImportDone"]
        again = run(sites.importing(directory))
        assert again.returncode in (2, 4)
    finally:
        there.running.stop()
    assert run(sites.importing(directory)).returncode == 4
    assert (directory / "cells/t0/evidence/ledger/checkpoint").exists()


def test_an_import_killed_anywhere_goes_on_to_the_same(sites: Sites) -> None:
    directory = sites.elsewhere("killed")
    command = sites.importing(directory, "--json")
    killed = 0
    for pause in (0.1, 0.25, 0.3, 0.35, 0.4, 0.5, 0.8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if not (directory / "cells/t0/restoring").exists() and (directory / "tenants/t0.toml").exists():
            break
    else:
        done = run(command)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["messages"] == 6
    assert killed
    assert not (directory / "cells/t0/restoring").exists() and not (directory / "cells/t0/imported").exists()


def test_a_changed_export_makes_no_cell(sites: Sites) -> None:
    directory, copy = sites.elsewhere("refused"), sites.base / "copy"
    shutil.copytree(sites.export, copy)
    stream = copy / "cell/auth.stream"
    data = bytearray(stream.read_bytes())
    data[-40] ^= 1
    stream.write_bytes(data)
    command = [str(copy) if word == str(sites.export) else word for word in sites.importing(directory)]
    done = run(command)
    assert done.returncode == 5 and b"auth.stream" in done.stderr
    assert not (directory / "tenants/t0.toml").exists()
