"""Commands on mailboxes by name: LIST, LSUB, STATUS, CREATE, DELETE, RENAME, SUBSCRIBE, NAMESPACE, GETQUOTA."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bulkhead.access import listing
from bulkhead.access.folders import canonical
from bulkhead.access.outcome import Ok
from bulkhead.boundary.messages.to_store import MailboxRow, Quota, ReadQuota, Role
from bulkhead.errors import Refused
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.status import StatusItem

if TYPE_CHECKING:
    from bulkhead.access.imap_session import ImapSession

_STATUS: Final[Mapping[StatusItem, Callable[[MailboxRow], int | bytes]]] = {
    StatusItem.MESSAGES: lambda row: row.messages,
    StatusItem.RECENT: lambda row: row.recent,
    StatusItem.UIDNEXT: lambda row: row.uid_next,
    StatusItem.UIDVALIDITY: lambda row: row.uid_validity,
    StatusItem.UNSEEN: lambda row: row.unseen,
    StatusItem.SIZE: lambda row: row.size,
    StatusItem.DELETED: lambda row: row.deleted,
    StatusItem.HIGHESTMODSEQ: lambda row: max(row.modseq, 1),
    StatusItem.MAILBOXID: lambda row: b"(%s)" % responses.mailbox_id(row.mailbox),
    StatusItem.DELETED_STORAGE: lambda row: row.deleted_size,
}
_USES: Final = {use.upper(): role for role, use in listing.SPECIAL_USE.items()}
KIBIBYTE: Final = 1024  # the unit of STORAGE (RFC 9208 section 5.1)


def or_try_create(error: Exception) -> Exception:
    """For COPY and APPEND: a target that does not exist may be made (RFC 3501 section 6.3.11)."""
    if isinstance(error, Refused) and error.code == "no-such-mailbox":
        return CommandError("No such mailbox", condition=Condition.NO, response_code=responses.Code.TRYCREATE.value)
    return error


async def list_mailboxes(session: "ImapSession", tag: bytes, command: c.ListMailboxes) -> Ok:
    """LIST; the counts of LIST-STATUS are of the same moment as the list."""
    if command.patterns == ("",) and not command.extended:
        session.output.send(responses.delimiter_line())
        return Ok("LIST completed")
    if StatusItem.HIGHESTMODSEQ in command.status:
        await session.enable_condstore()
    folders, output = session.mailboxes.folders, session.output
    subscribed = await folders.subscriptions() if listing.asks_subscriptions(command) else set()
    rows = await folders.rows()
    output.resumed()
    for listed in await listing.list_mailboxes(command, rows, subscribed, output.breathe):
        utf8 = session.enabled.utf8
        output.send(responses.list_line(listed.name, listed.attributes, child_info=listed.child_info, utf8=utf8))
        if command.status and listed.row is not None:
            output.send(_status_line(session, listed.name, command.status, listed.row))
        await output.breathe()
    return Ok("LIST completed")


async def list_subscribed(session: "ImapSession", tag: bytes, command: c.ListSubscribed) -> Ok:
    """LSUB."""
    folders, output = session.mailboxes.folders, session.output
    subscribed, rows = await folders.subscriptions(), await folders.rows()
    output.resumed()
    for listed in await listing.list_subscribed(command, rows, subscribed, output.breathe):
        utf8 = session.enabled.utf8
        output.send(responses.list_line(listed.name, listed.attributes, kind=b"LSUB", utf8=utf8))
        await output.breathe()
    return Ok("LSUB completed")


async def namespace(session: "ImapSession", tag: bytes, command: c.Namespace) -> Ok:
    """NAMESPACE (RFC 2342)."""
    session.output.send(responses.namespace_line())
    return Ok("NAMESPACE completed")


async def status(session: "ImapSession", tag: bytes, command: c.Status) -> Ok:
    """STATUS, as the store counts."""
    if StatusItem.HIGHESTMODSEQ in command.items:
        await session.enable_condstore()
    row = await session.mailboxes.folders.find(command.mailbox)
    session.output.send(_status_line(session, command.mailbox, command.items, row))
    return Ok("STATUS completed")


def _status_line(session: "ImapSession", name: str, items: Iterable[StatusItem], row: MailboxRow) -> bytes:
    """APPENDLIMIT is one number for every mailbox (RFC 7889 section 3)."""
    values: dict[StatusItem, int | bytes] = {
        item: session.limits.append if item is StatusItem.APPENDLIMIT else _STATUS[item](row) for item in items
    }
    return responses.status_line(name, values, utf8=session.enabled.utf8)


async def create(session: "ImapSession", tag: bytes, command: c.Create) -> Ok:
    """CREATE, with at most one special use (RFC 6154 section 3)."""
    uses = set(command.uses)
    if len(uses) > 1 or not uses <= _USES.keys():
        raise Refused("no mailbox can be used so", code="bad-use")
    role = _USES[uses.pop()] if uses else Role.NONE
    row = await session.mailboxes.folders.create(command.mailbox, role)
    _tell_name(session, command.mailbox)
    return Ok("CREATE completed", responses.mailbox_id_code(row.mailbox))


def _tell_name(session: "ImapSession", asked: str) -> None:
    """The name that a mailbox got, where the client wrote it in another form (RFC 9051 section 6.3.9.7)."""
    if session.enabled.rev2 and canonical(asked) != asked:
        session.output.send(responses.renamed_line(canonical(asked), asked))


async def delete(session: "ImapSession", tag: bytes, command: c.Delete) -> Ok:
    """DELETE; a selected mailbox is selected no more."""
    row = await session.mailboxes.folders.delete(command.mailbox)
    if session.selected is not None and session.selected.mailbox == row.mailbox:
        session.select(None)
    return Ok("DELETE completed")


async def rename(session: "ImapSession", tag: bytes, command: c.Rename) -> Ok:
    """RENAME."""
    await session.mailboxes.folders.rename(command.source, command.target)
    _tell_name(session, command.target)
    session.changed()
    return Ok("RENAME completed")


async def subscribe(session: "ImapSession", tag: bytes, command: c.Subscribe) -> Ok:
    """SUBSCRIBE and UNSUBSCRIBE."""
    await session.mailboxes.folders.subscribe(command.mailbox, on=command.on)
    return Ok("SUBSCRIBE completed" if command.on else "UNSUBSCRIBE completed")


async def get_quota(session: "ImapSession", tag: bytes, command: c.GetQuota) -> Ok:
    """GETQUOTA. Raises Refused (`no-such-root`)."""
    if command.root:
        raise Refused("there is one quota root, and its name is empty", code="no-such-root")
    session.output.send(await _quota_line(session))
    return Ok("GETQUOTA completed")


async def get_quota_root(session: "ImapSession", tag: bytes, command: c.GetQuotaRoot) -> Ok:
    """GETQUOTAROOT, of a mailbox that need not exist (RFC 9208 section 4.1.2)."""
    line = await _quota_line(session)
    session.output.send(responses.quota_root_line(command.mailbox, utf8=session.enabled.utf8) + line)
    return Ok("GETQUOTAROOT completed")


async def _quota_line(session: "ImapSession") -> bytes:
    account = session.mailboxes.account
    quota: Quota = await account.ask(ReadQuota(account.handle))
    resources = {b"STORAGE": (-(-quota.used // KIBIBYTE), quota.allowed // KIBIBYTE)} if quota.allowed else {}
    return responses.quota_line({**resources, b"MESSAGE": (quota.messages, quota.messages_allowed)})


async def set_quota(session: "ImapSession", tag: bytes, command: c.SetQuota) -> Ok:
    """SETQUOTA is refused: only the provider sets a quota, so QUOTASET is not announced (RFC 9208 section 4.1.3)."""
    raise CommandError(
        "Only the provider sets a quota", condition=Condition.NO, response_code=responses.Code.NOPERM.value
    )


HANDLERS: Final[Mapping[type[c.Command], Callable[["ImapSession", bytes, Any], Awaitable[Ok]]]] = {
    c.Create: create,
    c.Delete: delete,
    c.GetQuota: get_quota,
    c.GetQuotaRoot: get_quota_root,
    c.ListMailboxes: list_mailboxes,
    c.ListSubscribed: list_subscribed,
    c.Namespace: namespace,
    c.Rename: rename,
    c.SetQuota: set_quota,
    c.Status: status,
    c.Subscribe: subscribe,
}
