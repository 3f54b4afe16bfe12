"""A tenant carried on: messages a second of `import maildir`, `import mbox`, `export make` and `import cell`.

    python bench/carry.py [--messages 5000] [--octets 4000] [--output FILE]

A cell of its own on loopback, one account for each of the two imports, one disk; each figure is a whole command, its
start included, as a user sees it. CPU is that of the command and its reader, without the cell's.
"""

import argparse
import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import set_value
from bulkhead.demo.running import Running
from bulkhead.identifiers import DomainName, TenantId

PORTS = {
    "listen.mx": 2525, "listen.submissions": 4465, "listen.submission": 4587, "listen.imaps": 4993,
    "listen.pop3s": 4995, "listen.console": 4443, "mx.workers": 1, "submit.workers": 1, "access.workers": 1,
}  # fmt: skip


def command(directory: Path, *words: str, given: str = "") -> tuple[float, float, str]:
    """Run it: seconds, CPU seconds, standard output."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    line = [sys.executable, "-m", "bulkhead.cli.main", *words, "-C", str(directory)]
    done = subprocess.run(line, input=given.encode(), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu, done.stdout.decode()


def letter(number: int, octets: int) -> bytes:
    """A message that looks like one."""
    head = (
        f"From: a{number}@far.example\nTo: b@t0.example\nSubject: letter {number}\n"
        "Date: Sun, 9 Sep 2001 01:46:40 +0000\n"
        f"Message-ID: <{number}@far.example>\nContent-Type: text/plain; charset=utf-8\n\n"
    )
    line = secrets.token_hex(30) + "\n"
    return (head + line * (1 + max(octets - len(head), 0) // len(line))).encode()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--octets", type=int, default=4000)
    parser.add_argument("--output", default="")
    options = parser.parse_args()
    results: dict[str, Any] = {"messages": options.messages, "octets": options.octets, "load": os.getloadavg()[0]}

    def note(name: str, messages: int, measured: tuple[float, float, str]) -> None:
        seconds, cpu, _ = measured
        results[name] = {
            "seconds": round(seconds, 2), "per_second": round(messages / seconds),
            "cpu_ms": round(1000 * cpu / messages, 2),
        }  # fmt: skip

    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        here, there, maildir, mbox = base / "here", base / "there", base / "Maildir", base / "mbox"
        number = os.getpid() % 20_000
        address = f"127.{80 + number // 250}.{number % 250 + 2}"
        new = NewTenant(TenantId("t0"), 0, DomainName("t0.example"), f"{address}.1", "Bench", PORTS)
        make_installation(here, "Bench", [new])
        set_value(here, "bulkhead.toml", "uid_base", 300_000 + number * 1024)
        make_installation(there, "Bench", [])
        (maildir / "cur").mkdir(parents=True)
        with mbox.open("wb") as file:
            for at in range(options.messages):
                octets = letter(at, options.octets)
                (maildir / "cur" / f"{at:08d}.x:2,S").write_bytes(octets)
                file.write(b"From a@far.example Sun Sep  9 01:46:40 2001\n" + octets + b"\n")
        running = Running(here)
        try:
            running.wait_ready()
            lines = "a@t0.example,correct horse battery\nb@t0.example,correct horse battery\n"
            command(here, "account", "add", "t0", "--from-file", "-", given=lines)
            count = options.messages
            note("import_maildir", count, command(here, "import", "maildir", "t0", "a@t0.example", str(maildir)))
            note("import_mbox", count, command(here, "import", "mbox", "t0", "b@t0.example", str(mbox)))
            note("export_make", 2 * count, command(here, "export", "make", "t0", "--to", str(base / "export")))
        finally:
            running.stop()
        keys = here / "recovery" / "t0"
        words = ("--partner-key", str(keys / "partner.key"), "--operator-key", str(keys / "operator.key"))
        note("import_cell", 2 * count, command(there, "import", "cell", str(base / "export"), *words))
    text = json.dumps(results, indent=1)
    print(text)
    if options.output:
        Path(options.output).write_text(text + "\n")


if __name__ == "__main__":
    main()
