"""A stop in one cell of six while the other five deliver and read: from a signed order on the command line to effect.

    python -m bench.contain --data DIR --work DIR [--tenants north,west,...] [--move] [--image] [--json FILE]

DIR: what `bench.credentials build` made, or a copy; with --move it is used up. The first tenant is the one that is
stopped, of the last three holders that are named there; every cell is a real one. With --image (root) its cell lies on
a file system of its own, which is filled to the last octet while its ledger is killed again and again.
"""

import argparse
import base64
import contextlib
import hashlib
import imaplib
import io
import itertools
import json
import os
import random
import shutil
import signal
import smtplib
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.credentials import SHARES, accounts_of
from bench.login_rate import ROOT_KEY
from bench.machine import describe
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.cli.init import make_installation
from bulkhead.cli.main import main as bulkhead
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import load_installation, set_value
from bulkhead.demo.endpoints import Endpoint, endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.drill.officers import People
from bulkhead.holder.orders import approvals_of
from bulkhead.identifiers import DomainName, TenantId, parse_id
from bulkhead.records.keyfile import KeySet
from bulkhead.records.signed_file import OrderFile, RosterFile
from bulkhead.supervisor.layout import Layout

NETWORK = "127.199.14"
PASSWORD = "correct horse battery staple"  # of accounts on this machine alone
PORTS: dict[str, Any] = {
    "listen.mx": 2525, "listen.submissions": 4465, "listen.submission": 4587, "listen.imaps": 4993,
    "listen.pop3s": 4995, "courier.port": 2525, "mx.workers": 1, "submit.workers": 1, "access.workers": 1,
    "courier.allow_networks": (f"{NETWORK}.0/24",), "resolver.zone_file": "example.zone", "auth.failure_seconds": 0.3,
}  # fmt: skip
SET = 100_000
PAUSE = 0.5  # seconds between two rounds at one of the other cells


class Cells:
    """The installation, its clients and its command line."""

    def __init__(self, work: Path, data: Path, tenants: list[str], options: argparse.Namespace) -> None:
        self.work, self.tenants = work, tenants
        self.people = People(tenants[0])
        roots = {"pinned.roster_roots": tuple(str(key) for key in self.people.roots.keys)}
        new = [
            NewTenant(
                TenantId(name), slot, DomainName(f"{name}.example"), f"{NETWORK}.{slot + 1}", name,
                PORTS | (roots if not slot else {}),
            )
            for slot, name in enumerate(tenants)
        ]  # fmt: skip
        make_installation(work, "Bench carrier", new)
        set_value(work, "bulkhead.toml", "uid_base", 700_000)
        self.mounted = False
        if options.image:
            self._mount(Layout(work, TenantId(tenants[0])).cell, options.image)
        for name in tenants:
            self._furnish(name, data / name, move=options.move and not (options.image and name == tenants[0]))
        self.running = Running(work)
        self.running.wait_ready()
        self.endpoints: dict[str, Endpoint] = endpoints_of(load_installation(work))
        self.tls: ssl.SSLContext = trust(work)

    def _mount(self, cell: Path, gib: float) -> None:
        image = self.work / "disk.img"
        with image.open("wb") as file:
            file.truncate(int(gib * (1 << 30)))
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-F", str(image)], check=True)
        kept = cell.with_name(cell.name + ".kept")
        cell.rename(kept)
        cell.mkdir()
        subprocess.run(["mount", "-o", "loop", str(image), str(cell)], check=True)
        self.mounted, self.cell = True, cell
        for item in kept.iterdir():
            shutil.move(str(item), str(cell / item.name))

    def _furnish(self, name: str, data: Path, *, move: bool) -> None:
        """The large databases in place of the empty ones, with the keys that they are under."""
        layout = Layout(self.work, TenantId(name))
        for holder in ("auth", "keyring", "directory"):
            home = layout.home(holder)
            shutil.rmtree(home)
            (shutil.move if move else shutil.copytree)(str(data / holder), str(home))
            root = layout.root_key(holder)
            root.chmod(0o600)
            root.write_bytes(ROOT_KEY)
            root.chmod(0o400)
            for path in home.iterdir():
                path.chmod(0o600)
        record = (layout.home("keyring") / "keys.sealed").read_bytes()
        keys = KeySet.open(record, TenantId(name), "keyring", ROOT_KEY)
        binding = Ed25519PrivateKey.from_private_bytes(keys.current("binding")[1]).public_key().public_bytes_raw()
        queue = X25519PrivateKey.from_private_bytes(keys.current("queue")[1]).public_key().public_bytes_raw()
        for key, value in (("binding_key", binding), ("queue_key", queue)):
            set_value(self.work, f"tenants/{name}.toml", f"pinned.{key}", base64.b64encode(value).decode())

    def close(self) -> None:
        self.running.stop()
        if self.mounted:
            subprocess.run(["umount", str(self.cell)], check=False)

    def run(self, *words: str, given: str = "") -> tuple[int, str, float]:
        """A command in this process: exit status, what it printed, seconds from its start to its answer."""
        out = io.StringIO()
        out.reconfigure = lambda **_: None  # type: ignore[attr-defined]  # as a terminal's has it
        old, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given.encode()))
        begin = time.monotonic()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                status = bulkhead([*words, "-C", str(self.work)])
        finally:
            sys.stdin = old
        return status, out.getvalue(), time.monotonic() - begin

    def must(self, *words: str, given: str = "") -> str:
        status, out, _ = self.run(*words, given=given)
        if status:
            raise SystemExit(f"{words}: {status}: {out}")
        return out

    def add(self, tenant: str, name: str) -> str:
        """A new person among all the others; its account id."""
        address = f"{name}@{tenant}.example"
        self.must("account", "add", tenant, address, "--password-stdin", given=PASSWORD + "\n")
        return str(json.loads(self.must("account", "show", tenant, address, "--json"))["account"])

    def imap(self, tenant: str, name: str) -> imaplib.IMAP4_SSL:
        end = self.endpoints[tenant]
        client = imaplib.IMAP4_SSL(end.address, end.imaps, ssl_context=self.tls, timeout=30)
        client.login(f"{name}@{tenant}.example", PASSWORD)
        client.select("INBOX")
        return client

    def send(self, tenant: str, name: str, to: str) -> None:
        end = self.endpoints[tenant]
        with smtplib.SMTP_SSL(end.address, end.submissions, timeout=30, context=self.tls) as client:
            client.login(f"{name}@{tenant}.example", PASSWORD)
            client.sendmail(f"{name}@{tenant}.example", [to], f"Subject: {name}\r\n\r\ntext\r\n")

    def admits(self, tenant: str, name: str) -> bool:
        try:
            self.imap(tenant, name).logout()
        except imaplib.IMAP4.error:
            return False
        return True

    # --- orders ---

    def install_roster(self) -> None:
        data = self.people.use(self.people.roster())
        file = RosterFile(data)
        for one in self.people.sign(data):
            file = file.with_signature((one.root, one.signature))
        path = self.work / "roster"
        path.write_text(file.render())
        self.must("officer", "roster", "install", self.tenants[0], str(path))

    def order(self, action: str, parameters: dict[str, Any], *by: str) -> Path:
        data = self.people.order(action, parameters).encode()
        file = OrderFile(data)
        for approval in approvals_of(self.people.by(data, *by)):
            file = file.with_approval(approval)
        path = self.work / f"{action}.order"
        path.write_text(file.render())
        return path


class Others(threading.Thread):
    """Delivers to one of the other cells by SMTP and reads it by IMAP, over and over."""

    def __init__(self, cells: Cells, tenant: str) -> None:
        super().__init__(daemon=True)
        self.cells, self.tenant = cells, tenant
        self.stopped = threading.Event()
        self.rounds, self.errors, self.seconds = 0, list[str](), list[float]()

    def run(self) -> None:
        for number in itertools.count():
            if self.stopped.wait(PAUSE):
                return
            begin = time.monotonic()
            try:
                self._round(number)
                self.rounds += 1
                self.seconds.append(time.monotonic() - begin)
            except Exception as error:  # what is counted
                self.errors.append(f"{type(error).__name__}: {error}"[:200])

    def _round(self, number: int) -> None:
        end, to = self.cells.endpoints[self.tenant], f"reader@{self.tenant}.example"
        with smtplib.SMTP(end.address, end.mx, "client.example", timeout=30) as client:
            text = f"From: a@elsewhere.example\r\nTo: {to}\r\nSubject: n{number}\r\n\r\ntext\r\n"
            client.sendmail("a@elsewhere.example", [to], text)
        client = self.cells.imap(self.tenant, "reader")
        _, found = client.uid("SEARCH", "SUBJECT", f'"n{number}"')
        client.logout()
        if not found or not found[0]:
            raise AssertionError("what was delivered is not there")


def ended_after(client: imaplib.IMAP4_SSL, begin: list[float], found: list[float]) -> threading.Thread:
    """Watches a live session: appends the seconds from `begin` until its server said or closed something."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            client.sock.settimeout(60)
            client.sock.recv(1024)
            found.append(time.monotonic() - begin[0])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def measured(cells: Cells, victim: str, names: list[str], act: Callable[[], tuple[int, str, float]]) -> dict[str, Any]:
    """The act's status and seconds, and when each person's live IMAP session ended."""
    clients = [cells.imap(victim, name) for name in names]
    begin, ends = [0.0], list[float]()
    threads = [ended_after(client, begin, ends) for client in clients]
    time.sleep(0.5)
    begin[0] = time.monotonic()
    status, out, seconds = act()
    for thread in threads:
        thread.join(5)
    return {
        "exit": status, "command_seconds": seconds, "sessions": len(names), "sessions_ended": len(ends),
        "last_session_ended_seconds": max(ends, default=None), "said": out.strip().splitlines()[:6],
        "logins_after": sum(cells.admits(victim, name) for name in names[:3]),
    }  # fmt: skip


@contextlib.contextmanager
def ledger_killed(cells: Cells, victim: str) -> Iterator[None]:
    """Its ledger is killed whenever it is there."""
    over = threading.Event()

    def pid() -> int:
        rows = json.loads(cells_status(cells))["processes"]
        return next((r["pid"] or 0 for r in rows if (r["tenant"], r["compartment"]) == (victim, "ledger")), 0)

    def kill() -> None:
        while not over.wait(0.3):
            with contextlib.suppress(OSError, ValueError):
                if found := pid():
                    os.kill(found, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    time.sleep(1.5)
    try:
        yield
    finally:
        over.set()
        thread.join()


def cells_status(cells: Cells) -> str:
    """`status --json` from another process: output is redirected here."""
    command = [sys.executable, "-m", "bulkhead.cli.main", "status", "--json", "-C", str(cells.work)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def fill(folder: Path) -> Path:
    """Take the last octet of the file system that this folder is on."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 24, 1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
    return path


def emergency(cells: Cells, victim: str, names: list[str]) -> dict[str, Any]:
    """Ledger killed, disk full where it can be: stop, try to lift, make room, lift."""
    found: dict[str, Any] = {"disk_full": cells.mounted}
    with ledger_killed(cells, victim):
        filler = fill(cells.cell) if cells.mounted else None
        words = ("stop", victim, "--logins", "--sessions", "--outbound", "--reason", "emergency", "--json")
        found["stop"] = measured(cells, victim, names, lambda: cells.run(*words))
        surfaces = ("contain", victim, "logins", "--reason", "emergency", "--json")
        status, out, seconds = cells.run(*surfaces)
        found["contain"] = {"exit": status, "command_seconds": seconds, "said": out.strip().splitlines()[-3:]}
        status, out, seconds = cells.run("stop", victim, "--lift")
        found["lift_while_killed"] = {"exit": status, "seconds": seconds, "said": out.strip().splitlines()[-2:]}
        found["logins_while_lift_waits"] = sum(cells.admits(victim, name) for name in names[:3])
        if filler is not None:
            filler.unlink()
    time.sleep(5)
    for words in (
        ("stop", victim, "--lift"),
        ("stop", victim, "--lift", "--outbound"),
        ("contain", victim, "logins", "--lift"),
    ):
        for _ in range(10):
            status, out, _ = cells.run(*words)
            if not status:
                break
            time.sleep(2)
        found["lifted " + " ".join(words[2:])] = {"exit": status, "said": out.strip().splitlines()[-2:]}
    found["logins_after_lift"] = sum(cells.admits(victim, name) for name in names[:3])
    return found


def orders(cells: Cells, victim: str, names: list[str], ids: Path, digest: str) -> dict[str, Any]:
    """Each stop by a signed order on the command line, and its lift."""
    people = [("ada",), ("ada", "sec")]
    found: dict[str, Any] = {}
    of_set = {"surfaces": int(Surface.LOGINS | Surface.OUTBOUND), "accounts": digest}
    for name, action, parameters, lift in (
        ("logins and outbound of a set", "stop-surfaces", of_set, "lift-surfaces"),
        ("logins of all", "stop-logins", {}, "lift-logins"),
        ("sessions of all", "end-sessions", {}, ""),
        ("outbound of all", "stop-outbound", {}, "lift-outbound"),
    ):
        more = ("--accounts", str(ids)) if parameters else ()
        order = cells.order(action, parameters, *people[0])
        found[name] = measured(
            cells,
            victim,
            names,
            lambda order=order, more=more: cells.run("officer", "order", "submit", victim, str(order), *more),
        )  # type: ignore[misc]  # mypy cannot infer defaults
        if parameters:
            cells.send(victim, "outsider", f"reader@{cells.tenants[-1]}.example")
            found[name]["outsider_logs_in"] = cells.admits(victim, "outsider")
        if lift:
            back = cells.order(lift, parameters, *people[1])
            status, out, seconds = cells.run("officer", "order", "submit", victim, str(back))
            found[name]["lift"] = {"exit": status, "seconds": seconds, "said": out.strip().splitlines()[-1:]}
    return found


def measure(cells: Cells, options: argparse.Namespace) -> dict[str, Any]:
    """Everything, while the other cells deliver and read."""
    victim = cells.tenants[0]
    names = [f"person{number}" for number in range(20)]
    ids = [cells.add(victim, name) for name in names]
    cells.add(victim, "outsider")
    for tenant in cells.tenants[1:]:
        cells.add(tenant, "reader")
    cells.install_roster()
    accounts = accounts_of(victim, options.accounts)
    drawn = random.Random(1).sample(range(len(accounts)), min(SET, len(accounts)) - len(ids))  # noqa: S311  # which accounts does not matter
    chosen = {parse_id("acc", one) for one in ids} | {bytes(accounts.ids[16 * at : 16 * at + 16]) for at in drawn}
    path = cells.work / "accounts.txt"
    path.write_text("".join(one.hex() + "\n" for one in sorted(chosen)))
    digest = hashlib.sha256(b"".join(sorted(chosen))).hexdigest()
    others = [Others(cells, tenant) for tenant in cells.tenants[1:]]
    for other in others:
        other.start()
    time.sleep(3)
    found: dict[str, Any] = {
        "set": len(chosen),
        "accounts": {name: len(accounts_of(name, options.accounts)) for name in cells.tenants},
    }
    try:
        found["orders"] = orders(cells, victim, names, path, digest)
        status, out, seconds = cells.run("contain", victim, "imap", "--accounts", str(path), "--preview", "--for", "3")
        found["preview"] = {"exit": status, "seconds": seconds, "said": out.strip().splitlines()}
        found["emergency"] = emergency(cells, victim, names)
    finally:
        for other in others:
            other.stopped.set()
        for other in others:
            other.join(60)
        found["others"] = {
            other.tenant: {
                "rounds": other.rounds, "errors": other.errors[:5], "error_count": len(other.errors),
                "median_seconds": statistics.median(other.seconds or [0]), "longest_seconds": max(other.seconds or [0]),
            }
            for other in others
        }  # fmt: skip
        print(json.dumps(found, indent=1), flush=True)
    return found


def main() -> None:
    """Build the installation, measure, remove it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="made, and removed at the end")
    parser.add_argument("--tenants", default=",".join(SHARES))
    parser.add_argument("--accounts", type=int, default=14_200_000, help="of the whole data, as it was built")
    parser.add_argument("--move", action="store_true")
    parser.add_argument("--image", type=float, default=0.0, metavar="GIB", help="size of the stopped cell's own disk")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": describe(options.data)}
    cells = Cells(options.work, options.data, options.tenants.split(","), options)
    try:
        found |= measure(cells, options)
    finally:
        cells.close()
        shutil.rmtree(options.work, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
