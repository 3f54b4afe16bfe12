"""A real installation for tests: real cells in their own processes, on loopback addresses of this test run alone."""

import contextlib
import imaplib
import itertools
import json
import os
import poplib
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.cli.status import status_rows
from bulkhead.config import load_installation, set_value
from bulkhead.config.values import Value
from bulkhead.demo.endpoints import Endpoint, endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.identifiers import DomainName, TenantId

PORTS: dict[str, Value] = {
    "listen.mx": 2525, "listen.submissions": 4465, "listen.submission": 4587, "listen.imaps": 4993,
    "listen.pop3s": 4995, "listen.console": 4443, "courier.port": 2525,
    "mx.workers": 1, "submit.workers": 1, "access.workers": 1,
}  # fmt: skip
PASSWORD = "correct horse battery staple"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A subscriber of the installation."""

    tenant: str
    address: str
    password: str = PASSWORD


_INSTALLATIONS = itertools.count()


def free_number() -> int:
    """A number below 25,000 that no other run, and no other installation of this one, uses at this moment."""
    return (os.getpid() + 7919 * next(_INSTALLATIONS)) % 25_000


def free_network() -> str:
    """The first three numbers of a loopback network, free in the same way."""
    return network_of(free_number())


def uid_base_of(number: int) -> int:
    """User ids of a free number: the kernel counts threads per uid, over all installations of the machine."""
    return 300_000 + number * 1024


def network_of(number: int) -> str:
    """The network of a free number."""
    return f"127.{100 + number // 250}.{number % 250 + 2}"


class Live:
    """An installation and its clients. Tenants are named t0, t1, ... under t0.example, ..."""

    def __init__(self, directory: Path, tenants: int = 2, settings: dict[str, Value] | None = None) -> None:
        self.directory = directory
        number = free_number()
        network = network_of(number)
        new = [
            NewTenant(
                TenantId(f"t{slot}"), slot, DomainName(f"t{slot}.example"), f"{network}.{slot + 1}", f"Tenant {slot}",
                PORTS | {"courier.allow_networks": (f"{network}.0/24",), "resolver.zone_file": "example.zone",
                         "auth.failure_seconds": 0.3, "queue.retry_first_seconds": 1,
                         "backups.canaries": 0,  # tests count what a backup has
                         **(settings or {})},
            )
            for slot in range(tenants)
        ]  # fmt: skip
        make_installation(directory, "Test carrier", new)
        set_value(directory, "bulkhead.toml", "uid_base", uid_base_of(number))
        self.tenants = [str(tenant.id) for tenant in new]
        self.running = Running(directory)
        self.running.wait_ready()
        self.endpoints: dict[str, Endpoint] = endpoints_of(load_installation(directory))
        self.tls: ssl.SSLContext = trust(directory)
        self._made = 0

    # --- the command line -----------------------------------------------------------------------------------------

    def command(
        self, *arguments: str, given: bytes = b"", check: bool = True, timeout: float = 60.0
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run `bulkhead ARGUMENTS -C DIR`."""
        command = [sys.executable, "-m", "bulkhead.cli.main", *arguments, "-C", str(self.directory)]
        done = subprocess.run(command, input=given, capture_output=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr.decode()} {done.stdout.decode()}")
        return done

    def json(self, *arguments: str, check: bool = True) -> Any:
        """What a command says with --json."""
        return json.loads(self.command(*arguments, "--json", check=check).stdout)

    def set(self, tenant: str, key: str, value: Value) -> None:
        """Change one setting in the tenant's file."""
        set_value(self.directory, f"tenants/{tenant}.toml", key, value)

    def add(self, tenant: str, names: Sequence[str]) -> list[Mailbox]:
        """Make accounts with the common password."""
        made = [Mailbox(tenant, f"{name}@{tenant}.example") for name in names]
        lines = "".join(f"{mailbox.address},{mailbox.password}\n" for mailbox in made)
        self.command("account", "add", tenant, "--from-file", "-", given=lines.encode())
        return made

    def mailbox(self, tenant: str = "t0") -> Mailbox:
        """A fresh mailbox."""
        self._made += 1
        return self.add(tenant, [f"user{self._made}"])[0]

    # --- processes ------------------------------------------------------------------------------------------------

    def processes(self, tenant: str = "") -> list[dict[str, Any]]:
        """The rows of `status`; without another process, and without what only auth and ledger can say."""
        rows = status_rows(load_installation(self.directory))[1]
        return [row for row in rows if not tenant or row["tenant"] == tenant]

    def cells(self) -> list[dict[str, Any]]:
        """Its other rows: one a tenant."""
        return status_rows(load_installation(self.directory))[0]

    def pid(self, tenant: str, compartment: str, worker: int = 0) -> int:
        """The pid of a compartment now; 0 while it restarts."""
        for row in self.processes(tenant):
            if row["compartment"] == compartment and row["worker"] == worker:
                return int(row["pid"] or 0)
        return 0

    def wait_pid(
        self, tenant: str, compartment: str, other_than: int, seconds: float = 60.0, *, worker: int | None = None
    ) -> int:
        """The pid of a compartment once it is another process and started."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for row in self.processes(tenant):
                is_it = row["compartment"] == compartment and worker in (None, row["worker"])
                if is_it and row["state"] == "started" and row["pid"] != other_than:
                    return int(row["pid"])
            time.sleep(0.1)
        raise AssertionError(f"{compartment} of {tenant} did not come back")

    # --- clients --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def imap(self, mailbox: Mailbox, folder: str = "INBOX") -> Iterator[imaplib.IMAP4_SSL]:
        """A logged-in IMAP client with a mailbox selected ("" for none)."""
        endpoint = self.endpoints[mailbox.tenant]
        client = imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=self.tls, timeout=SECONDS)
        try:
            client.login(mailbox.address, mailbox.password)
            if folder:
                client.select(folder)
            yield client
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                client.logout()

    @contextlib.contextmanager
    def pop3(self, mailbox: Mailbox) -> Iterator[poplib.POP3_SSL]:
        """A logged-in POP3 client."""
        endpoint = self.endpoints[mailbox.tenant]
        client = poplib.POP3_SSL(endpoint.address, endpoint.pop3s, context=self.tls, timeout=SECONDS)
        try:
            client.user(mailbox.address)
            client.pass_(mailbox.password)
            yield client
        finally:
            with contextlib.suppress(poplib.error_proto, OSError):
                client.quit()

    @contextlib.contextmanager
    def mx(self, tenant: str = "t0") -> Iterator[smtplib.SMTP]:
        """A client of the MX port."""
        endpoint = self.endpoints[tenant]
        with smtplib.SMTP(endpoint.address, endpoint.mx, "client.example", timeout=SECONDS) as client:
            yield client

    @contextlib.contextmanager
    def submission(self, mailbox: Mailbox) -> Iterator[smtplib.SMTP]:
        """A logged-in submission client."""
        endpoint = self.endpoints[mailbox.tenant]
        with smtplib.SMTP_SSL(endpoint.address, endpoint.submissions, timeout=SECONDS, context=self.tls) as client:
            client.login(mailbox.address, mailbox.password)
            yield client

    def deliver(self, to: Mailbox, subject: str = "hello", body: str = "text") -> None:
        """One message by the MX port."""
        with self.mx(to.tenant) as client:
            text = f"From: a@elsewhere.example\r\nTo: {to.address}\r\nSubject: {subject}\r\n\r\n{body}\r\n"
            client.sendmail("a@elsewhere.example", [to.address], text)

    def subjects(self, mailbox: Mailbox) -> list[str]:
        """The subjects in INBOX."""
        with self.imap(mailbox) as client:
            _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            found = [bytes(item[1]).decode() for item in answer if isinstance(item, tuple)]
            return [text.partition(":")[2].strip() for text in found]

    def wait_subject(self, mailbox: Mailbox, subject: str, seconds: float = 60.0) -> None:
        """Wait until a message with this subject is in INBOX."""
        end = time.monotonic() + seconds
        while subject not in self.subjects(mailbox):
            if time.monotonic() > end:
                raise AssertionError(f"{subject!r} did not arrive at {mailbox.address}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop every cell."""
        self.running.stop()
