"""SEARCH, SORT and THREAD on the selected mailbox."""

from array import array
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bulkhead.access.outcome import Ok
from bulkhead.access.output import Output
from bulkhead.access.search import Searcher
from bulkhead.access.search_answer import answer, save
from bulkhead.access.sort import FieldReader
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap.grammar import Condition
from bulkhead.wire.imap.responses import Code
from bulkhead.wire.imap.search_plan import asks_modseq
from bulkhead.wire.imap.search_returns import ReturnOption, Returns
from bulkhead.wire.imap.thread import Node, ThreadAlgorithm, Threads, by_references, by_subject, render

if TYPE_CHECKING:
    from bulkhead.access.imap_session import ImapSession

_ALGORITHMS: Final = {
    ThreadAlgorithm.ORDEREDSUBJECT: by_subject,
    ThreadAlgorithm.REFERENCES: by_references,
}


async def search(session: "ImapSession", tag: bytes, command: c.Search) -> Ok:
    """SEARCH; in IMAP4rev2 the answer is always ESEARCH (RFC 9051 section 6.4.4)."""
    if session.enabled.rev2 and command.program.returns is None:
        returns = Returns(frozenset((ReturnOption.ALL,)))
        command = replace(command, program=replace(command.program, returns=returns))
    places, unreadable = await _find(session, command)
    return await _answer(session, tag, command, places, unreadable)


async def sort(session: "ImapSession", tag: bytes, command: c.Sort) -> Ok:
    """SORT."""
    places, unreadable = await _find(session, command)
    reader = _reader(session)
    ordered = await reader.sorted(places, command.keys)
    return await _answer(session, tag, command, ordered, unreadable + reader.unreadable)


async def thread(session: "ImapSession", tag: bytes, command: c.Thread) -> Ok:
    """THREAD."""
    places, unreadable = await _find(session, command)
    reader, output, selected = _reader(session), session.output, session.mailbox
    messages = await reader.threaded(places)
    roots = await _threads(_ALGORITHMS[command.algorithm](messages), output)
    numbers = [selected.uids[message.number] if command.uid else message.number + 1 for message in messages]
    output.inside = True
    output.send(b"* THREAD " if roots else b"* THREAD")
    for piece in render(roots, numbers):
        output.send(piece)
        await output.breathe()
    output.send(b"\r\n")
    output.inside = False
    return _done("THREAD", unreadable + reader.unreadable)


async def _find(session: "ImapSession", command: c.Search | c.Sort | c.Thread) -> tuple[list[int], int]:
    """The places that match, and how many messages could not be read. `$` is empty until a search that saves ends."""
    mailboxes, program = session.mailboxes, command.program
    if program.returns is not None and program.returns.saves:
        session.mailbox.saved = array("I")
    if program.refused is not None:
        raise program.refused
    if asks_modseq(program.key):
        await session.enable_condstore()
    searcher = Searcher(mailboxes.account, session.mailbox, mailboxes.summaries, session.output, program.key)
    return await searcher.run(), searcher.unreadable


async def _answer(
    session: "ImapSession", tag: bytes, command: c.Search | c.Sort, places: list[int], unreadable: int
) -> Ok:
    await answer(tag, command, session.mailbox, places, session.output)
    returns = command.program.returns
    if returns is not None and returns.saves and not unreadable:  # RFC 5182 section 2.1: after NO it is empty
        await save(returns, session.mailbox, places, session.output)
    return _done("SEARCH" if isinstance(command, c.Search) else "SORT", unreadable)


def _reader(session: "ImapSession") -> FieldReader:
    mailboxes = session.mailboxes
    return FieldReader(mailboxes.account, session.mailbox, mailboxes.summaries, session.output)


async def _threads(steps: Threads, output: Output) -> list[Node]:
    """The threads, with a pause between steps where one is due."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            roots: list[Node] = ended.value
            return roots
        await output.breathe()


def _done(name: str, unreadable: int) -> Ok:
    if unreadable:
        return Ok("Some messages cannot be read", Code.CORRUPTION, Condition.NO)
    return Ok(f"{name} completed")


HANDLERS: Final[Mapping[type[c.Command], Callable[["ImapSession", bytes, Any], Awaitable[Ok]]]] = {
    c.Search: search,
    c.Sort: sort,
    c.Thread: thread,
}
