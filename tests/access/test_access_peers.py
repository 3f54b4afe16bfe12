"""Programs that people read mail with, against the real holders."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.access.cell import PASSWORD, Account, Cell, message

pytestmark = pytest.mark.peer


@pytest.fixture
def authority(cell: Cell, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(cell.ca_pem)
    return path


def test_curl_lists_reads_searches_and_uploads(
    cell: Cell, account: Account, authority: Path, needs_debian: Callable[[str], str], tmp_path: Path
) -> None:
    command = needs_debian("curl")
    texts = [message("one"), message("two", b"x" * 300_000 + b"\r\n")]
    cell.deliver(account, *texts)

    def curl(path: str, *options: str) -> bytes:
        url = f"{'pop3s' if path.startswith('pop') else 'imaps'}://127.0.0.1:"
        port = cell.ports["pop3s" if path.startswith("pop") else "imaps"]
        done = subprocess.run(
            [command, "-sS", "--cacert", str(authority), "--user", f"{account.address}:{PASSWORD}", *options,
             f"{url}{port}/{path.partition(':')[2]}"],
            capture_output=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout

    assert b"Archive" in curl("imap:")
    assert curl("imap:INBOX;MAILINDEX=2") == texts[1]
    assert curl("imap:INBOX;UID=1;SECTION=TEXT") == b"Text\r\n"
    assert b"* SEARCH 2" in curl("imap:INBOX?SUBJECT%20two")
    upload = tmp_path / "mail"
    upload.write_bytes(message("mine"))
    curl("imap:Sent", "-T", str(upload))
    assert b"(MESSAGES 1)" in curl("imap:", "-X", "STATUS Sent (MESSAGES)")
    assert curl("pop:2") == texts[1]
    assert b"2 " in curl("pop:")


def test_mbsync_brings_every_mailbox_both_ways(
    cell: Cell, account: Account, authority: Path, needs_debian: Callable[[str], str], tmp_path: Path
) -> None:
    command = needs_debian("isync")
    cell.deliver(account, *(message(f"number {n}") for n in range(30)))
    local = tmp_path / "mail"
    local.mkdir()
    (tmp_path / "mbsyncrc").write_text(
        f"""
IMAPAccount a
Host localhost
Port {cell.ports["imaps"]}
User {account.address}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {authority}

IMAPStore far
Account a

MaildirStore near
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )

    def sync() -> None:
        done = subprocess.run(
            [command, "-c", str(tmp_path / "mbsyncrc"), "-a"], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    sync()
    files = sorted((local / "INBOX" / "new").iterdir()) + sorted((local / "INBOX" / "cur").iterdir())
    assert len(files) == 30
    new = local / "Drafts" / "new" / "1.host"
    new.write_bytes(message("draft").replace(b"\r\n", b"\n"))
    files[0].unlink()
    sync()
    raw = cell.raw(account)
    assert b"MESSAGES 1" in raw.command("STATUS Drafts (MESSAGES)")[0]
    assert b"MESSAGES 29" in raw.command("STATUS INBOX (MESSAGES)")[0]
