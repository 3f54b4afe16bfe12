"""A backup of a running cell, and its restore: what was revoked since stays revoked, and no message is lost."""

import hashlib
import imaplib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.bucket.conftest import certificate as make_certificate
from tests.bucket.conftest import make_locked_bucket
from tests.bucket.peer import Peer
from tests.live import PASSWORD, Live, Mailbox, free_number, network_of, uid_base_of

from bulkhead.cli.backup_commands import BACKUP_COMMANDS
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import DirectoryTarget
from bulkhead.cli.init import make_installation
from bulkhead.cli.restore_files import Source, write_compartment
from bulkhead.config import load_installation, set_value
from bulkhead.demo.endpoints import endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId

NEW_PASSWORD = "another staple for the battery"


class Site:
    """One installation with a backup, and what happened after it."""

    def __init__(self, base: Path) -> None:
        self.base, self.to = base, base / "backups"
        self.live = Live(base / "here", tenants=1, settings={"auth.failure_seconds": 0.1})
        self.anna, self.ben, self.cleo, self.dan = self.live.add("t0", ["anna", "ben", "cleo", "dan"])
        for number in range(8):
            with self.live.imap(self.anna) as client:
                client.append("INBOX", None, None, f"Subject: {number}\r\n\r\n{'x' * number * 9000}\r\n".encode())

    @property
    def keys(self) -> list[str]:
        folder = self.live.directory / "recovery" / "t0"
        return ["--partner-key", str(folder / "partner.key"), "--operator-key", str(folder / "operator.key")]

    def back_up(self) -> str:
        return str(self.live.json("backup", "run", "t0", "--to", str(self.to))["backups"][0]["backup"])

    def hashes(self, mailbox: Mailbox) -> list[str]:
        with self.live.imap(mailbox) as client:
            _, (count,) = client.select("INBOX", readonly=True)
            _, parts = client.fetch(f"1:{int(count)}", "(BODY.PEEK[])")
            return sorted(hashlib.sha256(part[1]).hexdigest() for part in parts if isinstance(part, tuple))

    def kinds(self) -> Counter[str]:
        """How often each kind of event is in the ledger."""
        return Counter(entry["kind"] for entry in self.live.json("ledger", "t0", "list", "--limit", "0")["entries"])

    def logs_in(self, mailbox: Mailbox, password: str = PASSWORD) -> bool:
        try:
            with self.live.imap(Mailbox(mailbox.tenant, mailbox.address, password)):
                return True
        except imaplib.IMAP4.error:
            return False

    def app_password(self, mailbox: Mailbox) -> str:
        typed = f"{mailbox.password}\n".encode()
        words = ("app-password", "add", mailbox.tenant, mailbox.address, "--password-stdin", "--json")
        return str(json.loads(self.live.command(*words, given=typed).stdout)["password"])

    def lose_cell(self) -> Path:
        """Stop it and move cell and custody away; where the ledger's log lies then."""
        self.live.running.stop()
        lost = self.base / f"lost-{time.monotonic_ns()}"
        lost.mkdir()
        shutil.move(self.live.directory / "cells" / "t0", lost / "cell")
        shutil.move(self.live.directory / "custody" / "t0", lost / "custody")
        return lost / "cell" / "ledger" / "log"

    def restore(self, *more: str, check: bool = True) -> "subprocess.CompletedProcess[bytes]":
        return self.live.command("restore", "t0", "--from", str(self.to), *self.keys, *more, check=check)

    def start(self) -> None:
        self.live.running = Running(self.live.directory)
        self.live.running.wait_ready()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("b"))
    yield site
    site.live.running.stop()


def test_a_restored_cell_has_every_message_and_keeps_dead_what_died_since(site: Site) -> None:
    live = site.live
    site.back_up()
    before, noted = site.hashes(site.anna), site.kinds()
    device, kept = (site.app_password(site.anna) for _ in range(2))
    assert site.logs_in(site.anna, device)
    backup = site.back_up()
    live.command("app-password", "revoke", "t0", site.anna.address, "1")
    live.command("account", "cancel", "t0", site.ben.address)
    live.command("account", "suspend", "t0", site.dan.address)
    live.command("account", "passwd", "t0", site.cleo.address, "--password-stdin", given=f"{NEW_PASSWORD}\n".encode())
    assert site.logs_in(site.cleo, NEW_PASSWORD)
    live.command("backup", "verify", "t0", backup, "--from", str(site.to))
    tried = live.json("backup", "verify", "t0", backup, "--from", str(site.to), "--restore", *site.keys)
    assert (tried["sound"], tried["accounts"], tried["messages"]) == (True, 4, len(before))
    (found,) = [row for row in live.json("doctor", check=False)["findings"] if row["matter"] == "test restore"]
    assert (found["state"], backup in found["text"]) == ("ok", True)
    log = site.lose_cell()

    done = site.restore("--ledger", str(log), "--at", backup, "--json")

    report = json.loads(done.stdout)
    assert (report["accounts"], report["messages"], report["must_reset"], report["statuses"]) == (4, len(before), 1, 2)
    assert report["app_passwords"] == 1
    (command,) = [command for command in BACKUP_COMMANDS if command.name == "restore"]
    assert set(report) - {"schema"} == set(command.json_keys)
    site.start()
    assert site.hashes(site.anna) == before
    assert not site.logs_in(site.anna, device)
    assert site.logs_in(site.anna, kept)
    assert not site.logs_in(site.ben)
    assert not site.logs_in(site.dan)
    assert not site.logs_in(site.cleo)
    assert not site.logs_in(site.cleo, NEW_PASSWORD)
    assert live.json("fsck", "t0")["sound"]
    since = site.kinds() - noted
    assert (since["BackupVerified"], since["RestoreBegun"], since["RestoreDone"]) == (2, 1, 1)
    live.command("account", "passwd", "t0", site.cleo.address, "--password-stdin", given=f"{NEW_PASSWORD}\n".encode())
    assert site.logs_in(site.cleo, NEW_PASSWORD)


def test_what_an_earlier_backup_carries_for_good_is_not_carried_again(site: Site) -> None:
    first = site.back_up()
    with site.live.imap(site.anna) as client:
        client.append("INBOX", None, None, b"Subject: later\r\n\r\nlater\r\n")
    second = site.back_up()
    segments = json.loads((site.to / "t0" / second / "manifest.json").read_bytes())["segments"]
    assert {where for _, where, _ in segments} >= {second}
    assert any(where != second for _, where, _ in segments)
    assert first != second


def test_a_backup_carries_what_changed_and_is_restored_with_those_it_is_put_on(site: Site) -> None:
    live, shelf = site.live, Shelf(DirectoryTarget(site.to), TenantId("t0"))
    shutil.rmtree(site.to, ignore_errors=True)
    first = site.back_up()
    with site.live.imap(site.anna) as client:
        client.append("INBOX", None, None, b"Subject: changed\r\n\r\nblocks\r\n")
    second, third = site.back_up(), site.back_up()
    manifest = shelf.manifest(third)
    chained = {stream.compartment for stream in manifest.streams if stream.parent == second}
    assert chained
    assert all(not stream.parent for stream in shelf.manifest(first).streams)
    before = site.hashes(site.anna)
    assert shelf.files(first)
    assert live.json("backup", "prune", "t0", "--keep-days", "1", "--from", str(site.to))["tenants"][0]["removed"] == []
    assert live.json("backup", "verify", "t0", third, "--from", str(site.to))["sound"]
    live.command("account", "suspend", "t0", site.cleo.address)
    fourth = site.back_up()
    site.lose_cell()
    begun = datetime.fromtimestamp((shelf.manifest(fourth).created - 1) / 1000, UTC)
    report = json.loads(site.restore("--at", begun.isoformat(), "--json").stdout)
    assert report["backup"] == third
    assert report["statuses"] >= 1  # as the newest backup's log says, without --ledger
    site.start()
    assert site.hashes(site.anna) == before
    assert live.json("fsck", "t0")["sound"]
    assert not site.logs_in(site.cleo)
    live.command("account", "activate", "t0", site.cleo.address)
    fifth = site.back_up()
    whole = shelf.manifest(fifth)  # a restored holder made none of these: what bears a number there may be another
    assert all(not stream.parent for stream in whole.streams)
    assert {where for where, _ in whole.segments.values()} == {fifth}


def test_a_cell_is_backed_up_to_a_locked_bucket_and_restored_from_it(site: Site) -> None:
    certificate, key = make_certificate(site.base)
    peer = Peer(certificate, key)
    key_file = site.base / "bucket.key"
    key_file.write_text("access\nsecret\n")
    key_file.chmod(0o600)
    ca_file = Path(tempfile.gettempdir()) / f"{site.base.parent.name}-{site.base.name}.pem"  # nobody has to read it
    ca_file.write_bytes(certificate.read_bytes())
    make_locked_bucket(peer, "locked")
    for name, value in {
        "bucket": "s3://locked/kept", "bucket_endpoint": f"https://127.0.0.1:{peer.https}",
        "bucket_key_file": str(key_file), "bucket_ca_file": str(ca_file),
    }.items():  # fmt: skip
        set_value(site.live.directory, "bulkhead.toml", f"backup.{name}", value)
    try:
        expected = site.hashes(site.anna)
        first, second = (site.live.json("backup", "run", "t0")["backups"][0]["backup"] for _ in range(2))
        assert [row["whole"] for row in site.live.json("backup", "list", "t0")["backups"]] == [True, True]
        assert site.live.json("backup", "verify", "t0")["backup"] == second
        log = site.lose_cell()
        site.live.command("restore", "t0", *site.keys, "--ledger", str(log))
        site.start()
        assert site.hashes(site.anna) == expected
        (removed,) = site.live.json("backup", "prune", "t0", "--keep-days", "1")["tenants"]
        assert (removed["removed"], removed["refused"]) == ([], [])  # both are of today
        assert first < second
    finally:
        set_value(site.live.directory, "bulkhead.toml", "backup.bucket", "")
        ca_file.unlink()
        peer.close()


@pytest.mark.slow
def test_a_restore_that_is_killed_anywhere_keeps_the_cell_from_starting_and_can_be_begun_again(site: Site) -> None:
    expected = site.hashes(site.anna)
    site.back_up()
    log = site.lose_cell()
    command = [sys.executable, "-m", "bulkhead.cli.main", "restore", "t0", "--from", str(site.to), *site.keys]
    command += ["--ledger", str(log), "-C", str(site.live.directory)]
    for written in ("auth", "store", "ledger"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if f": {written} is" in line.decode():
                break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        refused = site.live.command("cell", "run", "t0", check=False)
        assert refused.returncode == 2
        assert b"cut short" in refused.stderr
    site.restore("--ledger", str(log))
    site.start()
    assert site.hashes(site.anna) == expected


@pytest.mark.slow
def test_kills_at_random_moments_of_backup_and_restore_lose_nothing(site: Site) -> None:
    chance, expected = random.Random(6), site.hashes(site.anna)
    bulkhead = [sys.executable, "-m", "bulkhead.cli.main"]
    there = ["-C", str(site.live.directory)]

    def killed(*words: str) -> bool:
        """Whether it was, and did not end before."""
        process = subprocess.Popen([*bulkhead, *words, *there], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 1.5))
        process.kill()
        return process.wait() != 0

    for _ in range(6):
        killed("backup", "run", "t0", "--to", str(site.to))
    assert site.hashes(site.anna) == expected
    for row in site.live.json("backup", "list", "t0", "--from", str(site.to))["backups"]:
        if row["whole"]:
            site.live.command("backup", "verify", "t0", row["backup"], "--from", str(site.to), "--offline")
    newest = site.back_up()
    log = site.lose_cell()
    words = ["restore", "t0", "--from", str(site.to), *site.keys, "--ledger", str(log), "--at", newest]
    for number in range(6):
        if not killed(*words):  # whole: lost once more
            for name in ("cells", "custody"):
                shutil.move(site.live.directory / name / "t0", site.base / f"again-{name}-{number}")
    done = site.restore("--ledger", str(log), "--at", newest, check=False)
    assert not done.returncode or b"is not empty" in done.stderr  # one was killed when it was whole, and before its end
    site.start()
    assert site.hashes(site.anna) == expected
    assert site.live.json("fsck", "t0", "--deep")["sound"]


@pytest.mark.slow
def test_the_partner_starts_the_cell_at_another_site_from_its_copies_and_both_keys(site: Site) -> None:
    expected = site.hashes(site.anna)
    site.back_up()
    copies, there = site.base / "copies", site.base / "there"
    shutil.copytree(site.to, copies / "backups")
    shutil.copytree(site.live.directory / "escrow", copies / "escrow")
    shutil.copytree(site.live.directory / "recovery", copies / "recovery")
    make_installation(there, "Partner", [])
    number = free_number()
    set_value(there, "bulkhead.toml", "uid_base", uid_base_of(number))
    shutil.copy(site.live.directory / "example.zone", there)
    keys = [f"--{party}-key={copies}/recovery/t0/{party}.key" for party in ("partner", "operator")]
    words = ["restore", "t0", "--from", str(copies / "backups"), "--keys", str(copies / "escrow"), *keys]
    words += ["--address", f"{network_of(number)}.1", "-C", str(there)]
    unknown = subprocess.run([sys.executable, "-m", "bulkhead.cli.main", *words], check=False, capture_output=True)
    assert unknown.returncode == 2
    assert b"nothing here shows that this backup is the cell's own" in unknown.stderr
    assert not (there / "tenants" / "t0.toml").exists()
    own = load_installation(site.live.directory).tenant("t0")
    words += ["--log-key", own.settings.text("pinned.ledger_key")]
    subprocess.run([sys.executable, "-m", "bulkhead.cli.main", *words], check=True, capture_output=True)
    running = Running(there)
    try:
        running.wait_ready()
        endpoint = endpoints_of(load_installation(there))["t0"]
        with imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=trust(there), timeout=30) as client:
            client.login(site.anna.address, PASSWORD)
            _, (count,) = client.select("INBOX", readonly=True)
            _, parts = client.fetch(f"1:{int(count)}", "(BODY.PEEK[])")
        assert sorted(hashlib.sha256(part[1]).hexdigest() for part in parts if isinstance(part, tuple)) == expected
    finally:
        running.stop()


def test_a_backup_that_was_cut_short_is_none(site: Site) -> None:
    whole = site.back_up()
    command = [sys.executable, "-m", "bulkhead.cli.main", "backup", "run", "t0", "--to", str(site.to)]
    before = set((site.to / "t0").iterdir())
    process = subprocess.Popen([*command, "-C", str(site.live.directory)], stdout=subprocess.DEVNULL)
    while not (set((site.to / "t0").iterdir()) - before):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rows = site.live.json("backup", "list", "t0", "--from", str(site.to))["backups"]
    assert not rows[-1]["whole"] or rows[-1]["backup"] != whole
    assert rows[-1]["whole"] == (site.to / "t0" / rows[-1]["backup"] / "manifest.json").exists()
    assert site.hashes(site.anna)
    assert site.back_up() > whole


def test_a_backup_from_before_an_emergency_rotation_opens_nothing_with_the_keys_of_afterwards(site: Site) -> None:
    backup = site.back_up()
    kept = site.base / "stolen-escrow"
    shutil.copytree(site.live.directory / "escrow" / "t0", kept / "t0")
    site.live.command("credentials", "rotate", "t0", "--emergency")
    log = site.lose_cell()

    refused = site.restore("--ledger", str(log), "--at", backup, check=False)

    assert refused.returncode == 5
    assert b"is dead: version" in refused.stderr
    assert not (site.live.directory / "cells" / "t0").exists()  # refused before anything was written
    shutil.move(log.parent.parent, site.live.directory / "cells" / "t0")
    shutil.move(log.parent.parent.parent / "custody", site.live.directory / "custody" / "t0")
    site.start()


def test_one_changed_octet_is_found_without_any_key(site: Site, tmp_path: Path) -> None:
    backup = site.back_up()
    path = site.to / "t0" / backup / "keyring.stream"
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = site.live.command("backup", "verify", "t0", backup, "--from", str(site.to), check=False)
    assert found.returncode == 5
    assert b"keyring.stream is not what the manifest says" in found.stdout
    shelf = Shelf(DirectoryTarget(site.to), TenantId("t0"))
    with pytest.raises(IntegrityError, match="is not what the manifest says"):  # and before any key is used
        write_compartment(Source(shelf, shelf.manifest(backup), keys=None), "keyring", tmp_path)
