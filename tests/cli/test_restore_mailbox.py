"""What is gone from a mailbox comes back into the running cell, once, and clients read it as it was."""

import hashlib
import imaplib
import json
import shutil
from collections.abc import Iterator

import pytest
from tests.cli.test_backup import Site
from tests.live import Mailbox

from bulkhead.cli.restore_commands import RESTORE_COMMANDS

LONG = b"Subject: long\r\n\r\n" + b"a line of it\r\n" * 20_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("m"))
    yield site
    site.live.running.stop()


def bring(site: Site, mailbox: Mailbox, *more: str, check: bool = True) -> dict[str, object]:
    words = ["restore-mailbox", "t0", mailbox.address, "--from", str(site.to), *site.keys, *more]
    done = site.live.command(*words, "--json", check=check)
    found: dict[str, object] = json.loads(done.stdout or done.stderr)
    return found


def seen(client: imaplib.IMAP4, folder: str) -> dict[str, tuple[bytes, bytes]]:
    """Hash of each message to its flags and date."""
    _, (count,) = client.select(folder)
    if not int(count or b"0"):
        return {}
    _, parts = client.fetch(f"1:{int(count)}", "(FLAGS INTERNALDATE BODY.PEEK[])")
    found = {}
    for part in parts:
        if isinstance(part, tuple):
            head, body = part
            flags = b" ".join(sorted(flag for flag in imaplib.ParseFlags(head) if flag != b"\\Recent"))
            found[hashlib.sha256(body).hexdigest()] = (flags, head.split(b'INTERNALDATE "')[1].split(b'"')[0])
    return found


def test_a_mailbox_comes_back_by_message_and_nothing_that_is_there_is_touched(site: Site) -> None:
    live, anna = site.live, site.anna
    with live.imap(anna) as client:
        client.create("Plans")
        client.append("Plans", "\\Flagged $mine", '"01-Feb-2026 10:00:00 +0000"', LONG)
        client.append("Plans", None, None, b"Subject: two\r\n\r\ntwo\r\n")
        client.select("INBOX")
        client.store("1:3", "+FLAGS", "\\Seen")
        before = {folder: seen(client, folder) for folder in ("INBOX", "Plans")}  # files what has arrived
        client.select("INBOX")
        uids = client.uid("search", None, "ALL")[1][0].split()
    backup = site.back_up()
    live.set("t0", "store.undelete_days", 0)
    live.command("config", "reload", check=False)
    with live.imap(anna) as client:
        client.append("INBOX", None, None, b"Subject: after the backup\r\n\r\nnew\r\n")
        client.select("INBOX")
        client.store("1:4", "+FLAGS", "\\Deleted")
        client.expunge()
        client.create("Kept")
        client.copy("1", "Kept")
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()  # moved, and so not gone
        client.delete("Plans")
        there = seen(client, "INBOX")
    listed = bring(site, anna, "--at", backup, "--list")
    (command,) = [command for command in RESTORE_COMMANDS if command.name == "restore-mailbox"]
    top = {key for key in command.json_keys if "[]" not in key}
    assert set(listed) - {"schema"} == top
    folders = listed["folders"]
    assert isinstance(folders, list)
    assert {key.partition("[].")[2] for key in command.json_keys if "[]" in key} == set(folders[0])
    assert sorted(folder["gone"] for folder in folders) == [0] * (len(folders) - 2) + [2, 4]
    (inbox,) = [folder["folder"] for folder in folders if folder["role"] == "INBOX"]

    assert bring(site, anna, "--at", backup, "--folder", inbox)["restored"] == 4
    assert bring(site, anna, "--at", backup)["restored"] == 2
    assert bring(site, anna, "--at", backup)["restored"] == 0

    with live.imap(anna) as client:
        inbox_now, plans_now = seen(client, "INBOX"), seen(client, "Plans")
        client.select("INBOX")
        now = [int(uid) for uid in client.uid("search", None, "ALL")[1][0].split()]
        assert len(seen(client, "Kept")) == 1
    assert plans_now == before["Plans"]
    assert {**before["INBOX"], **there}.items() >= inbox_now.items()
    assert len(inbox_now) == len(before["INBOX"]) - 1 + 1
    assert sum(uid > max(map(int, uids)) + 1 for uid in now) == 4  # under new UIDs
    assert live.json("fsck", "t0", "--deep")["sound"]
    kinds = [entry["kind"] for entry in live.json("ledger", "t0", "list", "--limit", "0")["entries"]]
    assert kinds.count("MailRestored") == 2


def test_a_cancelled_account_and_a_backup_that_the_ledger_does_not_know_bring_nothing(site: Site) -> None:
    backup = site.back_up()
    site.live.command("account", "cancel", "t0", site.ben.address)
    copy = site.base / "copy"
    shutil.copytree(site.to, copy)
    words = ["restore-mailbox", "t0", "--from", str(copy), *site.keys, "--at", backup]
    assert b"cancelled" in site.live.command(*words, site.ben.address, check=False).stderr
    (copy / "t0" / backup / "receipt.json").unlink()
    assert b"does not know" in site.live.command(*words, site.anna.address, check=False).stderr
