"""What mx decides: local recipients only, room in the mailbox, then one durable delivery for all of them.

What an account forwards to other servers goes to the queue with directory's statement, and by no other way.
"""

import secrets

from bulkhead.boundary.messages.to_directory import Reverse
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import deliver_patiently
from bulkhead.gate.forwards import Destinations
from bulkhead.gate.message import MessageText, run_aside
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.gate.recipients import (
    NO_RELAY,
    NO_SUCH_MAILBOX,
    Domestic,
    find_recipients,
    refuse_loop,
    require_room,
    trace_of,
)
from bulkhead.gate.serve import source_key
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp_codes import AUTH_INVALID, Code, reply
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.trace import return_path_field

UNKNOWN_MAX = 50  # recipients that do not exist, in one connection
TOO_MANY_MESSAGES = reply(Code.MAILBOX_BUSY, "4.7.1", "Too many messages from you; try again later")
TOO_MANY_NAMED = reply(Code.MAILBOX_BUSY, "4.7.1", "Too many recipients from you; try again later")
TOO_MANY_UNKNOWN = reply(Code.UNAVAILABLE, "4.7.1", "Too many unknown recipients; closing")


class MxPolicy:
    """One session's decisions."""

    def __init__(self, domestic: Domestic, connection: Connection, outbound: OutboundSealer) -> None:
        self._domestic, self._connection, self._outbound = domestic, connection, outbound
        self._rates, self._source = domestic.rates, source_key(connection.source)
        self._unknown = 0  # recipients named in this session that do not exist
        self._name, self._extended = "", False
        self._sender: Address | None = None
        self._size, self._utf8 = 0, False
        self._recipients = Destinations()
        self._addresses: list[Address | None] = []

    async def hello(self, name: str, extended: bool) -> None:
        """Any name will do: it is told on, not believed."""
        self._name, self._extended = name, extended

    async def login(self, credentials: Credentials) -> None:
        """Nobody logs in here."""
        raise Rejection(AUTH_INVALID)

    async def mail(self, event: MailFrom) -> None:
        """Any sender may try."""
        self.reset()
        if not self._rates.messages.take(self._source):
            raise Rejection(TOO_MANY_MESSAGES)
        self._sender, self._size = event.reverse_path, event.size or 0
        self._utf8 = event.utf8

    async def recipient(self, event: RcptTo) -> None:
        """Local and open. A source that guesses is sent away, and for the rest of the minute told nothing."""
        if not self._rates.unknown.left(self._source) or not self._rates.recipients.take(self._source):
            raise Rejection(TOO_MANY_NAMED)
        try:
            reverse = Reverse.NULL if self._sender is None else Reverse.GIVEN
            reached = await find_recipients(self._domestic, event.address, self._size, reverse)
        except Rejection as rejection:
            if rejection.reply is NO_SUCH_MAILBOX:
                self._guessed()
            raise
        if reached is None:
            raise Rejection(NO_RELAY)
        self._recipients.add(reached)
        self._addresses.append(event.address)

    def _guessed(self) -> None:
        """Count an unknown recipient. Raises Rejection, which ends the session, past UNKNOWN_MAX."""
        self._unknown += 1
        self._rates.unknown.take(self._source)
        if self._unknown > UNKNOWN_MAX:
            raise Rejection(TOO_MANY_UNKNOWN)

    async def message(self, text: MessageText) -> str:
        """Trace fields on top, into the queue what goes on to other servers, then into every mailbox at once."""
        header = text.header()
        refuse_loop(header)
        mail_id = secrets.token_hex(8)
        trace = trace_of(
            self._domestic,
            self._connection,
            hello=self._name,
            extended=self._extended,
            authenticated=False,
            mail_id=mail_id,
            utf8=self._utf8,
            recipient=self._addresses[0] if len(self._addresses) == 1 else None,
        )
        reached, domestic, now = self._recipients, self._domestic, int(self._domestic.clock())
        returning = return_path_field(self._sender)
        if reached.forwards:
            message = await self._send_on(await text.join(trace), header, returning)
        else:
            message = await text.join(returning + trace)
        bindings, queued = list(reached.mailboxes.values()), bool(reached.forwards)
        if bindings:
            await deliver_patiently(
                domestic.exchange, domestic.sealer, bindings, message, now, actor="mx", queued=queued
            )
        return f"Delivered as {mail_id}"

    async def _send_on(self, message: bytes, header: bytes, returning: bytes) -> bytes:
        """Into the queue, without Return-Path, which is the last hop's to add; the message as mailboxes here get it."""
        reached, exchange = self._recipients, self._domestic.exchange
        await require_room(self._domestic, reached.mailboxes.values(), len(message))
        await reached.send_on(exchange, self._outbound, message, header, actor="mx", utf8=self._utf8)
        return await run_aside(len(message), lambda: returning + message)

    async def leave(self) -> None:
        """Nothing is held beyond the transaction."""

    def reset(self) -> None:
        """Forget the transaction."""
        self._sender, self._size, self._utf8 = None, 0, False
        self._recipients, self._addresses = Destinations(), []
