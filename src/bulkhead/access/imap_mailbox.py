"""SELECT, and the commands on the selected mailbox."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bulkhead.access.columns import batches, unpack
from bulkhead.access.fetch import Fetcher
from bulkhead.access.folders import canonical
from bulkhead.access.imap_folders import or_try_create
from bulkhead.access.outcome import Ok
from bulkhead.access.resync import resync, tell_vanished
from bulkhead.access.selected import Selected
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.to_store import CopyMessages, FlagMode, StoreFlags
from bulkhead.identifiers import MailboxId
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap import responses
from bulkhead.wire.imap.commands import StoreMode
from bulkhead.wire.imap.fetch import Attribute
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.responses import Code
from bulkhead.wire.imap.sequence import SequenceSet, compress, resolve_numbers, resolve_uids

if TYPE_CHECKING:
    from bulkhead.access.imap_session import ImapSession

PORTION: Final = 100_000  # messages that one STORE changes before it tells of them

_MODES: Final[Mapping[StoreMode, tuple[int, Callable[[int, int], int]]]] = {
    StoreMode.REPLACE: (FlagMode.REPLACE, lambda mask, old: mask),
    StoreMode.ADD: (FlagMode.ADD, lambda mask, old: old | mask),
    StoreMode.REMOVE: (FlagMode.REMOVE, lambda mask, old: old & ~mask),
}


async def select(session: "ImapSession", tag: bytes, command: c.Select) -> Ok:
    """SELECT and EXAMINE; whatever comes of it, the mailbox before is selected no more."""
    if command.resync is not None and not session.enabled.qresync:
        raise CommandError("ENABLE QRESYNC comes first")
    mailboxes, output = session.mailboxes, session.output
    if session.selected is not None:  # RFC 7162 section 3.2.11: what follows is of another mailbox
        session.select(None)
        output.send(responses.untagged(Condition.OK, "Previous mailbox closed", Code.CLOSED))
    session.enabled.condstore = session.enabled.condstore or command.condstore
    row = await mailboxes.folders.find(command.mailbox)
    await mailboxes.keywords.load()
    selected = Selected(
        mailboxes.account, mailboxes.keywords, MailboxId(row.mailbox),
        read_only=command.read_only, enabled=session.enabled,
    )  # fmt: skip
    await selected.load(session.worker.store_epoch, modseqs=session.enabled.condstore)
    output.resumed()
    output.send(selected.flag_lines())
    output.send(selected.counts())
    if session.enabled.rev2:
        output.send(responses.renamed_line(canonical(command.mailbox), command.mailbox))
    elif unseen := await selected.first_unseen(output):
        output.send(_status("First unseen", responses.uid_code(b"UNSEEN", unseen)))
    output.send(_status("UIDs valid", responses.uid_code(b"UIDVALIDITY", selected.uid_validity)))
    output.send(_status("Predicted next UID", responses.uid_code(b"UIDNEXT", selected.uid_next)))
    output.send(_status("Highest", selected.highest_code))
    output.send(_status("Mailbox", responses.mailbox_id_code(row.mailbox)))
    if command.resync is not None:
        await resync(mailboxes.account, selected, command.resync, output)
    session.select(selected)
    mailboxes.filing.begin(selected, at_once=True)
    if command.read_only:
        return Ok("EXAMINE completed", Code.READ_ONLY)
    return Ok("SELECT completed", Code.READ_WRITE)


def _status(text: str, code: bytes) -> bytes:
    return responses.untagged(Condition.OK, text, code)


async def check(session: "ImapSession", tag: bytes, command: c.Check) -> Ok:
    """CHECK: everything answered is durable already."""
    return Ok("CHECK completed")


async def close(session: "ImapSession", tag: bytes, command: c.Close) -> Ok:
    """CLOSE expunges without telling; UNSELECT does not expunge."""
    if command.expunge and not session.mailbox.read_only:
        await _expunge(session, ())
    session.select(None)
    return Ok("CLOSE completed" if command.expunge else "UNSELECT completed")


async def expunge(session: "ImapSession", tag: bytes, command: c.Expunge) -> Ok:
    """EXPUNGE and UID EXPUNGE; what went is told when the view is brought up to date."""
    selected = _writable(session)
    expunged = 0
    if command.uids is None:
        expunged = await _expunge(session, ())
    else:
        for uids in selected.uid_ranges(resolve_uids(command.uids, selected.uids)):
            expunged += await _expunge(session, uids)  # never empty here: that would mean all
    return Ok("EXPUNGE completed", highest=expunged > 0 and session.enabled.condstore)


async def _expunge(session: "ImapSession", uids: tuple[to_store.UidRange, ...]) -> int:
    """How many went."""
    account = session.mailboxes.account
    request = to_store.Expunge(account.stamp(), account.handle, session.mailbox.mailbox, uids)
    reply, _ = await account.read(request)
    return reply.expunged


async def fetch(session: "ImapSession", tag: bytes, command: c.Fetch) -> Ok:
    """FETCH."""
    if Attribute.MODSEQ in command.items:
        await session.enable_condstore()
    mailboxes = session.mailboxes
    if command.vanished and command.changed_since is not None:
        if not session.enabled.qresync:
            raise CommandError("ENABLE QRESYNC comes first")
        await session.tell(expunge=True, now=True)  # what the client counts is not EARLIER
        await tell_vanished(mailboxes.account, session.mailbox, command.messages, command.changed_since, session.output)
    fetcher = Fetcher(
        mailboxes.account, session.mailbox, mailboxes.summaries, mailboxes.previews, session.output, command
    )
    missed = await fetcher.run()
    if missed.unreadable:
        return Ok("Some messages cannot be read", Code.CORRUPTION, Condition.NO)
    if missed.encoded:
        return Ok("Some content is encoded in an unknown way", Code.UNKNOWN_CTE, Condition.NO)
    if missed.gone and not command.uid:  # OK as in the example of RFC 5530 section 3: NO is taken for a failure
        return Ok("Some messages were expunged", Code.EXPUNGEISSUED)
    return Ok("FETCH completed")


async def store(session: "ImapSession", tag: bytes, command: c.Store) -> Ok:
    """STORE; new flags are told with the view's other news."""
    selected, account = _writable(session), session.mailboxes.account
    places = _resolve(selected, command.messages, uid=command.uid)
    mask = await selected.keywords.mask(command.flags)
    mode, combine = _MODES[command.mode]
    expected = (lambda old: combine(mask, old)) if command.silent else None
    if command.unchanged_since is not None:
        await session.enable_condstore()
    wanted, done = sum(map(len, places)), 0
    refused: list[int] = []
    since = command.unchanged_since or 0
    if command.unchanged_since == 0:  # every MODSEQ is above 0, and to the store 0 means: whatever it is
        refused, places = [selected.uids[at] for place in places for at in place], []
    for number, portion in enumerate(batches(places, PORTION)):
        if number:  # told as it goes: the news of a million messages at once would fill the memory
            await session.tell(expunge=False, now=True)
        for uids in selected.uid_ranges(portion):
            request = StoreFlags(account.stamp(), account.handle, selected.mailbox, uids, mode, mask, since)
            reply, body = await account.read(request)
            session.output.resumed()
            done += await selected.stored(body, reply.changed, session.output, expected)
            refused += unpack("I", body, 12 * reply.changed, reply.refused)
    if refused:
        failed = [at + 1 for uid in refused if (at := selected.index(uid)) is not None]
        code = responses.modified_code(compress(refused if command.uid else failed))
        return Ok("Some messages were changed meanwhile", code)
    if done < wanted and not command.uid:
        return Ok("Some messages were expunged", Code.EXPUNGEISSUED)
    return Ok("STORE completed")


async def copy(session: "ImapSession", tag: bytes, command: c.Copy) -> Ok:
    """COPY and MOVE (RFC 6851), with COPYUID (RFC 4315)."""
    name = "MOVE" if command.move else "COPY"
    selected = _writable(session) if command.move else session.mailbox
    account = session.mailboxes.account
    requests = selected.uid_ranges(_resolve(selected, command.messages, uid=command.uid))
    if not requests:
        return Ok(f"{name} completed; no messages")
    if len(requests) > 1:  # all or none, so in one request
        raise CommandError("too many ranges", condition=Condition.NO, response_code=Code.LIMIT.value)
    try:
        target = await session.mailboxes.folders.find(command.mailbox)
        request = CopyMessages(
            account.stamp(), account.handle, selected.mailbox, requests[0], target.mailbox, command.move
        )
        reply, body = await account.read(request)
    except Exception as error:
        raise or_try_create(error) from None
    session.output.resumed()
    if not reply.copied:
        return Ok(f"{name} completed; no messages")
    source = compress(unpack("I", body, 0, reply.copied))
    code = responses.copy_uid_code(
        reply.uid_validity, source, compress(unpack("I", body, 4 * reply.copied, reply.copied))
    )
    if command.move:  # before the EXPUNGEs that follow from it (RFC 6851 section 4.3)
        session.output.send(_status("Moved", code))
        return Ok("MOVE completed", highest=session.enabled.condstore)  # RFC 6851 section 4.4
    return Ok("COPY completed", code)


def _resolve(selected: Selected, wanted: SequenceSet, *, uid: bool) -> list[range]:
    return resolve_uids(wanted, selected.uids) if uid else resolve_numbers(wanted, len(selected.uids))


def _writable(session: "ImapSession") -> Selected:
    if session.mailbox.read_only:
        raise CommandError("Mailbox is read-only", condition=Condition.NO, response_code=Code.READ_ONLY.value)
    return session.mailbox


HANDLERS: Final[Mapping[type[c.Command], Callable[["ImapSession", bytes, Any], Awaitable[Ok]]]] = {
    c.Check: check,
    c.Close: close,
    c.Copy: copy,
    c.Expunge: expunge,
    c.Fetch: fetch,
    c.Select: select,
    c.Store: store,
}
