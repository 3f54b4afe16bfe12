"""What submit decides: who logs in, under which addresses they send, and where each recipient's copy goes."""

import secrets
from datetime import UTC, datetime

from bulkhead.boundary.messages.fields import AccountId
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_directory import CheckSender, Reverse
from bulkhead.boundary.messages.to_keyring import EndSession, Session
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import deliver_patiently
from bulkhead.gate.forwards import Destinations
from bulkhead.gate.login import log_in
from bulkhead.gate.message import MessageText, run_aside
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.gate.recipients import Domestic, find_recipients, refuse_loop, require_room, trace_of
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address
from bulkhead.submit.confirm import confirm
from bulkhead.submit.sessions import Logins
from bulkhead.wire.header import scan_fields
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp_codes import AUTH_INVALID, Code, Status, reply
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.smtp_notify import Notify, Wish
from bulkhead.wire.trace import format_date, return_path_field

LOGIN_OVER = reply(Code.LOCAL_ERROR, Status.TEMPORARY_AUTH_FAILURE, "Your login has ended; log in again")
NULL_SENDER = reply(Code.MAILBOX_NAME_INVALID, Status.NOT_AUTHORISED, "Send under an address of yours")


class SubmitPolicy:
    """One session's decisions."""

    def __init__(self, domestic: Domestic, connection: Connection, outbound: OutboundSealer, logins: Logins) -> None:
        self._domestic, self._connection, self._outbound, self._logins = domestic, connection, outbound, logins
        self._name, self._extended = "", False
        self._account: AccountId | None = None
        self._session: Session | None = None
        self._mail: MailFrom | None = None
        self._local = Destinations()
        self._remote: dict[str, tuple[Address, Wish]] = {}
        self._confirmed: dict[str, tuple[Address, Wish]] = {}  # local ones of whose delivery the sender is told

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
        self._mail = event

    async def recipient(self, event: RcptTo) -> None:
        """Local ones by their mailbox, all others by the queue."""
        size = 0 if self._mail is None else self._mail.size or 0
        address, wish = event.address, event.wish
        reached = await find_recipients(self._domestic, address, size, Reverse.GIVEN)
        if reached is not None:
            self._local.add(reached)
            if reached.bindings and address is not None and wish.notify.wants(Notify.SUCCESS):
                self._confirmed[str(address)] = address, wish
        elif address is not None:
            self._remote[str(address)] = address, wish

    async def message(self, text: MessageText) -> str:
        """Into the queue and into mailboxes."""
        mail, account = self._mail, self._account
        if mail is None or mail.reverse_path is None:
            raise Rejection(NULL_SENDER)
        if account is None:  # it ended within this transaction: nobody's mail would pass every stop and limit
            raise Rejection(LOGIN_OVER)
        header = text.header()
        refuse_loop(header)
        mail_id = secrets.token_hex(8)
        recipients = len(self._local.mailboxes) + len(self._local.forwards) + len(self._remote)
        trace = trace_of(
            self._domestic,
            self._connection,
            hello=self._name,
            extended=self._extended,
            authenticated=True,
            mail_id=mail_id,
            utf8=mail.utf8,
            recipient=next(iter(self._remote.values()))[0] if recipients == 1 and self._remote else None,
        )
        now = self._domestic.clock()
        added = missing_fields(header, mail_id, str(self._domestic.hostname), datetime.fromtimestamp(now, UTC))
        message = await text.join(trace + added)
        local, exchange = self._local, self._domestic.exchange
        if self._remote or local.forwards:
            await require_room(self._domestic, local.mailboxes.values(), len(message))
        if self._remote:
            await self._enqueue(mail, account, message)
        if local.forwards:
            has = bool(self._remote)
            await local.send_on(exchange, self._outbound, message, header, actor="submit", utf8=mail.utf8, queued=has)
        if local.mailboxes:
            parts = (return_path_field(mail.reverse_path), message)
            mine = await run_aside(len(message), lambda: b"".join(parts))
            queued = bool(self._remote or local.forwards)
            bindings = list(local.mailboxes.values())
            await deliver_patiently(
                exchange, self._domestic.sealer, bindings, mine, int(now), actor="submit", queued=queued
            )
            await confirm(self._domestic, mail, list(self._confirmed.values()), header, int(now))
        return f"Accepted as {mail_id}"

    async def _enqueue(self, mail: MailFrom, account: AccountId, message: bytes) -> None:
        if mail.reverse_path is None:
            raise Rejection(NULL_SENDER)
        await self._outbound.enqueue(
            self._domestic.exchange,
            mail.reverse_path,
            [address for address, _ in self._remote.values()],
            message,
            account=account,
            wishes=[wish for _, wish in self._remote.values()],
            ret=mail.ret.value if mail.ret else "",
            envid=mail.envid,
            utf8=mail.utf8,
        )

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
        self._mail = None
        self._local, self._remote, self._confirmed = Destinations(), {}, {}


def missing_fields(header: bytes, mail_id: str, hostname: str, now: datetime) -> bytes:
    """Date and Message-ID, each where the header has none (RFC 6409 section 8)."""
    names = {found[0] for found in scan_fields(header, 0, len(header))}
    added = b""
    if b"message-id" not in names:
        added += f"Message-ID: <{mail_id}.{int(now.timestamp())}@{hostname}>\r\n".encode("ascii")
    if b"date" not in names:
        added += f"Date: {format_date(now)}\r\n".encode("ascii")
    return added
