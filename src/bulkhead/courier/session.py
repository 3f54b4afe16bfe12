"""A session with one server, message after message: SmtpSender on a Connection, every wait bounded."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from bulkhead.courier.connection import Connection, HandshakeFailed
from bulkhead.identifiers import DomainName
from bulkhead.wire.smtp_client import SmtpSender
from bulkhead.wire.smtp_client_events import (
    TEXT_BLOCK_SECONDS,
    Awaited,
    Ready,
    SessionEnded,
    TextWanted,
    TlsPolicy,
    TlsWanted,
    TransactionEnded,
)
from bulkhead.wire.smtp_outcome import Envelope, RecipientResult

SESSION_SECONDS = 3600.0  # for everything but the text, so that a server that drips its replies holds no slot for ever
TEXT_OCTETS_PER_SECOND = 4096  # the slowest server that is waited for
HANDSHAKE_SECONDS = 60.0
FAREWELL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How this cell talks to others. reply_seconds: for a reply where RFC 5321 section 4.5.3.2 says 5 minutes."""

    name: DomainName
    reply_seconds: float
    context: ssl.SSLContext


@dataclass(slots=True)
class SessionReport:
    """What came of a session: every recipient's result where a transaction took place, else why none did."""

    results: tuple[RecipientResult, ...] = ()
    ended: SessionEnded | None = None
    handshake_failed: bool = False
    wishes_passed: bool = False


class Link:
    """A session with one server, which carries one message after the other."""

    def __init__(self, connection: Connection, manner: Manner, host: DomainName, policy: TlsPolicy) -> None:
        self._connection, self._manner, self._host = connection, manner, host
        self._sender = SmtpSender(manner.name, tls=policy)
        self._ready = False
        self.carried = 0  # transactions that came to an end

    @property
    def usable(self) -> bool:
        """Whether another message may be carried: the last one ended, and the server said nothing since."""
        return self.carried > 0 and not self._sender.ended and not self._connection.buffered_or_ended

    async def carry(self, envelope: Envelope, text: Iterable[bytes]) -> SessionReport:
        """One transaction. The link is `usable` afterwards, or over; close it then."""
        sender, report = self._sender, SessionReport()
        try:
            async with asyncio.timeout(SESSION_SECONDS + envelope.size / TEXT_OCTETS_PER_SECOND):
                if self._ready:
                    sender.send(envelope)
                await self._converse(envelope, text, report)
        except TimeoutError:
            sender.connection_lost("no answer in time")
            _take_last(sender, report)
        self.carried += bool(report.results) and not sender.ended
        return report

    async def leave(self) -> None:
        """QUIT, and a short wait for its reply: all outcomes are known already."""
        try:
            await _say_farewell(self._connection, self._sender)
        finally:
            self.close()

    def close(self) -> None:
        """Without a word."""
        self._connection.close()

    async def _converse(self, envelope: Envelope, text: Iterable[bytes], report: SessionReport) -> None:
        connection, sender, manner = self._connection, self._sender, self._manner
        while True:
            event = sender.next_event()
            await _flush(connection, sender)
            match event:
                case None:
                    if sender.ended:
                        return
                    data = await connection.read(sender.patience * manner.reply_seconds / Awaited.MAIL.seconds)
                    if data:
                        sender.receive_data(data)
                    else:
                        sender.connection_lost()
                case TlsWanted():
                    await _start_tls(connection, sender, manner, self._host, report)
                case Ready():
                    self._ready = True
                    sender.send(envelope)
                case TextWanted():
                    await _send_text(connection, sender, text)
                case TransactionEnded(results, passed):
                    report.results, report.wishes_passed = results, passed
                    if not sender.ended:
                        return
                case SessionEnded():
                    report.ended = event


def _take_last(sender: SmtpSender, report: SessionReport) -> None:
    while (event := sender.next_event()) is not None:
        if isinstance(event, TransactionEnded):
            report.results, report.wishes_passed = event.results, event.wishes_passed
        elif isinstance(event, SessionEnded):
            report.ended = event


async def _flush(connection: Connection, sender: SmtpSender) -> None:
    data = sender.data_to_send()
    if data:
        await connection.write(data, TEXT_BLOCK_SECONDS)


async def _start_tls(
    connection: Connection, sender: SmtpSender, manner: Manner, host: DomainName, report: SessionReport
) -> None:
    if connection.buffered:  # said in clear behind the 220: the sender hangs up
        sender.receive_data(await connection.read(0))
        return
    try:
        await connection.start_tls(manner.context, host, min(HANDSHAKE_SECONDS, manner.reply_seconds))
    except HandshakeFailed as error:
        report.handshake_failed = True
        sender.connection_lost(error.public)
    else:
        sender.tls_established()


async def _send_text(connection: Connection, sender: SmtpSender, text: Iterable[bytes]) -> None:
    """Send the text; a server that speaks meanwhile has given up on it, and is listened to instead."""
    for piece in text:
        sender.text(piece)
        await _flush(connection, sender)
        if connection.buffered:
            return
    sender.end_text()


async def _say_farewell(connection: Connection, sender: SmtpSender) -> None:
    """QUIT, and a short wait for its reply: the outcome is known already."""
    try:
        sender.quit()
        await _flush(connection, sender)
        async with asyncio.timeout(FAREWELL_SECONDS):
            while not sender.ended:
                data = await connection.read(FAREWELL_SECONDS)
                if not data:
                    return
                sender.receive_data(data)
                while sender.next_event() is not None:
                    pass
    except TimeoutError:
        return
