"""What submit decides: who logs in, under which addresses they send, and where each recipient's copy goes."""

import secrets
from datetime import UTC, datetime

from bulkhead.boundary.messages.fields import AccountId
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_directory import BindingRow, CheckSender
from bulkhead.boundary.messages.to_keyring import EndSession, Session
from bulkhead.gate.delivery import deliver
from bulkhead.gate.login import log_in
from bulkhead.gate.recipients import Domestic, find_recipient, refuse_loop, trace_of
from bulkhead.gate.serve import Connection
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address
from bulkhead.submit.outbound import OutboundSealer
from bulkhead.wire.header import header_end, scan_fields
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp_codes import AUTH_INVALID, Code, Status, reply
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.trace import format_date, return_path_field

NULL_SENDER = reply(Code.MAILBOX_NAME_INVALID, Status.NOT_AUTHORISED, "Send under an address of yours")


class SubmitPolicy:
    """One session's decisions."""

    def __init__(
        self, domestic: Domestic, connection: Connection, outbound: OutboundSealer, idle_seconds: float
    ) -> None:
        self._domestic, self._connection, self._outbound = domestic, connection, outbound
        self._idle_seconds = idle_seconds
        self._name, self._extended = "", False
        self._account: AccountId | None = None
        self._session: Session | None = None
        self._sender: Address | None = None
        self._size = 0
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
        self._connection.set_idle_seconds(self._idle_seconds)

    async def mail(self, event: MailFrom) -> None:
        """The reverse-path must be an address of the account."""
        self.reset()
        if event.reverse_path is None or self._account is None:
            raise Rejection(NULL_SENDER)
        await self._domestic.exchange.to("directory").call(CheckSender(self._account, str(event.reverse_path)))
        self._sender, self._size = event.reverse_path, event.size or 0

    async def recipient(self, event: RcptTo) -> None:
        """Local ones by their mailbox, all others by the queue."""
        binding = await find_recipient(self._domestic, event.address, self._size)
        if binding is not None:
            self._local[binding.account] = binding
        elif event.address is not None:
            self._remote[event.address.key] = event.address

    async def message(self, data: bytes) -> str:
        """Queue first, then mailboxes: what fails after the first is refused, and the client hands it over again."""
        sender = self._sender
        if sender is None:
            raise Rejection(NULL_SENDER)
        refuse_loop(data)
        mail_id = secrets.token_hex(8)
        recipients = len(self._local) + len(self._remote)
        trace = trace_of(
            self._domestic,
            self._connection,
            hello=self._name,
            extended=self._extended,
            authenticated=True,
            mail_id=mail_id,
            recipient=next(iter(self._remote.values())) if recipients == 1 and self._remote else None,
        )
        now = self._domestic.clock()
        message = trace + complete(data, mail_id, str(self._domestic.hostname), datetime.fromtimestamp(now, UTC))
        if self._remote:
            await self._outbound.enqueue(self._domestic.exchange, sender, list(self._remote.values()), message)
        if self._local:
            mine = return_path_field(sender) + message
            bindings = list(self._local.values())
            await deliver(self._domestic.exchange, self._domestic.sealer, bindings, mine, int(now), actor="submit")
        return f"Accepted as {mail_id}"

    async def leave(self) -> None:
        """The session at keyring ends with the connection."""
        if self._session is not None:
            await self._domestic.exchange.to("keyring").call(EndSession(self._session.handle))

    def reset(self) -> None:
        """Forget the transaction; the login stays."""
        self._sender, self._size = None, 0
        self._local, self._remote = {}, {}


def complete(message: bytes, mail_id: str, hostname: str, now: datetime) -> bytes:
    """The message with Date and Message-ID added where it has none (RFC 6409 section 8)."""
    names = {found[0] for found in scan_fields(message, 0, header_end(message, 0, len(message)))}
    added = b""
    if b"message-id" not in names:
        added += f"Message-ID: <{mail_id}.{int(now.timestamp())}@{hostname}>\r\n".encode("ascii")
    if b"date" not in names:
        added += f"Date: {format_date(now)}\r\n".encode("ascii")
    return added + message
