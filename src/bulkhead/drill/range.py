"""The range: an installation whose accounts and mail are all canaries, its hostile twins, and its honest clients.

What a probe is given. It blocks and belongs to one thread. `bulkhead.drill.scratch` makes one.
"""

import contextlib
import imaplib
import poplib
import secrets
import shutil
import smtplib
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bulkhead.boundary.messages.fields import Reply, Request
from bulkhead.cli.road import open_road, wait_for
from bulkhead.cli.status import status_rows
from bulkhead.config import Installation, load_installation
from bulkhead.demo.endpoints import Endpoint, endpoints_of, inbox, mx, submission, trust
from bulkhead.demo.people import ACTIVE, Subscriber
from bulkhead.drill.client import TwinClient
from bulkhead.drill.semantic import Mode
from bulkhead.supervisor.layout import Layout

OUTSIDE = "outside.example"
CLIENT_SECONDS = 20.0
POLL_SECONDS = 0.05
R = TypeVar("R", bound=Reply)


@dataclass(frozen=True, slots=True)
class Letter:
    """A canary message: `token` (32 hex digits) stands in its subject and in its text. name: `address/number`."""

    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Account:
    """A canary account. status: as in `bulkhead.demo.people`.   letters: what lies in its INBOX, oldest first."""

    tenant: str
    address: str
    password: str = field(repr=False)
    status: str
    letters: tuple[Letter, ...] = ()

    @property
    def subscriber(self) -> Subscriber:
        """As the demonstration's clients want it."""
        return Subscriber(self.tenant, self.address, self.password, self.status)


class Range:
    """home: the tenant whose compartments are hostile.   queued: what waits in the queue of each tenant.

    mode: how many live sessions a hostile worker has; `sessions` says whose. Sets may only grow while probes run: a
    probe that uses up a canary (deletes a message, closes an account) makes its own with `deliver`, or in `scratch`.
    tls: what its clients trust; the installation's own CA where it is None.
    """

    def __init__(
        self, directory: Path, home: str, canaries: Sequence[Account], queued: Mapping[str, Sequence[Letter]],
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.home = home
        self.mode = Mode.DEFAULT
        self.queued = {tenant: tuple(letters) for tenant, letters in queued.items()}
        self.installation: Installation = load_installation(directory)
        self.tenants = tuple(str(tenant) for tenant in self.installation.tenants)
        self.endpoints: dict[str, Endpoint] = endpoints_of(self.installation)
        self.tls: ssl.SSLContext = tls or trust(directory)
        self._canaries = list(canaries)
        self._twins: dict[tuple[str, str], TwinClient] = {}
        self._scratch: list[str] = []

    # --- canaries -------------------------------------------------------------------------------------------------

    def accounts(self, tenant: str = "", status: str = ACTIVE) -> list[Account]:
        """Accounts of a tenant, or of all; of one status, or of any where it is empty."""
        return [a for a in self._canaries if tenant in {"", a.tenant} and status in {"", a.status}]

    def account(self, address: str) -> Account:
        """The account of an address. Raises KeyError."""
        for account in self._canaries:
            if account.address == address:
                return account
        raise KeyError(address)

    @property
    def others(self) -> tuple[str, ...]:
        """The tenants that are not at home here."""
        return tuple(tenant for tenant in self.tenants if tenant != self.home)

    def addresses(self, tenant: str = "") -> frozenset[str]:
        """Every address that stands in a directory."""
        return frozenset(account.address for account in self.accounts(tenant, ""))

    def letters(self, tenant: str = "") -> tuple[Letter, ...]:
        """Every canary message in a mailbox."""
        return tuple(letter for account in self.accounts(tenant) for letter in account.letters)

    @property
    def sessions(self) -> list[Account]:
        """Whose sessions are live in a hostile worker at home: everybody's but the last's, or one in strict mode.

        The last one never logs in through a hostile worker: its mail is what a session of another worker opens.
        """
        active = self.accounts(self.home)
        return active[:1] if self.mode is Mode.STRICT else active[:-1]

    @property
    def stranger(self) -> Account:
        """The account at home that never has a session in a hostile worker."""
        return self.accounts(self.home)[-1]

    def owner(self, name: str) -> str:
        """The tenant whose canary this is: by its address or its first part; whoever is at home where neither says."""
        head = name.partition("/")[0]
        if head in self.tenants:
            return head
        return next((account.tenant for account in self._canaries if account.address == head), self.home)

    # --- the hostile side -----------------------------------------------------------------------------------------

    def twin(self, compartment: str, tenant: str = "") -> TwinClient:
        """A twin that stays for further probes; a fresh one where the last has ended. Raises as TwinClient."""
        key = (tenant or self.home, compartment)
        twin = self._twins.get(key)
        if twin is None or twin.ask("edge-names")["answer"] != "succeeded":
            twin = self._twins[key] = self.fresh_twin(compartment, tenant)
        return twin

    def fresh_twin(self, compartment: str, tenant: str = "") -> TwinClient:
        """A twin of this probe's own: close it. At most 32 live in a cell at a time."""
        return TwinClient(self.layout(tenant or self.home), compartment)

    def end_twins(self) -> None:
        """End those that stayed."""
        for twin in self._twins.values():
            twin.close()
        self._twins.clear()

    def layout(self, tenant: str) -> Layout:
        """Where a cell keeps what: for probes that play the thief, or change what a holder finds on disk."""
        return Layout(self.directory, self.installation.tenant(tenant).id)

    def scratch(self) -> Path:
        """A fresh directory that goes with the range."""
        self._scratch.append(tempfile.mkdtemp(prefix="bh-", dir=self.directory.parent))
        return Path(self._scratch[-1])

    # --- the honest side ------------------------------------------------------------------------------------------

    def ask(self, tenant: str, compartment: str, request: Request[R]) -> R:
        """Ask an honest holder over the operator's console, where PEERS gives it an edge. Raises errors.Error."""

        async def once() -> R:
            async with open_road(str(self.directory), tenant) as road:
                return await road.ask(compartment, request)

        return wait_for(once())

    def processes(self, tenant: str = "") -> list[dict[str, Any]]:
        """Rows of `bulkhead status`, without twins."""
        rows = status_rows(self.installation)[1]
        return [row for row in rows if tenant in {"", row["tenant"]} and not row["twin"]]

    @contextlib.contextmanager
    def imap(self, account: Account, *, readonly: bool = True) -> Iterator[imaplib.IMAP4_SSL]:
        """A logged-in IMAP client with INBOX selected. Raises imaplib.IMAP4.error, OSError."""
        with inbox(self.endpoints[account.tenant], self.tls, account.subscriber, readonly=readonly) as client:
            yield client

    @contextlib.contextmanager
    def pop3(self, account: Account) -> Iterator[poplib.POP3_SSL]:
        """A logged-in POP3 client. Raises poplib.error_proto, OSError."""
        end = self.endpoints[account.tenant]
        client = poplib.POP3_SSL(end.address, end.pop3s, context=self.tls, timeout=CLIENT_SECONDS)
        try:
            client.user(account.address)
            client.pass_(account.password)
            yield client
        finally:
            with contextlib.suppress(poplib.error_proto, OSError):
                client.quit()

    @contextlib.contextmanager
    def submission(self, account: Account) -> Iterator[smtplib.SMTP]:
        """A logged-in submission client. Raises smtplib.SMTPException, OSError."""
        with submission(self.endpoints[account.tenant], self.tls, account.subscriber) as client:
            yield client

    @contextlib.contextmanager
    def mx(self, tenant: str) -> Iterator[smtplib.SMTP]:
        """A client of the MX port. Raises smtplib.SMTPException, OSError."""
        with mx(self.endpoints[tenant], f"mx.{OUTSIDE}") as client:
            yield client

    def deliver(self, account: Account, token: str = "") -> str:
        """One message by the MX port, accepted; its token. Raises smtplib.SMTPException, OSError."""
        token = token or secrets.token_hex(16)
        with self.mx(account.tenant) as client:
            author = f"friend@{OUTSIDE}"
            client.sendmail(author, [account.address], letter_octets(author, account.address, token))
        return token

    def subjects(self, account: Account) -> list[str]:
        """The subjects in INBOX, as IMAP tells them."""
        with self.imap(account) as client:
            _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            lines = [bytes(item[1]).decode("utf-8", "replace") for item in answer if isinstance(item, tuple)]
            return [line.partition(":")[2].strip() for line in lines]

    def arrives(self, account: Account, token: str, seconds: float = 10.0) -> bool:
        """Whether a message with this token is, or comes, into INBOX."""
        deadline = time.monotonic() + seconds
        while not any(token in subject for subject in self.subjects(account)):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def intact(self, account: Account) -> frozenset[str]:
        """Names of the account's canary messages that are in INBOX."""
        subjects = self.subjects(account)
        return frozenset(letter.name for letter in account.letters if any(letter.token in text for text in subjects))

    def close(self) -> None:
        """End the twins and remove what probes made. Whoever made the installation stops it."""
        self.end_twins()
        for path in self._scratch:
            shutil.rmtree(path, ignore_errors=True)


def letter_octets(author: str, recipient: str, token: str) -> bytes:
    """A canary message."""
    head = f"From: <{author}>\r\nTo: <{recipient}>\r\nSubject: Canary {token}\r\nMessage-ID: <{token}@{OUTSIDE}>"
    return f"{head}\r\nDate: Wed, 17 Jun 2026 09:00:00 +0900\r\n\r\nCanary {token}, in its text.\r\n".encode("ascii")
