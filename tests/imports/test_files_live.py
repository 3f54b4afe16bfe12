"""Maildir and mbox into accounts of a running cell: a round trip through our own export, cuts, and hostile files."""

import hashlib
import imaplib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.live import Live, Mailbox

from bulkhead.cli.import_commands import IMPORT_COMMANDS
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.layout import Layout
from bulkhead.wire.imap.mailbox_name import encode_utf7

FOLDER = "受信/仕事.2026"


def keys_of(live: Live) -> tuple[str, str, str, str]:
    layout = Layout(live.directory, TenantId("t0"))
    return "--partner-key", str(layout.recovery_key("partner")), "--operator-key", str(layout.recovery_key("operator"))


def wire(name: str) -> Any:
    return b'"' + encode_utf7(name) + b'"'


def state(live: Live, mailbox: Mailbox, *names: str) -> dict[str, Any]:
    """UIDVALIDITY, UIDNEXT, UIDs, flags, dates and hashes; POP3's unique-ids."""
    found: dict[str, Any] = {}
    with live.imap(mailbox, "") as client:
        found["subscriptions"] = client.lsub()[1]
        for name in names:
            found[f"status {name}"] = client.status(wire(name), "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[1]
            client.select(wire(name), readonly=True)
            _, parts = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
            found[name] = []
            for row in parts:
                if isinstance(row, tuple):
                    uid = re.search(rb"UID (\d+)", row[0])
                    flags = re.search(rb"FLAGS \(([^)]*)\)", row[0])
                    date = re.search(rb'INTERNALDATE "([^"]*)"', row[0])
                    assert uid and flags and date
                    words = sorted(flags[1].replace(b"\\Recent", b"").split())
                    found[name].append((uid[1], words, date[1], hashlib.sha256(row[1]).hexdigest()))
    with live.pop3(mailbox) as pop:
        found["uidl"] = pop.uidl()[1]
    return found


@pytest.fixture(scope="module")
def source(live: Live, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mailbox, Path]:
    """A subscriber, and what `export open` made of the mail."""
    mailbox, base = live.mailbox(), tmp_path_factory.mktemp("files")
    with live.imap(mailbox, "") as client:
        client.create(wire(FOLDER))
        for number in range(8):
            body = f"Subject: {number}\r\n\r\nFrom here\r\n{'x' * 60}\r\n".encode()
            flags = ("", "\\Seen", "\\Flagged Later", "\\Answered \\Draft")[number % 4]
            box = wire(FOLDER) if number % 2 else "INBOX"
            client.append(box, f"({flags})", imaplib.Time2Internaldate(1_000_000_000 + number), body)
        client.subscribe(encode_utf7(FOLDER).decode())
        client.select("INBOX")
        client.uid("STORE", "1,4", "+FLAGS", "(\\Deleted)")
        client.expunge()
    live.command("export", "make", "t0", "--to", str(base / "sealed"), "--account", mailbox.address)
    arguments = ["export", "open", str(base / "sealed"), "--to", str(base / "out"), "--mbox", *keys_of(live)]
    subprocess.run([sys.executable, "-m", "bulkhead.cli.main", *arguments], check=True, capture_output=True, timeout=60)
    return mailbox, base / "out" / mailbox.address


def imported(live: Live, *words: str, check: bool = True) -> Any:
    done = live.command("import", *words, "--json", check=check)
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_maildir_that_was_exported_comes_back_as_it_was(live: Live, source: tuple[Mailbox, Path]) -> None:
    mailbox, out = source
    other = live.mailbox()
    words = ("maildir", "t0", other.address, str(out / "Maildir"), *keys_of(live))
    done = imported(live, *words)
    assert (done["added"], done["bad"], done["renumbered"], done["renamed"], done["unnamed"]) == (6, 0, 0, 0, 0)
    assert state(live, other, "INBOX", FOLDER) == state(live, mailbox, "INBOX", FOLDER)
    assert set(done) - {"schema"} == set(IMPORT_COMMANDS[1].json_keys)
    again = imported(live, *words)
    assert (again["added"], again["there"]) == (0, 6)
    kinds = [entry["kind"] for entry in live.json("ledger", "t0", "list", "--limit", "0")["entries"]]
    assert "MailImported" in kinds
    (out / "Maildir.state").unlink()
    twice = imported(live, *words)
    assert (twice["added"], twice["renumbered"]) == (6, 0), "without the state it is another import, under new UIDs"
    assert live.json("fsck", "t0")["sound"]
    (out / "Maildir.state").unlink()


def test_an_mbox_keeps_uids_flags_and_dates_and_says_what_needs_keys(live: Live, source: tuple[Mailbox, Path]) -> None:
    mailbox, out = source
    other = live.mailbox()
    done = imported(live, "mbox", "t0", other.address, str(out / "mbox" / "INBOX.mbox"))
    before, after = state(live, mailbox, "INBOX"), state(live, other, "INBOX")
    assert (done["added"], done["bad"], done["unnamed"]) == (2, 0, 1)
    assert [(uid, date, digest) for uid, _, date, digest in after["INBOX"]] == [
        (uid, date, digest) for uid, _, date, digest in before["INBOX"]
    ]
    assert after["status INBOX"] == before["status INBOX"]
    files = [path for path in (out / "mbox").iterdir() if path.suffix == ".mbox" and "INBOX" not in path.name]
    folder = max(files, key=lambda path: path.stat().st_size)
    refused = live.command("import", "mbox", "t0", other.address, str(folder), "--folder", "Old", check=False)
    assert refused.returncode == 2 and b"both recovery keys" in refused.stderr
    done = imported(live, "mbox", "t0", other.address, str(folder), "--folder", "Old", *keys_of(live))
    assert done["added"] == 4
    assert [row[3] for row in state(live, other, "Old")["Old"]] == [
        row[3] for row in state(live, mailbox, FOLDER)[FOLDER]
    ]


def test_an_import_that_is_killed_goes_on_and_puts_nothing_in_twice(live: Live, tmp_path: Path) -> None:
    other = live.mailbox()
    for part in ("cur", "new", "tmp"):
        (tmp_path / "M" / part).mkdir(parents=True)
    for number in range(900):
        (tmp_path / "M" / "cur" / f"{number}.x:2,S").write_bytes(b"Subject: %d\n\nbody\n" % number * 20)
    command = [sys.executable, "-m", "bulkhead.cli.main", "import", "maildir", "t0", other.address, str(tmp_path / "M")]
    killed, log = 0, tmp_path / "M.state"
    for octets in (100, 10_000):
        process = subprocess.Popen([*command, "-C", str(live.directory)], stdout=-3, stderr=-3)
        ends = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < ends:
            if log.exists() and log.stat().st_size > octets:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        killed += process.wait() == -signal.SIGKILL
    done = imported(live, *command[4:])
    assert killed and done["added"] + done["there"] == 900
    with live.imap(other) as client:
        assert client.select("INBOX")[1] == [b"900"]


def test_hostile_files_are_passed_over_and_told(live: Live, tmp_path: Path) -> None:
    other, root = live.mailbox(), tmp_path / "M"
    for part in ("cur", "new", "tmp", ".Sent/cur", ".a%2fb/cur", ".link"):
        (root / part).mkdir(parents=True)
    (root / ".link").rmdir()
    (root / ".link").symlink_to("/etc")
    cur = root / "cur"
    (cur / "good:2,F").write_bytes(b"Subject: good\n\n" + b"y" * 3_000_000 + b"\n")
    (cur / "nul").write_bytes(b"Subject: n\0ul\n\nx\n")
    (cur / "link").symlink_to("/etc/passwd")
    os.mkfifo(cur / "fifo")
    (cur / "directory").mkdir()
    with (cur / "huge").open("wb") as file:
        file.truncate(1 << 30)
    (Path(os.fsdecode(os.fsencode(cur) + b"/\xff\nname:2,\xfe"))).write_bytes(b"Subject: odd name\n\nx\n")
    (cur / "parts").write_bytes(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 20_000)
    (root / "dovecot-uidlist").write_bytes(b"3 V9 N4000000000\n1 :good\n3999999999 :nul\n" + b"\0" * 100_000)
    done = imported(live, "maildir", "t0", other.address, str(root), check=False)
    assert done["added"] == 3 and done["bad"] == 5 + 2
    told = (tmp_path / "M.errors").read_text()
    for word in ("nul: has the octet NUL", "link: cannot be opened", "fifo: is no plain file", "huge: is larger",
                 ".Sent: a mailbox other than INBOX", ".a%2fb: no mailbox"):  # fmt: skip
        assert word in told, told
    with live.imap(other) as client:
        client.select("INBOX")
        assert client.uid("FETCH", "1", "(RFC822.SIZE FLAGS)")[1][0].count(b"\\Flagged") == 1
