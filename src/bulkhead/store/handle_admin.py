"""From the command line: OpenAccount, DestroyAccount, CountStore, CheckStore."""

import asyncio
import sqlite3
import time

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import (
    CheckStore,
    CountStore,
    DestroyAccount,
    LimitAccount,
    OpenAccount,
    ReadUsage,
    Role,
    ShowUsage,
    StoreCounts,
    StoreReport,
    UsageCard,
)  # fmt: skip
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.holder.cases import OpenedCase
from bulkhead.identifiers import new_id
from bulkhead.store.changes import Effects, MailboxChange
from bulkhead.store.fsck import check
from bulkhead.store.handle_mailbox import insert_mailbox
from bulkhead.store.rows import forget_records
from bulkhead.store.segment import HEADER_BYTES
from bulkhead.store.state import State


async def open_account(state: State, peer: Channel, request: OpenAccount, body: BodyReader | None) -> Done:
    """The account with its INBOX where it is new; its quota in either case.

    UIDVALIDITY starts at the clock, so that an account made again after a loss does not repeat the old values.
    """
    inbox, clock = new_id(), int(time.time())

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        known = connection.execute(
            "UPDATE account SET quota = ? WHERE account = ?", (request.quota_bytes, request.account)
        ).rowcount
        if known:
            return Done()
        account = connection.execute(
            "INSERT INTO account (account, quota, used, messages, modseq, uid_validity, next_page, keywords, inbox)"
            " VALUES (?, ?, 0, 0, 1, ?, 1, 0, 0)",
            (request.account, request.quota_bytes, clock),
        ).lastrowid
        mailbox = insert_mailbox(connection, account or 0, inbox, Role.INBOX, b"", None, clock, 1)
        connection.execute("UPDATE account SET inbox = ? WHERE seq = ?", (mailbox, account))
        return Done()

    return await state.commit(request, work)


async def limit_account(state: State, peer: Channel, request: LimitAccount, body: BodyReader | None) -> Done:
    """A new quota, from the next message on."""

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        change = "UPDATE account SET quota = ? WHERE account = ?"
        if not connection.execute(change, (request.quota_bytes, request.account)).rowcount:
            raise _unknown()
        return Done()

    return await state.commit(request, work)


def read_usage(state: State, peer: Channel, request: ReadUsage, body: BodyReader | None) -> UsageCard:
    """How full it is."""
    row = state.database.first("SELECT used, quota FROM account WHERE account = ?", (request.account,))
    if row is None:
        raise _unknown()
    return UsageCard(*row)


def _unknown() -> Refused:
    return Refused("store has no such account", code="no-such-account")


async def show_usage(state: State, peer: Channel, request: ShowUsage, body: BodyReader | None) -> UsageCard:
    """How full an account is, for the support desk; once the ledger has it."""

    def made(case: OpenedCase) -> UsageCard:
        row = state.database.first("SELECT used, quota FROM account WHERE account = ?", (case.account,))
        return UsageCard(*(row or (0, 0)))

    return await state.orders.cases.look(request, request.case, made)


async def destroy_account(state: State, peer: Channel, request: DestroyAccount, body: BodyReader | None) -> Done:
    """Every row, page, key and slot of the account, gone from database and WAL. One that is not there is done."""
    for handle in state.grants.drop_account(request.account):
        state.watchers.unwatch(handle)

    def work(connection: sqlite3.Connection, effects: Effects) -> Done:
        remove_account(connection, effects, request.account)
        return Done()

    reply = await state.commit(request, work)
    await state.database.truncate_wal()
    return reply


def remove_account(connection: sqlite3.Connection, effects: Effects, ident: bytes) -> None:
    """Take every row of an account away, where there is one."""
    row = connection.execute("SELECT seq FROM account WHERE account = ?", (ident,)).fetchone()
    if row is None:
        return
    (account,) = row
    effects.accounts.add(account)
    (modseq,) = connection.execute("SELECT modseq + 1 FROM account WHERE seq = ?", (account,)).fetchone()
    records = connection.execute(
        "SELECT segment, count(*), sum(length + ?1) FROM"
        " (SELECT segment, summary_size + header_size + body_size AS length FROM email WHERE account = ?2"
        " UNION ALL SELECT segment, size FROM page WHERE account = ?2) GROUP BY segment",
        (HEADER_BYTES, account),
    ).fetchall()
    forget_records(connection, effects, records)
    mailboxes = connection.execute("SELECT seq FROM mailbox WHERE account = ?", (account,)).fetchall()
    for (mailbox,) in mailboxes:
        connection.execute("DELETE FROM message WHERE mailbox = ?", (mailbox,))
        connection.execute("DELETE FROM expunged WHERE mailbox = ?", (mailbox,))
        connection.execute("DELETE FROM uidl WHERE mailbox = ?", (mailbox,))
        effects.changes.append(MailboxChange(mailbox, modseq, dropped=True))
    for table in ("email", "page", "mailbox", "keyword", "subscription", "deleted", "deleted_mailbox"):
        connection.execute(f"DELETE FROM {table} WHERE account = ?", (account,))  # noqa: S608 - names of ours
    connection.execute("DELETE FROM account WHERE seq = ?", (account,))


def count_store(state: State, peer: Channel, request: CountStore, body: BodyReader | None) -> StoreCounts:
    """Counts now; reads and syncs since start."""
    accounts, messages = state.database.first("SELECT count(*), coalesce(sum(messages), 0) FROM account")
    (mailboxes,) = state.database.first("SELECT count(*) FROM mailbox")
    segments, stored = state.database.first("SELECT count(*), coalesce(sum(bytes), 0) FROM segment")
    transactions = state.database.transactions
    return StoreCounts(
        accounts, mailboxes, messages, stored, segments, state.segments.reads, state.segments.syncs + transactions,
        transactions, state.delivering.said(), state.fetching.said(),
    )  # fmt: skip


async def check_store(state: State, peer: Channel, request: CheckStore, body: BodyReader | None) -> StoreReport:
    """What fsck finds, from one snapshot, while the store goes on; no segment is removed meanwhile."""
    state.checking += 1
    try:
        loop = asyncio.get_running_loop()
        report = await loop.run_in_executor(state.executor, check, state.path, state.disk, request.deep)
    finally:
        state.checking -= 1
        state.reap()
    return StoreReport(report.accounts, report.messages, report.unreferenced, tuple(report.problems))
