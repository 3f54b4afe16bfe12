"""An export of a running cell, opened far from it: every message, flag, UID and name is as its subscriber had it."""

import hashlib
import imaplib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.live import Live, Mailbox

from bulkhead.identifiers import TenantId
from bulkhead.records.recovery_file import read_recovery_private, write_recovery_private
from bulkhead.supervisor.layout import Layout
from bulkhead.wire.imap.mailbox_name import encode_utf7

JAPANESE = "受信/仕事.2026"
HOSTILE = ("../../etc/passwd", ".", "a..b/cur", "back\\slash:2,S", "x" * 300, "~root")
LARGE = b"x" * 70 + b"\r\n"


def octets(number: int, lines: int = 1) -> bytes:
    return b"Subject: letter %d\r\nX-Kana: \xe3\x81\x82\r\n\r\nbody %d\r\n" % (number, number) + LARGE * lines


@pytest.fixture(scope="module")
def written(live: Live) -> tuple[Mailbox, dict[str, dict[int, tuple[bytes, str]]], dict[str, int]]:
    """A subscriber; by folder what is in it by UID, with flags; and each folder's UIDVALIDITY."""
    mailbox = live.mailbox()
    letters: dict[str, dict[int, tuple[bytes, str]]] = {}
    validities: dict[str, int] = {}
    with live.imap(mailbox, "") as client:
        for at, name in enumerate(("INBOX", JAPANESE, *HOSTILE)):
            wire = b'"' + encode_utf7(name).replace(b"\\", b"\\\\") + b'"'
            if name != "INBOX":
                assert client.create(wire)[0] == "OK", name  # type: ignore[arg-type]
            letters[name] = {}
            for number, flags in ((1, ""), (2, "\\Seen \\Flagged $Forwarded"), (3, "\\Answered \\Draft Later")):
                message = octets(100 * at + number, 3000 if number == 2 and not at else 1)
                done = client.append(wire, f"({flags})", imaplib.Time2Internaldate(1_000_000_000 + number), message)  # type: ignore[arg-type]
                found = re.search(rb"APPENDUID (\d+) (\d+)", done[1][0])
                assert found, done
                validities[name] = int(found[1])
                letters[name][int(found[2])] = (message, flags)
        client.subscribe(encode_utf7(JAPANESE).decode())
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        del letters["INBOX"][1]
    return mailbox, letters, validities


@pytest.fixture(scope="module")
def sealed(live: Live, written: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / "sealed"
    made = live.json("export", "make", "t0", "--to", str(target), "--account", written[0].address)
    assert made["accounts"] == 1 and made["messages"] == 3 * (2 + len(HOSTILE)) - 1
    entries = live.json("ledger", "t0", "list")["entries"]
    told = [json.loads(entry["details"]) for entry in entries if entry["kind"] == "ExportWritten"]
    assert told[-1]["sha256"] == made["manifest"]
    assert any(entry["kind"] == "MailboxKeysExported" for entry in entries)
    return target


def keys_of(live: Live, tenant: str = "t0") -> tuple[str, str, str, str]:
    layout = Layout(live.directory, TenantId(tenant))
    return "--partner-key", str(layout.recovery_key("partner")), "--operator-key", str(layout.recovery_key("operator"))


def opened(sealed: Path, out: Path, *more: str, check: bool = True) -> "subprocess.CompletedProcess[bytes]":
    """`export open` takes no installation."""
    arguments = ("export", "open", str(sealed), "--to", str(out), *more)
    done = subprocess.run(
        [sys.executable, "-m", "bulkhead.cli.main", *arguments], capture_output=True, timeout=60, check=False
    )
    if check and done.returncode:
        raise AssertionError(done.stderr.decode() + done.stdout.decode())
    return done


def test_every_message_flag_uid_and_name_comes_back(live: Live, written: Any, sealed: Path, tmp_path: Path) -> None:
    mailbox, letters, validities = written
    opened(sealed, tmp_path / "out", *keys_of(live))
    account = tmp_path / "out" / mailbox.address
    told = json.loads((account / "mailboxes.json").read_bytes())
    by_name = {row["name"]: row for row in told["mailboxes"]}
    assert set(letters) <= set(by_name) and told["failures"] == 0
    assert JAPANESE in told["subscriptions"]
    for name, expected in letters.items():
        row = by_name[name]
        folder = account / "Maildir" / row["directory"]
        assert folder.resolve().is_relative_to(account / "Maildir")
        head, *lines = (folder / "dovecot-uidlist").read_text().splitlines()
        assert head.startswith(f"3 V{validities[name]} N") and row["uid_validity"] == validities[name]
        files = {path.name.partition(":")[0]: path for path in (folder / "cur").iterdir()}
        names = [line.partition(" ")[2] for line in (folder / "dovecot-keywords").read_text().splitlines()]
        found = {}
        for line in lines:
            fields, _, base = line.partition(" :")
            path = files.pop(base)
            flags = path.name.partition(":2,")[2]
            spelt = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft", "T": "\\Deleted"}
            words = {spelt.get(letter) or names[ord(letter) - ord("a")] for letter in flags}
            found[int(fields.split()[0])] = (path.read_bytes(), words)
            assert path.stat().st_mtime >= 1_000_000_000
        assert not files
        assert found == {uid: (message, set(flags.split())) for uid, (message, flags) in expected.items()}
    for line in (account / "SHA256SUMS").read_text().splitlines():
        digest, _, path = line.partition("  ")
        assert hashlib.sha256((account / path).read_bytes()).hexdigest() == digest
    assert "passed" in json.loads(opened(sealed, tmp_path / "out", "--json", *keys_of(live)).stdout)


def test_inbox_keeps_the_unique_ids_that_pop3_gave(live: Live, written: Any, sealed: Path, tmp_path: Path) -> None:
    mailbox, _, _ = written
    opened(sealed, tmp_path / "out", *keys_of(live))
    lines = (tmp_path / "out" / mailbox.address / "Maildir" / "dovecot-uidlist").read_text().splitlines()[1:]
    with live.pop3(mailbox) as client:
        given = [line.split()[1].decode() for line in client.uidl()[1]]
    assert [line.split()[1] for line in lines] == [f"P{uidl}" for uidl in given]


def test_another_key_opens_nothing_and_is_named(live: Live, sealed: Path, tmp_path: Path) -> None:
    option, partner, _, operator = keys_of(live)
    key = read_recovery_private(Path(partner).read_text())
    other = tmp_path / "other.pem"
    other.write_text(write_recovery_private(replace(key, private_key=X25519PrivateKey.generate())))
    other.chmod(0o600)
    done = opened(sealed, tmp_path / "out", option, str(other), "--operator-key", operator, check=False)
    assert done.returncode == 4 and b"the partner's recovery key does not open this export" in done.stderr
    assert not list((tmp_path / "out").iterdir())
    done = opened(sealed, tmp_path / "out", *keys_of(live, "t1"), check=False)
    assert done.returncode == 2 and b"t1" in done.stderr


@pytest.mark.parametrize("name", ["head", "rows", "parts", "index", "sums"])
def test_a_changed_file_opens_nothing(live: Live, sealed: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    (file,) = copy.glob(f"accounts/*/*/{name}")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = opened(copy, tmp_path / "out", *keys_of(live), check=False)
    assert done.returncode == 5 and name.encode() in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_an_export_run_again_fetches_what_is_new_alone(live: Live, written: Any, sealed: Path, tmp_path: Path) -> None:
    mailbox, _, _ = written
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    (parts,) = copy.glob("accounts/*/*/parts")
    before = parts.read_bytes()
    with live.imap(mailbox, "") as client:
        client.append("INBOX", "", None, octets(999))  # type: ignore[arg-type]
    live.command("export", "make", "t0", "--to", str(copy), "--account", mailbox.address)
    assert parts.read_bytes().startswith(before) and len(before) < parts.stat().st_size < len(before) + 2000
    opened(copy, tmp_path / "out", *keys_of(live))
    cur = tmp_path / "out" / mailbox.address / "Maildir" / "cur"
    assert octets(999) in {path.read_bytes() for path in cur.iterdir()}
