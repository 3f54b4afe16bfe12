"""What submit decides: who logs in, under which addresses they send, and where each recipient's copy goes."""

import asyncio
import secrets
from datetime import UTC, datetime
from time import monotonic

from bulkhead.boundary.messages.fields import AccountId
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_directory import BindingRow, CheckSender
from bulkhead.boundary.messages.to_keyring import EndSession, Session
from bulkhead.boundary.messages.to_store import COPIES_MAX, CheckRoom
from bulkhead.errors import TemporaryFailure
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import deliver
from bulkhead.gate.login import log_in
from bulkhead.gate.message import MessageText, run_aside
from bulkhead.gate.recipients import Domestic, find_recipient, refuse_loop, trace_of
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address, new_id
from bulkhead.submit.outbound import OutboundSealer
from bulkhead.submit.sessions import Logins
from bulkhead.wire.header import scan_fields
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp_codes import AUTH_INVALID, TOO_MANY_RECIPIENTS, Code, Status, reply
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.trace import format_date, return_path_field

PATIENCE_SECONDS = 60.0  # how long a store that is away is waited for once the queue has the message
PATIENCE_STEP_SECONDS = 1.0
NULL_SENDER = reply(Code.MAILBOX_NAME_INVALID, Status.NOT_AUTHORISED, "Send under an address of yours")


class SubmitPolicy:
    """One session's decisions."""

    def __init__(self, domestic: Domestic, connection: Connection, outbound: OutboundSealer, logins: Logins) -> None:
        self._domestic, self._connection, self._outbound, self._logins = domestic, connection, outbound, logins
        self._name, self._extended = "", False
        self._account: AccountId | None = None
        self._session: Session | None = None
        self._sender: Address | None = None
        self._size, self._utf8 = 0, False
        self._local: dict[bytes, BindingRow] = {}
        self._remote: dict[str, Address] = {}

    async def hello(self, name: str, extended: bool) -> None:
        """Any name will do."""
        self._name, self._extended = name, extended

    async def login(self, credentials: Credentials) -> None:
        """Both halves of the check; nobody acts for another. The session opens no key."""
        if credentials.authzid and credentials.authzid != credentials.authcid:
            raise Rejection(AUTH_INVALID)
        exchange, source = self._domestic.exchange, self._connection.source
        account, session = await log_in(exchange, credentials.authcid, credentials.password, Scope.SUBMIT, source)
        self._account, self._session = account, session
        self._connection.set_lifetime(None)
        self._logins.begin(session.handle, self._end)

    async def mail(self, event: MailFrom) -> None:
        """The reverse-path must be an address of the account."""
        self.reset()
        if event.reverse_path is None or self._account is None:
            raise Rejection(NULL_SENDER)
        await self._domestic.exchange.to("directory").call(CheckSender(self._account, str(event.reverse_path)))
        self._sender, self._size = event.reverse_path, event.size or 0
        self._utf8 = event.utf8

    async def recipient(self, event: RcptTo) -> None:
        """Local ones by their mailbox, all others by the queue."""
        binding = await find_recipient(self._domestic, event.address, self._size)
        if binding is not None:
            if len(self._local) >= COPIES_MAX and binding.account not in self._local:
                raise Rejection(TOO_MANY_RECIPIENTS)
            self._local[binding.account] = binding
        elif event.address is not None:
            self._remote[str(event.address)] = event.address

    async def message(self, text: MessageText) -> str:
        """Into the queue and into mailboxes."""
        sender = self._sender
        if sender is None:
            raise Rejection(NULL_SENDER)
        header = text.header()
        refuse_loop(header)
        mail_id = secrets.token_hex(8)
        recipients = len(self._local) + len(self._remote)
        trace = trace_of(
            self._domestic,
            self._connection,
            hello=self._name,
            extended=self._extended,
            authenticated=True,
            mail_id=mail_id,
            utf8=self._utf8,
            recipient=next(iter(self._remote.values())) if recipients == 1 and self._remote else None,
        )
        now = self._domestic.clock()
        added = missing_fields(header, mail_id, str(self._domestic.hostname), datetime.fromtimestamp(now, UTC))
        message = await text.join(trace + added)
        if self._remote:
            await self._enqueue(sender, message)
        if self._local:
            parts = (return_path_field(sender), message)
            mine = await run_aside(len(message), lambda: b"".join(parts))
            await self._deliver(mine, int(now), patient=bool(self._remote))
        return f"Accepted as {mail_id}"

    async def _enqueue(self, sender: Address, message: bytes) -> None:
        exchange = self._domestic.exchange
        for binding in self._local.values():  # what is queued cannot be taken back: look for room before it is
            await exchange.to("store").call(CheckRoom(binding.account, len(message)))
        await self._outbound.enqueue(exchange, sender, list(self._remote.values()), message)

    async def _deliver(self, message: bytes, now: int, *, patient: bool) -> None:
        """patient: the queue has the message already, so a store that is away is waited for: a client that is told to
        try again would send the queue's recipients a second copy.
        """
        bindings, request_id = list(self._local.values()), new_id()
        until = monotonic() + (PATIENCE_SECONDS if patient else 0.0)
        while True:
            try:
                return await deliver(
                    self._domestic.exchange,
                    self._domestic.sealer,
                    bindings,
                    message,
                    now,
                    actor="submit",
                    request_id=request_id,
                )
            except TemporaryFailure:
                if monotonic() >= until:
                    raise
            await asyncio.sleep(PATIENCE_STEP_SECONDS)

    async def leave(self) -> None:
        """The session at keyring ends with the connection."""
        if self._session is not None and self._logins.leave(self._session.handle):
            await self._domestic.exchange.to("keyring").call(EndSession(self._session.handle))

    def _end(self) -> None:
        """The login is over: no further transaction, and the client is told at its next turn."""
        self._account = None
        self._connection.interrupt()

    def reset(self) -> None:
        """Forget the transaction; the login stays."""
        self._sender, self._size, self._utf8 = None, 0, False
        self._local, self._remote = {}, {}


def missing_fields(header: bytes, mail_id: str, hostname: str, now: datetime) -> bytes:
    """Date and Message-ID, each where the header has none (RFC 6409 section 8)."""
    names = {found[0] for found in scan_fields(header, 0, len(header))}
    added = b""
    if b"message-id" not in names:
        added += f"Message-ID: <{mail_id}.{int(now.timestamp())}@{hostname}>\r\n".encode("ascii")
    if b"date" not in names:
        added += f"Date: {format_date(now)}\r\n".encode("ascii")
    return added
