"""store's part of an import, offline: accounts with their mailboxes and messages as they were in another cell.

UIDs, UIDVALIDITY, MODSEQ, flags, EmailIds, dates and unique-ids are taken over; nothing is opened here. An account is
written in one transaction; a batch of small ones shares it. What a crash left is taken away by `drop`.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.boundary.messages.to_store import ExportedRow, MailboxRow, NamedRow, Role
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId, EmailId, MailboxId, new_id
from bulkhead.store.changes import Effects
from bulkhead.store.disk import Disk
from bulkhead.store.handle_admin import remove_account
from bulkhead.store.process import next_number
from bulkhead.store.rows import name_record, signed
from bulkhead.store.schema import DATABASE, MIGRATIONS
from bulkhead.store.segment import DIRECTORY, HEADER_BYTES, RecordKind, Segments, numbers_in


@dataclass(frozen=True, slots=True)
class SealedEmail:
    """One message as it is to lie here: box, and the three parts one after another."""

    email: EmailId
    size: int
    date: int
    box: bytes = field(repr=False)
    sizes: tuple[int, int, int]
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What an account has beside messages."""

    account: AccountId
    quota_bytes: int
    clock: int  # seconds, for the UIDVALIDITY of one without mailboxes
    mailboxes: Sequence[MailboxRow] = ()
    keywords: Sequence[NamedRow] = ()
    subscriptions: Sequence[NamedRow] = ()


class StoreImport:
    """A store that no process runs, in the working directory. Use within a running loop."""

    def __init__(self, segment_bytes: int) -> None:
        disk = Disk()
        disk.make_directory(DIRECTORY)
        self._database = Database(Path(DATABASE), MIGRATIONS, secure_delete=True)
        disk.fsync_directory(".")
        self._segments = Segments(disk, next_number(self._database, numbers_in(disk)), segment_bytes)
        row = self._database.first("SELECT seq FROM sqlite_sequence WHERE name = 'email'")
        self._segments.witness = int(row[0]) if row else 0

    async def close(self) -> None:
        """Make it durable."""
        await self._database.truncate_wal()
        await self._database.close()
        self._segments.close()

    def accounts(self) -> set[bytes]:
        """Those that are here, whole or not."""
        return {account for (account,) in self._database.read("SELECT account FROM account")}

    async def drop(self, account: AccountId) -> None:
        """Take away what a run that was cut off has written of an account."""
        await self._database.write(lambda connection: remove_account(connection, Effects(), account))

    async def open_accounts(self, accounts: Sequence[NewAccount]) -> None:
        """Make them, with mailboxes and names, and no message."""

        def work(connection: sqlite3.Connection) -> None:
            for account in accounts:
                _insert_account(connection, account)

        await self._database.write(work)

    async def add(
        self, account: AccountId, emails: Sequence[SealedEmail], rows: Sequence[tuple[bytes, ExportedRow]]
    ) -> None:
        """Messages, and rows that name these or earlier ones; durable on return."""

        def work(connection: sqlite3.Connection) -> int:
            (seq,) = connection.execute("SELECT seq FROM account WHERE account = ?", (account,)).fetchone()
            last = 0
            for email in emails:
                last = self._insert_email(connection, seq, account, email)
            for mailbox, row in rows:
                _insert_row(connection, seq, mailbox, row)
            return last

        last = await self._database.write(work, before=self._segments.sync)
        self._segments.witness = max(self._segments.witness, last)

    async def settle(self, accounts: Sequence[AccountId], recent: Mapping[bytes, int]) -> None:
        """Bring the counts of these accounts to their rows. recent: by mailbox, how many were."""

        def work(connection: sqlite3.Connection) -> None:
            for account in accounts:
                _settle(connection, account, recent)

        await self._database.write(work)

    def emails(
        self, account: AccountId, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes, int, int, int, int, int]]:
        """(EmailId, box, segment, offset, sizes of summary, header, body) behind `after`, in order of EmailId."""
        return self._database.read(
            "SELECT email, sealed_key, segment, offset, summary_size, header_size, body_size FROM email"
            " WHERE account = (SELECT seq FROM account WHERE account = ?) AND email > ? ORDER BY email LIMIT ?",
            (account, after, limit),
        )

    def parts(self, segment: int, offset: int, skip: int, length: int) -> bytes:
        """Bytes of a record behind the first `skip` of its payload."""
        return self._segments.read(segment, offset + HEADER_BYTES + skip, length)

    def rows(self, account: AccountId) -> int:
        """How many message rows it has."""
        row = self._database.first("SELECT messages FROM account WHERE account = ?", (account,))
        return 0 if row is None else int(row[0])

    def _insert_email(self, connection: sqlite3.Connection, seq: int, account: AccountId, new: SealedEmail) -> int:
        place = self._segments.put(RecordKind.MESSAGE, account, new.email, new.sizes, new.payload)
        number = connection.execute(
            "INSERT INTO email (account, email, refs, size, date, page, place, sealed_key, summary_size, header_size,"
            " body_size, segment, offset) VALUES (?, ?, 0, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?)",
            (seq, new.email, new.size, new.date, new.box, *new.sizes, place.segment, place.offset),
        ).lastrowid
        name_record(connection, place)
        return number or 0


def _insert_account(connection: sqlite3.Connection, new: NewAccount) -> None:
    bits = 0
    for row in new.keywords:
        bits |= 1 << row.bit
    validity = max((row.uid_validity for row in new.mailboxes), default=new.clock)
    seq = connection.execute(
        "INSERT INTO account (account, quota, used, messages, modseq, uid_validity, next_page, keywords, inbox)"
        " VALUES (?, ?, 0, 0, 1, ?, 1, ?, 0)",
        (new.account, new.quota_bytes, validity, signed(bits)),
    ).lastrowid
    boxes = new.mailboxes or (MailboxRow(MailboxId(new_id()), Role.INBOX, b"", new.clock, 1, 0, 0, 0, 0, 0, 1),)
    for box in boxes:
        tag = None if box.role == Role.INBOX else box.sealed_name[:16]
        number = connection.execute(
            "INSERT INTO mailbox (account, mailbox, role, sealed_name, tag, uid_validity, uid_next, messages, unseen,"
            " deleted, recent, recent_from, size, modseq, logged, log_floor)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, 0, ?, 0, ?)",
            (seq, box.mailbox, box.role, box.sealed_name, tag, box.uid_validity, box.uid_next, box.uid_next,
             box.modseq, box.modseq),
        ).lastrowid  # fmt: skip
        if box.role == Role.INBOX:
            connection.execute("UPDATE account SET inbox = ? WHERE seq = ?", (number, seq))
    connection.executemany(
        "INSERT INTO keyword VALUES (?, ?, ?, ?)", [(seq, row.tag, row.bit, row.sealed_name) for row in new.keywords]
    )
    connection.executemany(
        "INSERT INTO subscription VALUES (?, ?, ?)", [(seq, row.tag, row.sealed_name) for row in new.subscriptions]
    )


def _insert_row(connection: sqlite3.Connection, account: int, ident: bytes, row: ExportedRow) -> None:
    (mailbox, role) = connection.execute(
        "SELECT seq, role FROM mailbox WHERE account = ? AND mailbox = ?", (account, ident)
    ).fetchone()
    ((email,),) = connection.execute(
        "UPDATE email SET refs = refs + 1 WHERE account = ? AND email = ? RETURNING seq", (account, row.email)
    ).fetchall()
    connection.execute(
        "INSERT INTO message VALUES (?, ?, ?, ?, ?)", (mailbox, row.uid, email, signed(row.flags), row.modseq)
    )
    if row.uidl and role == Role.INBOX:
        connection.execute("INSERT INTO uidl VALUES (?, ?, ?)", (mailbox, row.uid, row.uidl))


def _settle(connection: sqlite3.Connection, account: AccountId, recent: Mapping[bytes, int]) -> None:
    (seq,) = connection.execute("SELECT seq FROM account WHERE account = ?", (account,)).fetchone()
    for mailbox, ident in connection.execute("SELECT seq, mailbox FROM mailbox WHERE account = ?", (seq,)).fetchall():
        if count := recent.get(ident, 0):
            connection.execute(
                "UPDATE mailbox SET recent_from = coalesce((SELECT uid FROM message WHERE mailbox = ?1"
                " ORDER BY uid DESC LIMIT 1 OFFSET ?2), 1) WHERE seq = ?1",
                (mailbox, count - 1),
            )
        connection.execute(
            "UPDATE mailbox SET (messages, unseen, deleted, recent, size, deleted_size, modseq) = (SELECT count(*),"
            " coalesce(sum(m.flags & 1 = 0), 0), coalesce(sum(m.flags & 8 != 0), 0),"
            " coalesce(sum(m.uid >= mailbox.recent_from), 0), coalesce(sum(e.size), 0),"
            " coalesce(sum((m.flags & 8 != 0) * e.size), 0), max(mailbox.modseq, coalesce(max(m.modseq), 0))"
            " FROM message m JOIN email e ON e.seq = m.email WHERE m.mailbox = ?1),"
            " uid_next = max(uid_next, 1 + coalesce((SELECT max(uid) FROM message WHERE mailbox = ?1), 0))"
            " WHERE seq = ?1",
            (mailbox,),
        )
    connection.execute(
        "UPDATE account SET (used, messages, modseq) = (SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0),"
        " max(account.modseq, coalesce(max(modseq), 1)) FROM mailbox WHERE account = ?1) WHERE seq = ?1",
        (seq,),
    )
