"""Runs wire.smtp's receiver on a Connection: events go to a Policy, which decides; replies go back in groups."""

import asyncio
import contextlib
from typing import Protocol

from bulkhead.errors import Error, IntegrityError, PeerError, Refused
from bulkhead.gate.budget import Budget
from bulkhead.gate.connection import Connection, ConnectionEnded, IdleTooLong
from bulkhead.gate.message import MessageText
from bulkhead.gate.tls import TlsKeeper
from bulkhead.wipe import wipe
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.sasl import MECHANISMS, CancelledError, Challenge, Credentials, Mechanism
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import Code, Reply, Status, reply
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    ChunkEnd,
    DataChunk,
    DataEnd,
    DataRefused,
    DataStart,
    Greeted,
    MailFrom,
    RcptTo,
    Reset,
    StartTls,
)

FAULT = reply(Code.UNAVAILABLE, Status.SYSTEM_BUSY, "Internal fault; try again later")
BUSY = reply(Code.LOCAL_ERROR, Status.SYSTEM_BUSY, "Cannot take this now; try again later")
UNSAID_OCTETS = 64 * 1024  # room that a message needs whose size was not announced
MEMORY_FULL = reply(Code.NO_STORAGE, Status.SYSTEM_BUSY, "Too much mail at once; try again later")
_REFUSALS = {
    "over-quota": reply(552, "5.2.2", "Mailbox is full"),
    "no-such-account": reply(Code.MAILBOX_UNAVAILABLE, Status.NO_SUCH_MAILBOX, "No such mailbox"),
    "not-owner": reply(Code.MAILBOX_NAME_INVALID, Status.NOT_AUTHORISED, "That sender address is not yours"),
    "header-too-large": reply(Code.MESSAGE_TOO_BIG, Status.TOO_BIG, "Message header exceeds 1 MiB"),
    "sent-too-much": reply(Code.MAILBOX_BUSY, "4.7.1", "You have sent as much as you may for now; try again later"),
    "queue-full": reply(Code.NO_STORAGE, Status.SYSTEM_BUSY, "The queue is full; try again later"),
}


class Policy(Protocol):
    """What one kind of SMTP server decides. Every method raises Refused, TemporaryFailure or a Rejection for no."""

    async def hello(self, name: str, extended: bool) -> None:
        """The client introduced itself."""

    async def login(self, credentials: Credentials) -> None:
        """Check a password."""

    async def mail(self, event: MailFrom) -> None:
        """May this sender send?"""

    async def recipient(self, event: RcptTo) -> None:
        """Can mail for this address be taken?"""

    async def message(self, text: MessageText) -> str:
        """Take the message: durable on return. The words behind 250."""

    def reset(self) -> None:
        """The transaction is gone."""

    async def leave(self) -> None:
        """The client is gone."""


class Rejection(Error):
    """A no with its own reply."""

    code = "rejected"

    def __init__(self, answer: Reply) -> None:
        super().__init__(answer.text)
        self.reply = answer


class SmtpSession:
    """One SMTP session on one connection."""

    def __init__(
        self, connection: Connection, receiver: SmtpReceiver, policy: Policy, tls: TlsKeeper, budget: Budget
    ) -> None:
        self._connection, self._receiver, self._policy, self._tls = connection, receiver, policy, tls
        self._budget = budget
        self._mechanism: Mechanism | None = None
        self._text = MessageText()
        self._overflow = False
        self._announced = UNSAID_OCTETS

    async def run(self) -> None:
        """Until the client leaves, breaks the rules or is silent too long."""
        receiver, connection = self._receiver, self._connection
        connection.keep_pace()
        receiver.greet()
        try:
            while True:
                self._flush()
                if receiver.closed:
                    return
                data = await connection.read()
                if not data:
                    return
                receiver.receive_data(data)
                if receiver.session.mechanisms and not receiver.session.authenticated:
                    wipe(data)  # the receiver has copied it
                await self._answer_all()
                await connection.drain()
        except IdleTooLong:
            receiver.close(codes.TIMED_OUT)
        except asyncio.CancelledError:
            receiver.close(codes.SHUTTING_DOWN)
            raise
        except ConnectionEnded:
            pass
        except PeerError:
            pass  # the receiver has written why
        except Exception:
            receiver.close(FAULT)
            raise
        finally:
            self._drop()
            self._flush()
            connection.close()
            with contextlib.suppress(Error):
                await self._policy.leave()

    def _flush(self) -> None:
        self._connection.write(self._receiver.data_to_send())

    async def _answer_all(self) -> None:
        while (event := self._receiver.next_event()) is not None:
            if isinstance(event, DataChunk):
                self._keep(event.data)
                continue
            if isinstance(event, StartTls):
                await self._start_tls()
            elif isinstance(event, DataRefused | Reset):
                self._drop()
                self._policy.reset()
            else:
                try:
                    await self._answer(event)
                except Error as error:
                    self._receiver.reject(refusal(error))
                    if isinstance(event, DataEnd | ChunkEnd):
                        self._drop()
                        self._policy.reset()
            self._connection.touch()

    async def _answer(self, event: object) -> None:
        receiver, policy = self._receiver, self._policy
        if isinstance(event, Greeted):
            self._drop()
            policy.reset()
            await policy.hello(event.name, event.extended)
            receiver.accept_hello()
        elif isinstance(event, MailFrom):
            await policy.mail(event)
            self._announced = event.size or UNSAID_OCTETS
            receiver.accept_mail()
        elif isinstance(event, RcptTo):
            await policy.recipient(event)
            receiver.accept_recipient()
        elif isinstance(event, DataStart):
            if not self._budget.has(self._announced):  # said before the text comes
                raise Rejection(MEMORY_FULL)
            receiver.accept_data()
        elif isinstance(event, ChunkEnd):
            if self._overflow:
                raise Rejection(MEMORY_FULL)
            receiver.accept_chunk()
        elif isinstance(event, DataEnd):
            await self._end_message()
        elif isinstance(event, AuthStart):
            self._mechanism = MECHANISMS[event.mechanism]()
            await self._authenticate(event.initial, first=True)
        elif isinstance(event, AuthLine):
            await self._authenticate(event.line, first=False)

    def _keep(self, data: bytes) -> None:
        if self._overflow:
            return
        if not self._budget.take(len(data)):
            self._drop()
            self._overflow = True
            return
        self._text.add(data)

    def _drop(self) -> None:
        self._budget.give(self._text.size)
        self._text = MessageText()
        self._overflow = False

    async def _end_message(self) -> None:
        try:
            if self._overflow:
                raise Rejection(MEMORY_FULL)
            words = await self._policy.message(self._text)
        finally:
            self._drop()
        self._receiver.accept_message(reply(Code.OK, Status.MESSAGE_OK, words))
        self._policy.reset()

    async def _start_tls(self) -> None:
        self._connection.pause()
        self._receiver.accept_tls()
        self._flush()
        if self._receiver.closed:
            return
        if self._connection.buffered:  # sent in clear behind the command: never obeyed
            raise PeerError("plain text behind STARTTLS")
        await self._connection.start_tls(self._tls.context)
        self._receiver.tls_established()
        self._policy.reset()

    async def _authenticate(self, octets: bytes | None, *, first: bool) -> None:
        mechanism = self._mechanism
        if mechanism is None:
            raise ValueError("an AUTH answer without a mechanism")
        try:
            step = mechanism.start(octets) if first else mechanism.respond(octets or b"")
        except CancelledError:
            raise Rejection(codes.AUTH_CANCELLED) from None
        except PeerError:
            raise Rejection(codes.AUTH_MALFORMED) from None
        finally:
            wipe(octets)
        if isinstance(step, Challenge):
            self._receiver.challenge(step.base64)
            return
        self._mechanism = None
        try:
            await self._policy.login(step)
        except (Refused, Rejection) as error:
            raise Rejection(error.reply if isinstance(error, Rejection) else codes.AUTH_INVALID) from None
        except Error:
            raise Rejection(codes.AUTH_UNAVAILABLE) from None
        self._receiver.authenticated()


def refusal(error: Error) -> Reply:
    """The reply that tells the client of an error: 5yz for a refusal, 4yz for what may pass."""
    if isinstance(error, Rejection):
        return error.reply
    if isinstance(error, Refused):
        return _REFUSALS.get(error.code, reply(Code.TRANSACTION_FAILED, Status.PERMANENT, "Refused"))
    if isinstance(error, IntegrityError):
        return reply(Code.LOCAL_ERROR, Status.SYSTEM_BUSY, "Recipient cannot be verified now; try again later")
    return BUSY
