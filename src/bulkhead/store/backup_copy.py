"""A store as a backup has it, in a directory of its own: its rows are read, and records of the segments that are there.

Nothing is opened: sizes, dates, flags and sealed parts. Each record is held against its row and its checksum.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bulkhead.boundary.messages.to_store import Copy, Role
from bulkhead.errors import IntegrityError
from bulkhead.store.rows import number_list, unsigned
from bulkhead.store.schema import DATABASE
from bulkhead.store.segment import HEADER_BYTES, RecordKind, decode_header, path_of

FILES_MAX = 64  # segments kept open
_EMAIL = (
    "SELECT e.seq, a.account, e.email, e.sealed_key, e.size, e.summary_size, e.header_size, e.body_size, e.date,"
    " e.segment, e.offset FROM email e JOIN account a ON a.seq = e.account WHERE {}"
)
_OF_MAILBOXES = _EMAIL.format(
    "e.account = (SELECT seq FROM account WHERE account = ?) AND e.seq > ?"
    " AND EXISTS (SELECT 1 FROM message m WHERE m.email = e.seq AND m.mailbox IN (SELECT value FROM json_each(?)))"
    " ORDER BY e.seq LIMIT ?"
)
_BY_NUMBER = _EMAIL.format("e.seq IN (SELECT value FROM json_each(?)) ORDER BY e.seq")
_IN_SEGMENTS = _EMAIL.format(  # +: by number from the top, and not all of a segment sorted for each window
    "+e.segment IN (SELECT value FROM json_each(?)) AND e.seq < ? AND EXISTS"
    " (SELECT 1 FROM message m WHERE m.email = e.seq) ORDER BY e.seq DESC LIMIT ?"
)


class CopiedMailbox(NamedTuple):
    """A mailbox of the backup."""

    seq: int
    mailbox: bytes
    role: int
    sealed_name: bytes
    tag: bytes
    uid_validity: int
    messages: int


class CopiedEmail(NamedTuple):
    """A message of the backup, and where its parts lie."""

    seq: int
    copy: Copy
    segment: int
    offset: int

    @property
    def octets(self) -> int:
        """Of its sealed parts."""
        return self.copy.summary_size + self.copy.header_size + self.copy.body_size


class CopiedRow(NamedTuple):
    """A message's place in a mailbox. uidl: the unique-id that clients know it by, in INBOX."""

    mailbox: int
    flags: int
    uidl: str


class BackupCopy:
    """The store in `home`. Blocks; in one thread at a time."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._database = sqlite3.connect(home / DATABASE, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE INDEX IF NOT EXISTS message_email ON message (email)")
        self._database.execute("CREATE INDEX IF NOT EXISTS email_account ON email (account)")  # by number within it
        self._files: dict[int, int] = {}

    def mailboxes(self, account: bytes) -> list[CopiedMailbox]:
        """Of an account; none where it has no such account."""
        rows = self._database.execute(
            "SELECT b.seq, b.mailbox, b.role, b.sealed_name, coalesce(b.tag, x''), b.uid_validity, b.messages"
            " FROM mailbox b JOIN account a ON a.seq = b.account WHERE a.account = ? ORDER BY b.seq",
            (account,),
        )
        return [CopiedMailbox(*row) for row in rows]

    def mailbox(self, seq: int) -> CopiedMailbox:
        """One."""
        row = self._database.execute(
            "SELECT seq, mailbox, role, sealed_name, coalesce(tag, x''), uid_validity, messages FROM mailbox"
            " WHERE seq = ?",
            (seq,),
        ).fetchone()
        return CopiedMailbox(*row)

    def keywords(self, account: bytes) -> dict[int, bytes]:
        """Bit and lookup tag of each keyword."""
        rows = self._database.execute(
            "SELECT k.bit, k.tag FROM keyword k JOIN account a ON a.seq = k.account WHERE a.account = ?", (account,)
        )
        return dict(rows.fetchall())

    def messages_of(self, account: bytes, mailboxes: Iterable[int], after: int, limit: int) -> list[CopiedEmail]:
        """Messages of these mailboxes in the order in which they arrived, from the one behind `after` on."""
        rows = self._database.execute(_OF_MAILBOXES, (account, after, number_list(mailboxes), limit))
        return [_email(row) for row in rows]

    def messages(self, numbers: Sequence[int]) -> list[CopiedEmail]:
        """These, in their order."""
        rows = self._database.execute(_BY_NUMBER, (number_list(numbers),))
        return [_email(row) for row in rows]

    def messages_in(self, segments: Iterable[int], before: int, limit: int) -> list[CopiedEmail]:
        """Messages of all accounts whose parts lie in these segments, the newest first, from before a number on."""
        rows = self._database.execute(_IN_SEGMENTS, (number_list(segments), before, limit))
        return [_email(row) for row in rows]

    def count(self) -> int:
        """Messages that have a place in a mailbox."""
        ((count,),) = self._database.execute("SELECT count(DISTINCT email) FROM message")
        return int(count)

    def rows_of(self, emails: Sequence[CopiedEmail]) -> dict[int, list[CopiedRow]]:
        """The places of these messages, by number."""
        found: dict[int, list[CopiedRow]] = {email.seq: [] for email in emails}
        rows = self._database.execute(
            "SELECT m.email, m.mailbox, m.flags, b.role, coalesce(u.uidl, printf('%08x%08x', b.uid_validity, m.uid))"
            " FROM json_each(?) r CROSS JOIN message m JOIN mailbox b ON b.seq = m.mailbox"
            " LEFT JOIN uidl u ON u.mailbox = m.mailbox AND u.uid = m.uid WHERE m.email = r.value"
            " ORDER BY m.mailbox, m.uid",
            (number_list(found),),
        )
        for email, mailbox, flags, role, uidl in rows:
            found[email].append(CopiedRow(mailbox, unsigned(flags), uidl if role == Role.INBOX else ""))
        return found

    def payload(self, email: CopiedEmail) -> bytes:
        """Its sealed parts. Raises IntegrityError where the record is not the row's, or not whole."""
        if email.segment not in self._files:
            if len(self._files) >= FILES_MAX:
                self._close_files()
            path = self._home / path_of(email.segment)
            self._files[email.segment] = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        octets = os.pread(self._files[email.segment], HEADER_BYTES + email.octets, email.offset)
        header, payload, copy = decode_header(octets[:HEADER_BYTES]), octets[HEADER_BYTES:], email.copy
        sizes = (copy.summary_size, copy.header_size, copy.body_size)
        expected = (RecordKind.MESSAGE, copy.account, copy.email, sizes)
        if (header.kind, header.account, header.ident, header.sizes) != expected:
            raise IntegrityError(f"segment {email.segment} of the backup has another record at {email.offset}")
        if len(payload) != email.octets or zlib.crc32(payload) != header.crc:
            raise IntegrityError(f"segment {email.segment} of the backup is damaged at {email.offset}")
        return payload

    def drop_segments(self) -> None:
        """Remove the segments that are there."""
        self._close_files()
        for path in (self._home / path_of(0)).parent.glob("*.seg"):
            path.unlink()

    def close(self) -> None:
        """Let go of everything."""
        self._close_files()
        self._database.close()

    def _close_files(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}


def _email(row: Sequence[object]) -> CopiedEmail:
    seq, *fields, segment, offset = row
    return CopiedEmail(int(seq), Copy(*fields), int(segment), int(offset))  # type: ignore[call-overload,arg-type]  # of SQLite
