"""One IMAP session: events of the receiver in, commands by table, what changed told at each command's end.

greeting -> not authenticated -> authenticated <-> selected -> logout         (RFC 3501 section 3)
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from bulkhead.access import imap_folders, imap_login, imap_mailbox, imap_search
from bulkhead.access.account import Account
from bulkhead.access.append import Incoming
from bulkhead.access.deflate import Input
from bulkhead.access.enabled import Enabled
from bulkhead.access.filing import Filing
from bulkhead.access.folders import Folders
from bulkhead.access.idle import Waiting
from bulkhead.access.keywords import Keywords
from bulkhead.access.outcome import Ok, answer, is_session_over
from bulkhead.access.output import Output
from bulkhead.access.preview import Previews
from bulkhead.access.search_answer import with_saved
from bulkhead.access.selected import Selected
from bulkhead.access.summaries import Summaries
from bulkhead.access.worker import Worker
from bulkhead.errors import Error, PeerError, Refused, TemporaryFailure
from bulkhead.gate.serve import Connection, ConnectionEnded, IdleTooLong
from bulkhead.identifiers import MailboxId
from bulkhead.wipe import wipe
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.command_table import CLEAR_COMMANDS, COMMANDS, State
from bulkhead.wire.imap.grammar import Condition
from bulkhead.wire.imap.limits import Limits
from bulkhead.wire.imap.receiver import (
    AppendBegun,
    AppendEnded,
    ContinuationLine,
    Event,
    ImapReceiver,
    LiteralChunk,
    NeedContinuation,
    Received,
    Rejected,
)  # fmt: skip
from bulkhead.wire.imap.search_plan import names_numbers

RETRY_SECONDS = 2.0  # after a sync that failed, while the client idles

Handler = Callable[["ImapSession", bytes, Any], Awaitable[Ok]]
HANDLERS: Final[Mapping[type[c.Command], Handler]] = {
    **imap_login.HANDLERS,
    **imap_folders.HANDLERS,
    **imap_mailbox.HANDLERS,
    **imap_search.HANDLERS,
}
_NO_EXPUNGE: Final = (
    c.Fetch,
    c.Store,
    c.Search,
    c.Sort,
    c.Thread,
)  # while they answer by number (RFC 3501 section 7.4.1)
_SYNC_ALWAYS: Final = (c.Noop, c.Check, c.Store, c.Copy, c.Expunge)


def _searches_numbers(command: c.Command) -> bool:
    """Whether EXPUNGE would change what a UID command meant by numbers (RFC 7162 section 3.2.10.2)."""
    return isinstance(command, c.Search | c.Sort | c.Thread) and names_numbers(command.program.key)


class SessionOver(Error):
    """The session cannot go on: say BYE with the text."""

    code = "session-over"


class Mailboxes:
    """What a login has: its folders, keywords, opened pages, and filing."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.folders = Folders(account)
        self.keywords = Keywords(account)
        self.summaries = Summaries(account)
        self.previews = Previews()
        self.filing = Filing(account, self.summaries)


class ImapSession:
    """One session on one connection. context: for a connection in clear, the TLS that STARTTLS begins."""

    def __init__(
        self, connection: Connection, worker: Worker, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self.connection, self.worker = connection, worker
        self.input, self.output = Input(connection), Output(connection)
        errors = worker.settings.errors_max
        self.limits = Limits(append=worker.settings.append_max, bad_before_login=errors, bad_in_row=errors)
        self.context = context
        self.receiver = ImapReceiver(self.limits, commands=COMMANDS if context is None else CLEAR_COMMANDS)
        self.failed_logins = 0
        self.authenticating: imap_login.Exchange | None = None
        self.selected: Selected | None = None
        self.enabled = Enabled()
        self.compressed = False
        self._mailboxes: Mailboxes | None = None
        self._changed = asyncio.Event()
        self._incoming: Incoming | None = None
        self._task: asyncio.Task[None] | None = None
        self._reason = "Server is shutting down"

    # --- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the client leaves, breaks the rules, is silent too long, or the session ends."""
        self._task = asyncio.current_task()
        self.connection.set_lifetime(self.worker.settings.preauth)
        self.output.send(responses.untagged(Condition.OK, "Ready", self.capabilities))
        try:
            await self._serve()
        except asyncio.CancelledError:
            self._bye(self._reason)
            raise
        except IdleTooLong:
            self._bye("Idle for too long")
        except ConnectionEnded:
            pass
        except SessionOver as error:
            self._bye(error.public)
        except PeerError as error:
            self._bye(error.public, responses.Code.CLIENTBUG)
        finally:
            await self._leave()

    async def _serve(self) -> None:
        while not self._left:
            await self.output.flush()
            data = await self.input.read()
            if not data:
                return
            self.output.resumed()
            self.receiver.receive_data(data)
            if self.receiver.state is State.NOT_AUTHENTICATED:
                wipe(data)  # the receiver has copied it
            while (event := self.receiver.next_event()) is not None:
                await self._take(event)
                await self.output.breathe()
                if self._left:
                    return

    async def _leave(self) -> None:
        if self.output.inside:
            self.connection.abort()
        self.output.push()
        if self._incoming is not None:
            self._incoming.release()
        if self._mailboxes is not None:
            self._mailboxes.filing.stop()
            self.worker.leave(self._mailboxes.account)
            await self._mailboxes.account.leave()

    def _bye(self, reason: str, code: responses.Code = responses.Code.UNAVAILABLE) -> None:
        if not self.output.inside:
            self.output.send(responses.untagged(Condition.BYE, reason, code))
            self.output.push()

    def changed(self) -> None:
        """Something changed in the account."""
        self._changed.set()

    def end(self, reason: str) -> None:
        """Say BYE and close, whatever is under way."""
        self._reason = reason
        if self._task is not None:
            self._task.cancel()

    async def enter(self, account: Account) -> None:
        """The client is who it says."""
        self._mailboxes = Mailboxes(account)
        self.worker.enter(account, self)
        self.receiver.state = State.AUTHENTICATED
        self.connection.set_lifetime(None)
        self.connection.set_idle_seconds(self.worker.settings.idle)
        try:
            await self._mailboxes.folders.make_defaults()
        except (Refused, TemporaryFailure) as error:
            if is_session_over(error):
                raise

    @property
    def capabilities(self) -> bytes:
        """What works in this state."""
        hidden = frozenset((b"COMPRESS=DEFLATE",)) if self.compressed else frozenset[bytes]()
        return responses.capability_list(self.receiver.state, self.limits, hidden, secure=self.context is None)

    def compress(self) -> None:
        """What was sent goes as it is; all that follows is compressed, both ways (RFC 4978 section 3)."""
        self.compressed = True
        self.output.deflate()
        self.input.inflate(self.receiver.take_rest())

    @property
    def mailboxes(self) -> Mailboxes:
        """What the login has; the receiver's state keeps commands from asking before it."""
        if self._mailboxes is None:
            raise ValueError("no login yet")
        return self._mailboxes

    @property
    def mailbox(self) -> Selected:
        """The selected mailbox."""
        if self.selected is None:
            raise ValueError("no mailbox is selected")
        return self.selected

    def select(self, selected: Selected | None) -> None:
        """Select a mailbox, or none."""
        self.selected = selected
        self.receiver.state = State.AUTHENTICATED if selected is None else State.SELECTED

    async def enable_condstore(self) -> None:
        """From now on the client is told MODSEQs, first the mailbox's highest (RFC 7162 section 3.1)."""
        if self.selected is not None and not self.enabled.condstore:
            await self.selected.read_modseqs(self.output)
            self.output.send(responses.untagged(Condition.OK, "Highest", self.selected.highest_code))
        self.enabled.condstore = True

    @property
    def _left(self) -> bool:
        """Whether the client has said LOGOUT."""
        return self.receiver.state is State.LOGOUT

    # --- events ---------------------------------------------------------------------------------------------------

    async def _take(self, event: Event) -> None:
        match event:
            case Received(tag, command):
                await self._command(tag, command)
            case Rejected(tag, condition, text, code):
                self._drop_incoming()
                self.output.send(responses.tagged(tag, condition, text, code))
            case NeedContinuation():
                self.output.send(responses.continuation())
                await self.output.flush()
            case AppendBegun(tag, append, first):
                await self._begin_append(tag, append, first)
            case LiteralChunk(data):
                if self._incoming is not None:
                    self._incoming.take(data)
            case AppendEnded(tag):
                await self._answer(tag, self._end_append, None)
            case ContinuationLine(data):
                if self.authenticating is not None:
                    exchange, self.authenticating = self.authenticating, None
                    await self._answer(exchange.tag, lambda: imap_login.respond(self, exchange, data), None)

    async def _command(self, tag: bytes, command: c.Command) -> None:
        if isinstance(command, c.Idle):
            await self._idle(tag)
            return
        await self._answer(tag, lambda: self._do(tag, command), command)

    async def _do(self, tag: bytes, command: c.Command) -> Ok:
        handler = HANDLERS.get(type(command))
        if handler is None:
            raise ValueError(f"no handler of {type(command).__name__}")
        if self.selected is not None:
            command = await with_saved(command, self.selected, self.output)
        return await handler(self, tag, command)

    async def _answer(self, tag: bytes, work: Callable[[], Awaitable[Ok]], command: c.Command | None) -> None:
        """Do it, tell what changed, answer the tag. An error ends the command, not the session."""
        reply: bytes | Ok
        up_to_date = False
        try:
            reply = await work()
        except (ConnectionEnded, IdleTooLong, SessionOver):
            raise
        except Exception as error:
            if self.output.inside:
                raise
            if is_session_over(error):
                raise SessionOver("The session has ended; log in again") from None
            reply = answer(tag, error)
        if self.selected is not None:
            by_number = isinstance(command, _NO_EXPUNGE) and (not command.uid or _searches_numbers(command))
            if command is None or isinstance(command, _SYNC_ALWAYS):
                self._changed.set()
            up_to_date = await self.tell(expunge=not by_number)
        self.output.send(reply if isinstance(reply, bytes) else self._tagged(tag, reply, up_to_date))
        if self.failed_logins > self.worker.settings.errors_max:
            raise PeerError("Too many failed logins")

    def _tagged(self, tag: bytes, done: Ok, up_to_date: bool) -> bytes:
        if done.silent:
            return b""
        code = self.mailbox.highest_code if done.highest and up_to_date else done.code
        return responses.tagged(tag, done.condition, done.text, code)

    async def tell(self, *, expunge: bool, now: bool = False) -> bool:
        """Bring the view to the store's state and tell the client; False where the store is away: it is asked again.

        now: whether or not the store has said that something changed.
        """
        selected, up_to_date = self.mailbox, True
        if now:
            self._changed.set()
        if self._changed.is_set():
            up_to_date = self.worker.exchange.edge_to("store") is not None and await self._sync(selected)
        await selected.report(self.output, expunge=expunge)
        if selected.arrived:
            self.mailboxes.filing.begin(selected, at_once=False)
        return up_to_date

    async def _sync(self, selected: Selected) -> bool:
        self._changed.clear()
        try:
            await selected.sync(self.output, self.worker.store_epoch)
        except TemporaryFailure:
            self._changed.set()
            return False
        except Refused as error:
            if is_session_over(error):
                raise SessionOver("The session has ended; log in again") from None
            raise SessionOver("The mailbox was deleted") from None
        return True

    # --- IDLE -----------------------------------------------------------------------------------------------------

    async def _idle(self, tag: bytes) -> None:
        """Tell changes until the client's next line."""
        self.receiver.expect_line()
        self.output.send(responses.continuation(b"idling"))
        waiting = Waiting(self.input, self._changed)
        try:
            while (event := self.receiver.next_event()) is None:
                if self.selected is None:
                    self._changed.clear()
                elif self._changed.is_set():
                    await self.tell(expunge=True)
                    if self._changed.is_set():  # the store is away
                        self._changed.clear()
                        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)
                await self.output.flush()
                data = await waiting.next()
                self.output.resumed()
                if data == b"":
                    raise ConnectionEnded("the client left")
                if data is not None:
                    self.receiver.receive_data(data)
                elif not self._changed.is_set():
                    self.output.send(responses.untagged(Condition.OK, "Still here"))
        finally:
            await waiting.close()
        if isinstance(event, ContinuationLine) and event.data.upper() == b"DONE":
            self.output.send(responses.tagged(tag, Condition.OK, "IDLE completed"))
        else:
            self.output.send(responses.tagged(tag, Condition.BAD, "expected DONE"))

    # --- APPEND ---------------------------------------------------------------------------------------------------

    async def _begin_append(self, tag: bytes, append: c.Append, first: bool) -> None:
        """Say yes before a message comes, or no; a yes has its memory set aside."""
        try:
            if first:
                mailbox = await self.mailboxes.folders.find(append.mailbox)
                self._incoming = Incoming(self.worker, self.mailboxes.account, MailboxId(mailbox.mailbox))
            await self._appending.begin(append)
        except Exception as error:
            self._drop_incoming()
            if is_session_over(error):
                raise SessionOver("The session has ended; log in again") from None
            self.receiver.refuse_append()
            self.output.send(answer(tag, imap_folders.or_try_create(error)))
            return
        self.receiver.accept_append()

    async def _end_append(self) -> Ok:
        incoming = self._appending
        try:
            flags = [await self.mailboxes.keywords.mask(append.flags) for append in incoming.appends]
            stored = await incoming.store(flags)
        finally:
            self._drop_incoming()
        return Ok("APPEND completed", responses.append_uid_code(stored.uid_validity, stored.first_uid, len(flags)))

    @property
    def _appending(self) -> Incoming:
        """The APPEND under way."""
        if self._incoming is None:
            raise ValueError("an APPEND without its beginning")
        return self._incoming

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming.release()
            self._incoming = None
