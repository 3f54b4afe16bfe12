"""One POP3 session (RFC 1939): a maildrop that is INBOX as it was at login, read from the store part by part.

    authorization -> transaction -> update                                            (RFC 1939 section 3)

It files nothing, and may delete what no session has filed. A maildrop is held by one session of the cell at a time: the
store keeps the lock, and a session that lost it deletes nothing. On a listener in clear STLS comes before the login.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from bulkhead.access.mail import Message, is_gone
from bulkhead.access.maildrop import Maildrop, No
from bulkhead.access.outcome import is_session_over, log_fault
from bulkhead.access.output import Output
from bulkhead.access.worker import Worker
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.errors import Error, IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.gate.serve import Connection, ConnectionEnded, IdleTooLong
from bulkhead.wipe import wipe
from bulkhead.wire import pop3, pop3_responses
from bulkhead.wire.pop3_responses import Code, MessageRenderer, TopCut
from bulkhead.wire.sasl import MECHANISMS, CancelledError, Challenge, Credentials, Mechanism

LIST_SLICE = 500  # lines of a listing made at once
_MECHANISM_LINES = [name.encode("ascii") for name in MECHANISMS]


class SessionOver(PeerError):
    """The session cannot go on: say the text and close."""

    code = "session-over"


class Pop3Session:
    """One session on one connection. context: for a connection in clear, the TLS that STLS begins."""

    def __init__(
        self, connection: Connection, worker: Worker, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self.connection, self.worker = connection, worker
        self.output = Output(connection)
        self.receiver = pop3.Pop3Receiver(secure=context is None)
        self._context = context
        self._user: str | None = None
        self._mechanism: Mechanism | None = None
        self._epoch = 0  # of the store that gave the lock
        self._failed = 0
        self._drop: Maildrop | None = None
        self._task: asyncio.Task[None] | None = None
        self._quit = False

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until QUIT, a broken rule, silence, or the session's end. Without QUIT nothing is deleted."""
        self._task = asyncio.current_task()
        self.connection.set_lifetime(self.worker.settings.preauth)
        self.output.send(pop3_responses.ok("Ready"))
        try:
            await self._serve()
        except asyncio.CancelledError:
            self._say_last("Not available now; log in again")
            raise
        except IdleTooLong:
            self._say_last("Idle for too long")
        except ConnectionEnded:
            pass
        except PeerError as error:
            self._say_last(error.public)
        finally:
            await self._leave()

    async def _serve(self) -> None:
        while not self._quit:
            await self.output.flush()
            data = await self.connection.read()
            if not data:
                return
            self.output.resumed()
            self.receiver.receive_data(data)
            wipe(data)  # the receiver has copied it
            while not self._quit and (event := self.receiver.next_event()) is not None:
                await self._answer(event)
                await self.output.breathe()

    async def _answer(self, event: pop3.Event) -> None:
        try:
            if isinstance(event, pop3.Rejected):
                raise No(event.text)
            if self._drop is not None and self._epoch != self.worker.store_epoch:
                await self._lock_again(self._drop)
            await HANDLERS[type(event)](self, event)
        except No as no:
            self.output.send(pop3_responses.err(no.public, no.response_code))
        except (ConnectionEnded, IdleTooLong, SessionOver):
            raise
        except Exception as error:
            if self.output.inside:
                raise
            if is_session_over(error):
                raise PeerError("The session has ended; log in again") from None
            self.output.send(_error(error))
        if self._failed > self.worker.settings.errors_max:
            raise PeerError("Too many failed logins")

    def _say_last(self, text: str) -> None:
        if not self.output.inside:
            self.output.send(pop3_responses.err(text, Code.SYS_TEMP))
            self.output.push()

    async def _leave(self) -> None:
        if self.output.inside:
            self.connection.abort()
        self.output.push()
        if self._drop is not None:
            account = self._drop.account
            self.worker.leave(account)
            await self._drop.leave()
            await account.leave()

    async def _lock_again(self, drop: Maildrop) -> None:
        """The store restarted and knows of no lock: take it again. Raises SessionOver where another session has it."""
        epoch = self.worker.store_epoch
        try:
            await drop.lock()
        except Refused as error:
            if is_session_over(error):
                raise
            raise SessionOver("Another session took this mailbox; log in again") from None
        self._epoch = epoch

    def changed(self) -> None:
        """A maildrop stays as it was at login."""

    def end(self, reason: str) -> None:
        """Close, whatever is under way."""
        if self._task is not None:
            self._task.cancel()

    @property
    def drop(self) -> Maildrop:
        """The maildrop; the receiver's state keeps commands from asking before the login."""
        if self._drop is None:
            raise ValueError("no login yet")
        return self._drop

    # --- authorization --------------------------------------------------------------------------------------------

    async def _on_user(self, command: pop3.User) -> None:
        self._user = command.name
        self.output.send(pop3_responses.ok("Password, please"))

    async def _on_pass(self, command: pop3.Pass) -> None:
        if self._user is None:
            raise No("USER comes first")
        user, self._user = self._user, None
        await self._admit(user, command.password)

    async def _on_auth(self, command: pop3.Auth) -> None:
        if command.mechanism is None:
            self.output.send(pop3_responses.multi_line(pop3_responses.ok("Mechanisms"), _MECHANISM_LINES))
            return
        make = MECHANISMS.get(command.mechanism)
        if make is None:
            raise No("No such mechanism")
        mechanism = make()
        await self._sasl(mechanism, mechanism.start, command.initial_response)

    async def _on_line(self, line: pop3.ContinuationLine) -> None:
        if self._mechanism is None:
            raise ValueError("a line that nobody asked for")
        mechanism, self._mechanism = self._mechanism, None
        await self._sasl(mechanism, mechanism.respond, line.data)

    async def _sasl(
        self, mechanism: Mechanism, step: Callable[[Any], Challenge | Credentials], line: bytes | None
    ) -> None:
        """One step; the line that it takes is overwritten."""
        try:
            outcome = step(line)
        except CancelledError:
            raise No("Authentication cancelled") from None
        except PeerError as error:
            self._failed += 1
            raise No(error.public) from None
        finally:
            wipe(line)
        if isinstance(outcome, Challenge):
            self._mechanism = mechanism
            self.receiver.expect_line()
            self.output.send(pop3_responses.challenge(outcome.base64))
            return
        if outcome.authzid not in ("", outcome.authcid):
            self._failed += 1
            raise No("Nobody acts for another here", Code.AUTH)
        await self._admit(outcome.authcid, outcome.password)

    async def _admit(self, user: str, password: bytes) -> None:
        await self.output.flush()
        try:
            account = await self.worker.log_in(user, password, Scope.POP, self.connection.source)
        except Refused:
            self._failed += 1
            raise No("Authentication failed", Code.AUTH) from None
        drop = Maildrop(account)
        self.worker.enter(account, self)
        self._epoch = self.worker.store_epoch
        try:
            await drop.lock()
            await drop.load()
        except BaseException as error:
            self.worker.leave(account)
            await drop.leave()
            await account.leave()
            if isinstance(error, Refused) and error.code == "in-use":
                raise No("Another session reads this mailbox", Code.IN_USE) from None
            raise
        self._drop = drop
        self.receiver.state = pop3.State.TRANSACTION
        self.connection.set_lifetime(None)
        self.connection.set_idle_seconds(self.worker.settings.pop3_idle)
        self.output.send(pop3_responses.ok("Logged in"))

    async def _on_stls(self, command: pop3.Stls) -> None:
        """Nothing that was said in clear is kept, and nothing that came behind STLS is obeyed (RFC 2595 section 4)."""
        if self._context is None:
            raise ValueError("STLS on a connection that has TLS")
        self.connection.pause()
        try:
            self.receiver.start_tls()
        except PeerError as error:
            raise SessionOver(error.public) from None
        self.output.send(pop3_responses.ok("Begin TLS"))
        self.output.push()
        if self.connection.buffered:
            raise ConnectionEnded("octets in clear behind STLS")
        await self.connection.start_tls(self._context())
        self._user = self._mechanism = self._context = None

    async def _on_utf8(self, command: pop3.Utf8) -> None:
        """Messages go out as they came in, with UTF-8 in their headers where it was there (RFC 6856 section 2.1)."""
        self.output.send(pop3_responses.ok("UTF-8 it is"))

    # --- transaction ----------------------------------------------------------------------------------------------

    async def _on_capa(self, command: pop3.Capa) -> None:
        lines = pop3_responses.capability_lines(self.receiver.state, secure=self._context is None)
        self.output.send(pop3_responses.multi_line(pop3_responses.ok("Capabilities"), lines))

    async def _on_stat(self, command: pop3.Stat) -> None:
        present = self.drop.present()
        self.output.send(pop3_responses.ok(f"{len(present)} {sum(self.drop.sizes[at] for at in present)}"))

    async def _on_list(self, command: pop3.ListSizes) -> None:
        drop = self.drop
        await self._list(command.number, lambda at: f"{at + 1} {drop.sizes[at]}")

    async def _on_uidl(self, command: pop3.Uidl) -> None:
        drop = self.drop
        await drop.know_unique_ids()
        await self._list(command.number, lambda at: f"{at + 1} {drop.unique_id(at)}")

    async def _list(self, number: int | None, line: Callable[[int], str]) -> None:
        if number is not None:
            self.output.send(pop3_responses.ok(line(self.drop.place(number))))
            return
        present = self.drop.present()
        self.output.send(pop3_responses.ok(f"{len(present)} messages"))
        for start in range(0, len(present), LIST_SLICE):
            lines = [line(at) for at in present[start : start + LIST_SLICE]]
            self.output.send(("\r\n".join(lines) + "\r\n").encode("ascii"))
            await self.output.breathe()
        self.output.send(b".\r\n")

    async def _on_retr(self, command: pop3.Retr) -> None:
        at = self.drop.place(command.number)
        message = await self.drop.message(at, whole=True)
        await self._send(message, None)
        self.drop.read.add(at)

    async def _on_top(self, command: pop3.Top) -> None:
        message = await self.drop.message(self.drop.place(command.number), whole=False)
        await self._send(message, command.lines)

    async def _send(self, message: Message, lines: int | None) -> None:
        """The message, or its header and so many lines of its body; of a body not needed, nothing is read."""
        stop = message.header_size if lines == 0 else message.row.size
        output, renderer = self.output, MessageRenderer()
        async with aclosing(message.pieces(0, stop)) as pieces:
            try:
                first = await anext(pieces, b"")
            except Refused as error:
                if is_gone(error):
                    raise No("Message is gone") from None
                raise
            output.send(pop3_responses.ok(f"{message.row.size} octets"))
            output.inside = True
            try:
                cut = TopCut(lines) if lines else None
                if cut is not None and not message.header_size:
                    first = cut.cut(first)
                output.send(renderer.render(first))
                async for piece in pieces:
                    output.send(renderer.render(cut.cut(piece) if cut is not None else piece))
                    await output.breathe()
                    if cut is not None and cut.done:
                        break
            except Error as error:  # half a message is out
                raise ConnectionEnded("a message broke off while it was sent", detail=error.public) from error
        output.send(renderer.finish())
        output.inside = False

    async def _on_dele(self, command: pop3.Dele) -> None:
        self.drop.deleted.add(self.drop.place(command.number))
        self.output.send(pop3_responses.ok("Marked as deleted"))

    async def _on_noop(self, command: pop3.Noop) -> None:
        self.output.send(pop3_responses.ok())

    async def _on_rset(self, command: pop3.Rset) -> None:
        self.drop.deleted.clear()
        self.output.send(pop3_responses.ok(f"{len(self.drop.uids)} messages"))

    async def _on_quit(self, command: pop3.Quit) -> None:
        self._quit = True
        if self._drop is not None:
            self.receiver.state = pop3.State.UPDATE
            try:
                await self._drop.update()
            except Error as error:
                if not isinstance(error, Refused):
                    log_fault(error)
                raise No("No message was removed", Code.SYS_TEMP) from None
        self.output.send(pop3_responses.ok("Bye"))


def _error(error: Exception) -> bytes:
    if isinstance(error, TemporaryFailure):
        return pop3_responses.err("Not available now; try again", Code.SYS_TEMP)
    if isinstance(error, Refused):
        return pop3_responses.err("Not possible", Code.SYS_PERM)
    log_fault(error)
    text = "Stored data cannot be read" if isinstance(error, IntegrityError) else "Internal fault"
    return pop3_responses.err(text, Code.SYS_TEMP)


HANDLERS: Final[Mapping[type[pop3.Event], Callable[[Pop3Session, Any], Awaitable[None]]]] = {
    pop3.Auth: Pop3Session._on_auth,
    pop3.Capa: Pop3Session._on_capa,
    pop3.ContinuationLine: Pop3Session._on_line,
    pop3.Dele: Pop3Session._on_dele,
    pop3.ListSizes: Pop3Session._on_list,
    pop3.Noop: Pop3Session._on_noop,
    pop3.Pass: Pop3Session._on_pass,
    pop3.Quit: Pop3Session._on_quit,
    pop3.Retr: Pop3Session._on_retr,
    pop3.Rset: Pop3Session._on_rset,
    pop3.Stat: Pop3Session._on_stat,
    pop3.Stls: Pop3Session._on_stls,
    pop3.Top: Pop3Session._on_top,
    pop3.Uidl: Pop3Session._on_uidl,
    pop3.User: Pop3Session._on_user,
    pop3.Utf8: Pop3Session._on_utf8,
}
