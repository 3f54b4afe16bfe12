"""What an older mailbox key of the account sealed is sealed anew under the newest (docs/credentials.md, Renewal).

Names, keywords and subscriptions: at the first listing that shows an older one, all of them, before anything else is
done with names. Their lookup tags change too, so that a name is not in two forms. Pages and the slots of what is in
them: behind a session's filing, page by page, so that each page and its slots change in one transaction. Cut anywhere,
the next session goes on; two that do it at once do the same.
"""

import asyncio
from collections.abc import Iterable

from bulkhead.access.account import Account
from bulkhead.access.outcome import log_fault
from bulkhead.access.summaries import Summaries
from bulkhead.boundary.messages.to_store import (
    FiledEntry,
    FileMessages,
    FindOldPage,
    ListKeywords,
    ListMailboxes,
    ListSubscriptions,
    NameTable,
    NewName,
    OldPage,
    ReplaceNames,
    Role,
)  # fmt: skip
from bulkhead.errors import IntegrityError, Refused
from bulkhead.records.name import TAG_BYTES, NameKind, SealedName, open_name, seal_name
from bulkhead.records.page import Page
from bulkhead.records.record import read_header

PAGES_MAX = 256  # of one run: some 65,000 messages
PAUSE_SECONDS = 0.02  # between two pages: others of the worker come first


def is_older(account: Account, kind: NameKind, record: bytes) -> bool:
    """Whether a name was sealed before the account's mailbox key was renewed."""
    try:
        return read_header(record, kind.value).key_version < account.generation
    except IntegrityError:
        return False  # no name of ours


async def reseal_names(account: Account, kind: NameKind, records: Iterable[bytes]) -> bool:
    """Seal every older name of the account anew where one of these is one; whether they are to be listed again.

    Once a session: what does not open then never will. Raises Refused, TemporaryFailure.
    """
    if account.names_resealed or not any(is_older(account, kind, record) for record in records):
        return False
    mailboxes, keywords, subscriptions = await asyncio.gather(
        account.ask(ListMailboxes(account.handle)),
        account.ask(ListKeywords(account.handle)),
        account.ask(ListSubscriptions(account.handle)),
    )
    folders = [row.sealed_name for row in mailboxes.rows if row.role != Role.INBOX]
    for table, of, names in (
        (NameTable.KEYWORD, NameKind.KEYWORD, [SealedName(row.tag, row.sealed_name) for row in keywords.rows]),
        (NameTable.SUBSCRIPTION, NameKind.FOLDER, [SealedName(row.tag, row.sealed_name) for row in subscriptions.rows]),
        (NameTable.MAILBOX, NameKind.FOLDER, [SealedName(name[:TAG_BYTES], name[TAG_BYTES:]) for name in folders]),
    ):
        changes = [change for name in names if (change := await _anew(account, table, of, name)) is not None]
        if changes:
            await account.ask(ReplaceNames(account.stamp(), account.handle, table, tuple(changes)))
    account.names_resealed = True
    return True


async def _anew(account: Account, table: int, kind: NameKind, old: SealedName) -> NewName | None:
    """An older name under the newest key; None where it is no older one, or does not open."""
    if not is_older(account, kind, old.record):
        return None
    try:
        key = await account.metadata_key_of(read_header(old.record, kind.value).key_version)
        name = open_name(key, account.id, kind, old)
    except IntegrityError as error:
        log_fault(error)
        return None
    except Refused as refused:
        if refused.code != "no-such-generation":
            raise
        return None
    new = seal_name(account.metadata_key, account.generation, account.id, kind, name)
    return NewName(old.tag, new.tag, (new.tag if table == NameTable.MAILBOX else b"") + new.record)


async def reseal_pages(account: Account, summaries: Summaries) -> None:
    """Seal older pages and the slots of their messages anew, as many as one run may.

    Raises Refused, TemporaryFailure.
    """
    after = 0
    for _ in range(PAGES_MAX if account.generation > 1 else 0):
        old = await account.ask(FindOldPage(account.handle, account.generation, after))
        if not old.page.page:
            return
        after = old.page.page
        try:
            await _reseal_page(account, summaries, old)
        except Refused as refused:
            if refused.code != "page-changed":
                raise  # another session was first
        await asyncio.sleep(PAUSE_SECONDS)


async def _reseal_page(account: Account, summaries: Summaries, old: OldPage) -> None:
    row = old.page
    found = await summaries.read_page_version(row.page, row.version)
    if found is None or len(found.page.entries) != row.used or not old.entries:
        return  # it does not open: the messages' own parts tell what it told
    slots = await account.resealed_slots(old.entries)
    filed = tuple(
        FiledEntry(entry.email, entry.index, slot or b"") for entry, slot in zip(old.entries, slots, strict=True)
    )
    live = {entry.index for entry in old.entries}
    page = Page(tuple(entry if at in live else b"" for at, entry in enumerate(found.page.entries)))
    key, version = await summaries.page_key(row.page, account.generation), row.version + 1
    record = page.seal(key, account.generation, account.id, row.page, version)
    request = FileMessages(account.stamp(), account.handle, row.page, version, row.version, row.used, filed)
    await account.ask(request, record)
    summaries.keep(row.page, page)
