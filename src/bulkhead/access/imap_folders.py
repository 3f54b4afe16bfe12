"""Commands on mailboxes by name: LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, NAMESPACE."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bulkhead.access.outcome import Ok
from bulkhead.boundary.messages.to_store import MailboxRow
from bulkhead.errors import Refused
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.commands import StatusItem
from bulkhead.wire.imap.grammar import CommandError, Condition

if TYPE_CHECKING:
    from bulkhead.access.imap_session import ImapSession

_STATUS: Final[Mapping[StatusItem, Callable[[MailboxRow], int]]] = {
    StatusItem.MESSAGES: lambda row: row.messages,
    StatusItem.RECENT: lambda row: row.recent,
    StatusItem.UIDNEXT: lambda row: row.uid_next,
    StatusItem.UIDVALIDITY: lambda row: row.uid_validity,
    StatusItem.UNSEEN: lambda row: row.unseen,
    StatusItem.SIZE: lambda row: row.size,
    StatusItem.DELETED: lambda row: row.deleted,
    StatusItem.HIGHESTMODSEQ: lambda row: max(row.modseq, 1),
}


def or_try_create(error: Exception) -> Exception:
    """For COPY and APPEND: a target that does not exist may be made (RFC 3501 section 6.3.11)."""
    if isinstance(error, Refused) and error.code == "no-such-mailbox":
        return CommandError("No such mailbox", condition=Condition.NO, response_code=responses.Code.TRYCREATE.value)
    return error


async def list_mailboxes(session: "ImapSession", tag: bytes, command: c.ListMailboxes) -> Ok:
    """LIST and LSUB."""
    folders = session.mailboxes.folders
    name = "LSUB" if command.subscribed else "LIST"
    if not command.pattern and not command.subscribed:
        session.output.send(responses.delimiter_line())
        return Ok(f"{name} completed")
    ask = folders.list_subscriptions if command.subscribed else folders.list_names
    for listed, attributes in await ask(command.reference, command.pattern):
        session.output.send(responses.list_line(listed, attributes, kind=name.encode("ascii")))
        await session.output.breathe()
    return Ok(f"{name} completed")


async def namespace(session: "ImapSession", tag: bytes, command: c.Namespace) -> Ok:
    """NAMESPACE (RFC 2342)."""
    session.output.send(responses.namespace_line())
    return Ok("NAMESPACE completed")


async def status(session: "ImapSession", tag: bytes, command: c.Status) -> Ok:
    """STATUS, as the store counts."""
    if StatusItem.HIGHESTMODSEQ in command.items:
        await session.enable_condstore()
    row = await session.mailboxes.folders.find(command.mailbox)
    values = {item: _STATUS[item](row) for item in command.items}
    session.output.send(responses.status_line(command.mailbox, values))
    return Ok("STATUS completed")


async def create(session: "ImapSession", tag: bytes, command: c.Create) -> Ok:
    """CREATE."""
    await session.mailboxes.folders.create(command.mailbox)
    return Ok("CREATE completed")


async def delete(session: "ImapSession", tag: bytes, command: c.Delete) -> Ok:
    """DELETE; a selected mailbox is selected no more."""
    row = await session.mailboxes.folders.delete(command.mailbox)
    if session.selected is not None and session.selected.mailbox == row.mailbox:
        session.select(None)
    return Ok("DELETE completed")


async def rename(session: "ImapSession", tag: bytes, command: c.Rename) -> Ok:
    """RENAME."""
    await session.mailboxes.folders.rename(command.source, command.target)
    session.changed()
    return Ok("RENAME completed")


async def subscribe(session: "ImapSession", tag: bytes, command: c.Subscribe) -> Ok:
    """SUBSCRIBE and UNSUBSCRIBE."""
    await session.mailboxes.folders.subscribe(command.mailbox, on=command.on)
    return Ok("SUBSCRIBE completed" if command.on else "UNSUBSCRIBE completed")


HANDLERS: Final[Mapping[type[c.Command], Callable[["ImapSession", bytes, Any], Awaitable[Ok]]]] = {
    c.Create: create,
    c.Delete: delete,
    c.ListMailboxes: list_mailboxes,
    c.Namespace: namespace,
    c.Rename: rename,
    c.Status: status,
    c.Subscribe: subscribe,
}
