"""Database and segments against each other: every count, every reference, every record."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.errors import IntegrityError
from bulkhead.holder.database_file import connect
from bulkhead.store.disk import Disk
from bulkhead.store.segment import (
    DIRECTORY,
    HEADER_BYTES,
    RecordKind,
    decode_header,
    numbers_in,
    page_ident,
    path_of,
    records_in,
)  # fmt: skip

PROBLEMS_MAX = 100
CRC_BYTES = 1 << 20  # read at once

# Each query gives one row per fault; its columns fill the sentence.
FAULTS: tuple[tuple[str, str], ...] = (
    ("mailbox {} has no account", "SELECT seq FROM mailbox WHERE account NOT IN (SELECT seq FROM account)"),
    ("email {} has no account", "SELECT seq FROM email WHERE account NOT IN (SELECT seq FROM account)"),
    ("page {} has no account", "SELECT page FROM page WHERE account NOT IN (SELECT seq FROM account)"),
    (
        "message {} of mailbox {} has no mailbox",
        "SELECT uid, mailbox FROM message WHERE mailbox NOT IN (SELECT seq FROM mailbox)",
    ),
    (
        "message {} of mailbox {} has no email of its account",
        "SELECT m.uid, m.mailbox FROM message m JOIN mailbox b ON b.seq = m.mailbox"
        " LEFT JOIN email e ON e.seq = m.email WHERE e.seq IS NULL OR e.account != b.account",
    ),
    (
        "account {} has no INBOX",
        "SELECT a.seq FROM account a LEFT JOIN mailbox b ON b.seq = a.inbox AND b.account = a.seq AND b.role = 1"
        " WHERE b.seq IS NULL",
    ),
    (
        "email {}: {} references are noted, {} exist",
        "SELECT e.seq, e.refs, (SELECT n FROM refs WHERE refs.email = e.seq) AS n FROM email e"
        " WHERE e.refs IS NOT coalesce(n, 0) OR e.refs = 0",
    ),
    (
        "mailbox {}: the counts {} do not agree with its rows",
        "SELECT b.seq, printf('messages %d, unseen %d, deleted %d, recent %d, size %d, deleted_size %d',"
        " b.messages, b.unseen, b.deleted, b.recent, b.size, b.deleted_size) FROM mailbox b LEFT JOIN ("
        "  SELECT m.mailbox, count(*) AS messages, sum(m.flags & 1 = 0) AS unseen, sum(m.flags & 8 != 0) AS deleted,"
        "  sum(m.uid >= o.recent_from) AS recent, sum(e.size) AS size,"
        "  sum((m.flags & 8 != 0) * e.size) AS deleted_size FROM message m JOIN email e ON e.seq = m.email"
        "  JOIN mailbox o ON o.seq = m.mailbox GROUP BY m.mailbox) c ON c.mailbox = b.seq"
        " WHERE b.messages != coalesce(c.messages, 0) OR b.unseen != coalesce(c.unseen, 0)"
        " OR b.deleted != coalesce(c.deleted, 0) OR b.recent != coalesce(c.recent, 0) OR b.size != coalesce(c.size, 0)"
        " OR b.deleted_size != coalesce(c.deleted_size, 0)",
    ),
    (
        "mailbox {}: UID {} was given out, the next is {}",
        "SELECT b.seq, m.uid, b.uid_next FROM mailbox b JOIN message m ON m.mailbox = b.seq AND m.uid ="
        " (SELECT max(uid) FROM message WHERE mailbox = b.seq) WHERE m.uid >= b.uid_next",
    ),
    (
        "mailbox {}: MODSEQ {} of message {} is above its own or its account's",
        "SELECT b.seq, m.modseq, m.uid FROM message m JOIN mailbox b ON b.seq = m.mailbox"
        " JOIN account a ON a.seq = b.account WHERE m.modseq > b.modseq OR b.modseq > a.modseq",
    ),
    (
        "mailbox {}: UIDVALIDITY {} is above its account's, or another's too",
        "SELECT b.seq, b.uid_validity FROM mailbox b JOIN account a ON a.seq = b.account"
        " WHERE b.uid_validity > a.uid_validity OR EXISTS (SELECT 1 FROM mailbox o WHERE o.account = b.account"
        " AND o.seq != b.seq AND o.uid_validity = b.uid_validity)",
    ),
    (
        "account {}: {} octets and {} messages are noted, which its rows do not have",
        "SELECT a.seq, a.used, a.messages FROM account a WHERE a.used !="
        " (SELECT coalesce(sum(size), 0) FROM mailbox WHERE account = a.seq) OR a.messages !="
        " (SELECT coalesce(sum(messages), 0) FROM mailbox WHERE account = a.seq)",
    ),
    (
        "deleted message {} has no email of its account, or no mailbox that is or was",
        "SELECT d.number FROM deleted d LEFT JOIN email e ON e.seq = d.email WHERE e.seq IS NULL"
        " OR e.account != d.account OR NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.seq = d.mailbox"
        " AND b.account = d.account UNION ALL SELECT 1 FROM deleted_mailbox g WHERE g.mailbox = d.mailbox"
        " AND g.account = d.account)",
    ),
    (
        "account {}: {} octets of deleted messages are noted, which its rows do not have",
        "SELECT a.seq, a.kept FROM account a WHERE a.kept != (SELECT coalesce(sum(e.size), 0) FROM deleted d"
        " JOIN email e ON e.seq = d.email WHERE d.account = a.seq)",
    ),
    (
        "mailbox {} is kept as deleted, and exists, or nothing of it is kept",
        "SELECT g.mailbox FROM deleted_mailbox g WHERE EXISTS (SELECT 1 FROM mailbox b WHERE b.seq = g.mailbox)"
        " OR NOT EXISTS (SELECT 1 FROM deleted d WHERE d.mailbox = g.mailbox)",
    ),
    (
        "mailbox {}: {} expunged UIDs are noted, its log has others",
        "SELECT b.seq, b.logged FROM mailbox b WHERE b.logged != (SELECT count(*) FROM expunged WHERE mailbox = b.seq)",
    ),
    (
        "mailbox {}: UID {} is expunged and present",
        "SELECT x.mailbox, x.uid FROM expunged x JOIN message m ON m.mailbox = x.mailbox AND m.uid = x.uid",
    ),
    (
        "mailbox {}: UID {} has an imported unique-id and is not there",
        "SELECT u.mailbox, u.uid FROM uidl u LEFT JOIN message m ON m.mailbox = u.mailbox AND m.uid = u.uid"
        " WHERE m.uid IS NULL",
    ),
    (
        "account {}, page {}: {} live summaries are noted, {} exist",
        "SELECT p.account, p.page, p.live, (SELECT n FROM filed f WHERE f.account = p.account AND f.page = p.page)"
        " AS n FROM page p JOIN account a ON a.seq = p.account"
        " WHERE p.live IS NOT n OR p.live = 0 OR p.page >= a.next_page",
    ),
    (
        "email {} lies in page {} at {}, where there is no room",
        "SELECT e.seq, e.page, e.place FROM email e LEFT JOIN page p ON p.account = e.account AND p.page = e.page"
        " WHERE e.page != 0 AND (p.page IS NULL OR e.place >= p.used)",
    ),
    (
        "account {}, page {}: it holds {} summaries by its row, which cannot be",
        "SELECT account, page, held FROM page WHERE held < live OR held > used",
    ),
    (
        "account {}, page {}: two messages lie at {}",
        "SELECT account, page, place FROM email WHERE page != 0 GROUP BY account, page, place HAVING count(*) > 1",
    ),
    (
        "account {}: its keyword bits are not those of its keywords",
        "SELECT a.seq FROM account a WHERE a.keywords !="
        " (SELECT coalesce(sum(1 << bit), 0) FROM keyword k WHERE k.account = a.seq)",
    ),
    (
        "mailbox {}: message {} has a keyword that its account has not",
        "SELECT m.mailbox, m.uid FROM message m JOIN mailbox b ON b.seq = m.mailbox"
        " JOIN account a ON a.seq = b.account WHERE m.flags & ~(a.keywords | 31) != 0",
    ),
    (
        "segment {}: {} live records are noted, its rows name others",
        "SELECT s.number, s.live FROM segment s LEFT JOIN named n ON n.segment = s.number"
        " WHERE s.live != coalesce(n.records, 0) OR s.bytes != coalesce(n.bytes, 0)",
    ),
    (
        "segment {} is named and has no row",
        "SELECT segment FROM named WHERE segment NOT IN (SELECT number FROM segment)",
    ),
)

_PREPARE = """
    CREATE TEMP TABLE refs (email INTEGER PRIMARY KEY, n INTEGER);
    INSERT INTO refs SELECT email, count(*) FROM
        (SELECT email FROM message UNION ALL SELECT email FROM deleted) GROUP BY email;
    CREATE TEMP TABLE filed (account INTEGER, page INTEGER, n INTEGER, PRIMARY KEY (account, page));
    INSERT INTO filed SELECT account, page, count(*) FROM email WHERE page != 0 GROUP BY account, page;
    CREATE TEMP TABLE named (segment INTEGER PRIMARY KEY, records INTEGER, bytes INTEGER);
    INSERT INTO named SELECT segment, count(*), sum(:header + length) FROM (
        SELECT segment, summary_size + header_size + body_size AS length FROM email
        UNION ALL SELECT segment, size FROM page) GROUP BY segment;
"""

_RECORDS = """
    SELECT e.segment, e.offset, 1, a.account, e.email, e.summary_size, e.header_size, e.body_size, e.seq
    FROM email e JOIN account a ON a.seq = e.account
    UNION ALL
    SELECT p.segment, p.offset, 2, a.account, p.version, p.size, 0, 0, p.page
    FROM page p JOIN account a ON a.seq = p.account
    ORDER BY 1, 2
"""


@dataclass(slots=True)
class Report:
    """What was found. unreferenced: bytes in segments that no row names, which are waste and no fault."""

    accounts: int = 0
    messages: int = 0
    unreferenced: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note a fault; the first 100 are kept."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem[:1000])


def check(path: Path, disk: Disk, deep: bool) -> Report:
    """Check the store whose directory is the working directory. deep: read every payload against its CRC.

    Reads one snapshot, so it may run while the store is written; segments must not be removed meanwhile.
    """
    report = Report()
    numbers = numbers_in(disk) if Path(DIRECTORY).is_dir() else []
    if not disk.size(str(path)):
        report.add(f"{path.name} is missing or empty; restore the store from its backup")
        return report
    try:
        with closing(connect(path, secure_delete=False)) as connection:
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            if disk.size(str(path)) % page_size:  # SQLite reads the missing bytes as zeros and may not mind
                report.add(f"{path.name} is cut inside a page; restore the store from its backup")
            _check_all(connection, disk, numbers, deep, report)
    except sqlite3.DatabaseError as error:
        report.add(f"{path.name} cannot be read ({error}); restore the store from its backup")
    return report


def _check_all(connection: sqlite3.Connection, disk: Disk, numbers: list[int], deep: bool, report: Report) -> None:
    connection.execute("BEGIN")
    for (line,) in connection.execute(f"PRAGMA {'integrity_check' if deep else 'quick_check'}({PROBLEMS_MAX})"):
        if line != "ok":
            report.add(f"store.sqlite: {line}")
    if report.problems:
        return
    for statement in _PREPARE.strip().removesuffix(";").split(";"):
        connection.execute(statement, {"header": HEADER_BYTES} if ":header" in statement else {})
    report.accounts, report.messages = connection.execute(
        "SELECT count(*), coalesce(sum(messages), 0) FROM account"
    ).fetchone()
    for sentence, query in FAULTS:
        for row in connection.execute(f"{query} LIMIT {PROBLEMS_MAX}"):
            report.add(sentence.format(*row))
    _check_records(connection, disk, deep, report)
    (named,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM named").fetchone()
    report.unreferenced = max(0, sum(disk.size(path_of(number)) for number in numbers) - named)
    connection.execute("COMMIT")
    _check_witness(connection, disk, numbers, report)


def _check_records(connection: sqlite3.Connection, disk: Disk, deep: bool, report: Report) -> None:
    """Every named record: it is there, it is the one that the row means, and where `deep` its bytes are whole."""
    opened, fd = 0, -1
    try:
        for segment, offset, kind, account, ident, *sizes, seq in connection.execute(_RECORDS):
            name = f"email {seq}" if kind == RecordKind.MESSAGE else f"page {seq}"
            if segment != opened:
                if fd >= 0:
                    disk.close(fd)
                opened, fd = segment, _open(disk, segment, report)
            if fd < 0:
                continue
            expected = ident if kind == RecordKind.MESSAGE else page_ident(seq, ident)
            try:
                header = decode_header(disk.pread(fd, HEADER_BYTES, offset))
                if (header.kind, header.account, header.ident, list(header.sizes)) != (kind, account, expected, sizes):
                    raise IntegrityError("another record lies there")
                _check_payload(disk, fd, offset + HEADER_BYTES, header.payload, header.crc if deep else None)
            except IntegrityError as error:
                report.add(f"{name}, segment {segment} at {offset}: {error.public}")
    finally:
        if fd >= 0:
            disk.close(fd)


def _open(disk: Disk, segment: int, report: Report) -> int:
    try:
        return disk.open(path_of(segment))
    except OSError as error:
        report.add(f"{path_of(segment)} cannot be opened ({error.strerror}); restore it from the backup")
        return -1


def _check_payload(disk: Disk, fd: int, offset: int, length: int, crc: int | None) -> None:
    """Raises IntegrityError where bytes are missing, or with `crc` where they are not those that were written."""
    if crc is None:
        if length and len(disk.pread(fd, 1, offset + length - 1)) != 1:
            raise IntegrityError("its bytes are cut short")
        return
    found, left = 0, length
    for piece in _pieces(disk, fd, offset, length):
        found = zlib.crc32(piece, found)
        left -= len(piece)
    if left:
        raise IntegrityError("its bytes are cut short")
    if found != crc:
        raise IntegrityError("its bytes are damaged")


def _pieces(disk: Disk, fd: int, offset: int, length: int) -> Iterator[bytes]:
    end = offset + length
    while offset < end and (piece := disk.pread(fd, min(CRC_BYTES, end - offset), offset)):
        yield piece
        offset += len(piece)


def _check_witness(connection: sqlite3.Connection, disk: Disk, numbers: list[int], report: Report) -> None:
    for number in numbers:
        try:
            witness = highest_witness(disk, number)
        except OSError:
            continue
        known = highest_email(connection)  # asked after the walk: both go up while the store is written
        if witness > known:
            report.add(
                f"segment {number} knows of email {witness}, store.sqlite only up to {known}: commits were lost;"
                " restore the store from its backup"
            )


def highest_email(connection: sqlite3.Connection) -> int:
    """The highest email.seq that this database ever gave out."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'email'").fetchone()
    return int(row[0]) if row else 0


def highest_witness(disk: Disk, number: int) -> int:
    """The highest email.seq that the records of a segment know to be committed."""
    return max((header.witness for _, header in records_in(disk, number)), default=0)
