"""Freeze one tenant of a small installation that the build around it makes: see README.md. Run in that build's tree.

    .venv/bin/python make.py OUT.tar.gz TENANT     (TENANT: t0, or t1)

Beside the archive, OUT.json says what has to be there for ever: every message by hash, flags, passwords.
"""

import hashlib
import json
import os
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from tests.live import PASSWORD, Live, Mailbox

BACKUPS = "backup"
_LEFT_OUT = ("-shm", ".log", ".lock", ".sock")


def main() -> None:
    """Make it, use it, back it up, kill it, freeze it."""
    archive, tenant = Path(sys.argv[1]).absolute(), sys.argv[2]
    directory = Path(tempfile.mkdtemp(prefix="frozen-")) / "i"
    live = Live(directory, 1 + int(tenant[1]), {"courier.port": 9, "queue.expire_seconds": 2_592_000})
    try:
        known = _use(live, tenant)
        _kill(live)
    finally:
        live.stop()
    inside = [directory / "bulkhead.toml", directory / "example.zone", directory / BACKUPS / tenant]
    inside += [directory / folder / tenant for folder in ("cells", "custody", "recovery", "tls", "escrow")]
    inside.append(directory / "tenants" / f"{tenant}.toml")
    with tarfile.open(archive, "w:gz") as tar:
        for path in inside:
            if path.exists():
                tar.add(path, str(path.relative_to(directory)), filter=_kept)
    archive.with_name(archive.name.removesuffix(".tar.gz") + ".json").write_text(json.dumps(known, indent=1) + "\n")


def _use(live: Live, tenant: str) -> dict[str, object]:
    anna, bob, _ = live.add(tenant, ["anna", "bob", "carl"])
    for number in range(3):
        live.deliver(anna, f"arrived {number}")
        live.deliver(bob, f"never read {number}")
    with live.imap(anna) as client:
        client.create("Work")
        client.append("Work", "(\\Seen \\Flagged $Label1)", "", b"From: a@b.example\r\nSubject: filed\r\n\r\nfiled\r\n")
        client.uid("COPY", "1", "Work")
        client.uid("STORE", "2", "+FLAGS", "(\\Seen mykey)")
        client.uid("STORE", "3", "+FLAGS", "(\\Deleted)")
        client.expunge()
    live.deliver(anna, "arrived last")
    words = ["app-password", "add", tenant, anna.address, "--label", "phone", "--password-stdin", "--json"]
    app = json.loads(live.command(*words, given=f"{PASSWORD}\n".encode()).stdout)["password"]
    with live.submission(anna) as client:
        client.sendmail(anna.address, ["x@t9.example"], f"From: {anna.address}\r\nSubject: waits\r\n\r\nx\r\n")
    live.command("account", "suspend", tenant, f"carl@{tenant}.example")
    live.command("credentials", "rotate", tenant)
    backed_up = not live.command(
        "backup", "run", tenant, "--to", str(live.directory / BACKUPS), check=False
    ).returncode  # older builds had none
    where = ((anna, "INBOX"), (anna, "Work"), (bob, "INBOX"))
    boxes = {f"{mailbox.address} {folder}": _messages(live, mailbox, folder) for mailbox, folder in where}
    live.deliver(bob, "came last")
    return {"tenant": tenant, "password": PASSWORD, "app_password": app, "backed_up": backed_up, "boxes": boxes}


def _messages(live: Live, mailbox: Mailbox, folder: str) -> dict[str, list[str]]:
    """UID to SHA-256 and flags."""
    with live.imap(mailbox, folder) as client:
        found = {}
        for item in client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                head = item[0].decode()
                flags = head.partition("FLAGS (")[2].partition(")")[0].replace("\\Recent", "").split()
                found[head.partition("UID ")[2].split()[0]] = [hashlib.sha256(item[1]).hexdigest(), *sorted(flags)]
        return found


def _kill(live: Live) -> None:
    """At once, so that logs of databases lie there as a crash leaves them."""
    for row in live.processes():
        if row["pid"]:
            os.kill(row["pid"], signal.SIGKILL)
    live.running.process.kill()
    live.running.process.wait()
    time.sleep(0.5)


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if member.name.endswith(_LEFT_OUT) or not (member.isfile() or member.isdir()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
