"""What mutations do to the rows, inside a transaction on the writer thread: append, select, copy, remove.

Every function keeps the counts of account, mailbox, email, page and segment with the rows they count, and notes what
it did in the mutation's Effects. A UID is given once and they only rise (RFC 3501 section 2.3.1.1).
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from bulkhead.boundary.messages.to_store import Copy, UidRange
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.store.changes import AddedRow, Effects, MailboxChange
from bulkhead.store.segment import HEADER_BYTES, Place

SEEN, DELETED = 1, 8
SYSTEM_FLAGS = 0x1F
MESSAGES_MAX = 4_000_000  # rows of one account, by default: with one octet of quota each they outgrow who lists them
LOG_MAX = 50_000  # expunged UIDs remembered for one mailbox; over it the older half is forgotten
SLICE = 2000  # rows of one step
ALL_UIDS: tuple[UidRange, ...] = ((1, 0xFFFFFFFF),)
_BIT_63 = 1 << 63


class MailboxHead(NamedTuple):
    """What a mutation needs of its mailbox."""

    seq: int
    uid_validity: int
    uid_next: int
    deleted: int
    recent_from: int


class Row(NamedTuple):
    """One message row joined with its email; flags signed."""

    uid: int
    email_seq: int
    flags: int
    modseq: int
    size: int
    date: int
    email: str  # EmailId, hexadecimal


def signed(flags: int) -> int:
    """64 bits as SQLite keeps them."""
    return flags - (_BIT_63 << 1) if flags & _BIT_63 else flags


def unsigned(flags: int) -> int:
    """64 bits as they cross the boundary."""
    return flags & 0xFFFF_FFFF_FFFF_FFFF


def find_mailbox(connection: sqlite3.Connection, account: int, mailbox: bytes) -> MailboxHead:
    """The mailbox of this account. Raises Refused (`no-such-mailbox`)."""
    row = connection.execute(
        "SELECT seq, uid_validity, uid_next, deleted, recent_from FROM mailbox WHERE account = ? AND mailbox = ?",
        (account, mailbox),
    ).fetchone()
    if row is None:
        raise Refused("there is no such mailbox", code="no-such-mailbox")
    return MailboxHead(*row)


def take_modseq(connection: sqlite3.Connection, effects: Effects, account: int) -> int:
    """The account's next MODSEQ, for everything this mutation changes."""
    effects.accounts.add(account)
    ((modseq,),) = connection.execute(
        "UPDATE account SET modseq = modseq + 1 WHERE seq = ? RETURNING modseq", (account,)
    ).fetchall()
    return int(modseq)


def take_uid_validity(connection: sqlite3.Connection, account: int) -> int:
    """The account's next UIDVALIDITY."""
    ((value,),) = connection.execute(
        "UPDATE account SET uid_validity = uid_validity + 1 WHERE seq = ? RETURNING uid_validity", (account,)
    ).fetchall()
    return int(value)


# --- append ----------------------------------------------------------------------------------------------------------


class Room(NamedTuple):
    """An account in which room was reserved."""

    seq: int
    modseq: int
    inbox: int
    keywords: int
    generation: int


def generation_of(record: bytes) -> int:
    """Of the mailbox key that a box, a slot or a page is under: what its header says (docs/formats.md)."""
    return int.from_bytes(record[3:7], "big")


def reserve_room(
    connection: sqlite3.Connection, effects: Effects, account: bytes, octets: int, messages_max: int
) -> Room:
    """Take `octets` of quota and a MODSEQ for one message. Raises Refused (`over-quota`, `no-such-account`)."""
    rows = connection.execute(
        "UPDATE account SET modseq = modseq + 1, used = used + ?1, messages = messages + 1"
        " WHERE account = ?2 AND messages < ?3 AND (quota = 0 OR used + ?1 <= quota)"
        " RETURNING seq, modseq, inbox, keywords, generation",
        (octets, account, messages_max),
    ).fetchall()
    if not rows:
        if connection.execute("SELECT 1 FROM account WHERE account = ?", (account,)).fetchone() is None:
            raise Refused("there is no such account", code="no-such-account")
        raise over_quota()
    room = Room(*rows[0])
    effects.accounts.add(room.seq)
    return room


def over_quota() -> Refused:
    """The answer where a message does not fit."""
    return Refused("the mailbox is full", code="over-quota")


def require_keywords(flags: int, keywords: int) -> None:
    """Raises Refused (`unknown-keyword`) where a flag is no system flag and no keyword of the account."""
    if flags & ~(SYSTEM_FLAGS | unsigned(keywords)):
        raise Refused("the account has no such keyword", code="unknown-keyword")


def insert_message(
    connection: sqlite3.Connection,
    effects: Effects,
    room: Room,
    mailbox: int,
    copy: Copy,
    flags: int,
    place: Place,
) -> tuple[int, int]:
    """Put a message into a mailbox: its UID and the mailbox's UIDVALIDITY. Raises Refused (`duplicate-email`).

    Raises TemporaryFailure for one sealed to a mailbox key that was dropped: its gate was shown an older binding.
    """
    if generation_of(copy.box) < room.generation:
        raise TemporaryFailure("the message is sealed to a mailbox key that is no more", code="old-binding")
    stored = signed(flags)
    ((uid, uid_validity),) = connection.execute(
        "UPDATE mailbox SET uid_next = uid_next + 1, messages = messages + 1, unseen = unseen + ?1,"
        " deleted = deleted + ?2, recent = recent + 1, size = size + ?3, modseq = ?4,"
        " deleted_size = deleted_size + ?2 * ?3 WHERE seq = ?5 RETURNING uid_next - 1, uid_validity",
        (not flags & SEEN, bool(flags & DELETED), copy.size, room.modseq, mailbox),
    ).fetchall()
    try:
        email_seq = connection.execute(
            "INSERT INTO email (account, email, refs, size, date, page, place, sealed_key, summary_size, header_size,"
            " body_size, segment, offset) VALUES (?, ?, 1, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?)",
            (
                room.seq, copy.email, copy.size, copy.date, copy.box,
                copy.summary_size, copy.header_size, copy.body_size, place.segment, place.offset,
            ),
        ).lastrowid  # fmt: skip
    except sqlite3.IntegrityError:
        raise Refused("a message of this id exists", code="duplicate-email") from None
    connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (mailbox, uid, email_seq, stored, room.modseq))
    name_record(connection, place)
    effects.emails = max(effects.emails, email_seq or 0)
    effects.changes.append(
        MailboxChange(mailbox, room.modseq, added=[AddedRow(uid, stored, copy.size, copy.date, copy.email)])
    )
    return uid, uid_validity


def name_record(connection: sqlite3.Connection, place: Place) -> None:
    """A row names this record from now on."""
    connection.execute(
        "INSERT INTO segment (number, live, bytes) VALUES (?, 1, ?)"
        " ON CONFLICT (number) DO UPDATE SET live = live + 1, bytes = bytes + excluded.bytes",
        (place.segment, place.length),
    )


def forget_records(connection: sqlite3.Connection, effects: Effects, records: Iterable[tuple[int, int, int]]) -> None:
    """No row names these records any more: (segment, how many, their bytes with headers)."""
    for segment, count, octets in records:
        ((live,),) = connection.execute(
            "UPDATE segment SET live = live - ?, bytes = bytes - ?, dead_since = coalesce(dead_since, unixepoch())"
            " WHERE number = ? RETURNING live",
            (count, octets, segment),
        ).fetchall()
        if live == 0:
            effects.emptied = True


# --- select ----------------------------------------------------------------------------------------------------------


def merged(ranges: Sequence[UidRange]) -> list[UidRange]:
    """The same UIDs as ascending ranges that do not touch."""
    out: list[UidRange] = []
    for first, last in sorted(ranges):
        if first > last:
            continue
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out


_FROM_RANGES = (
    " FROM json_each(?1) r CROSS JOIN message m CROSS JOIN email e"
    " WHERE m.mailbox = ?2 AND m.uid BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]')"
    " AND e.seq = m.email LIMIT ?3"
)
SELECT_STORED = (
    "SELECT m.uid, e.size, e.date, e.email, e.page, e.place, e.sealed_key, e.summary_size, e.header_size, e.body_size"
    + _FROM_RANGES
)
SELECT_PLACES = "SELECT m.uid, e.page, e.place" + _FROM_RANGES
_SELECT_SLICE = (
    "SELECT json_group_array(json_array(uid, seq, flags, modseq, size, date, hex(email))) FROM"
    " (SELECT m.uid, e.seq, m.flags, m.modseq, e.size, e.date, e.email FROM json_each(?1) r CROSS JOIN message m"
    " CROSS JOIN email e"
    " WHERE m.mailbox = ?2 AND m.uid BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]')"
    " AND m.flags & ?4 = ?4 AND e.seq = m.email LIMIT ?3)"
)


def range_list(ranges: Sequence[UidRange]) -> str:
    """The ranges as the first parameter of SELECT_STORED; then come mailbox.seq and the limit."""
    return json.dumps(merged(ranges))


def row_slices(
    connection: sqlite3.Connection, mailbox: int, ranges: Sequence[UidRange] = ALL_UIDS, flags: int = 0
) -> Iterator[list[Row]]:
    """The message rows of these UIDs that have all of `flags`, in UID order, 2,000 at a time; missing ones left out.

    A slice is one step of SQLite: each step gives up the interpreter's lock, and a busy loop is slow to give it back.
    """
    left = merged(ranges)
    while left:
        (text,) = connection.execute(_SELECT_SLICE, (json.dumps(left), mailbox, SLICE, flags)).fetchone()
        rows = [Row(*row) for row in json.loads(text)]
        yield rows
        if len(rows) < SLICE:
            return
        left = after(left, rows[-1].uid)


_FLAG_ROWS = (
    "SELECT json_group_array(uid), json_group_array(flags), json_group_array(modseq) FROM"
    " (SELECT m.uid, m.flags, m.modseq FROM json_each(?1) r CROSS JOIN message m"
    " WHERE m.mailbox = ?2 AND m.uid BETWEEN json_extract(r.value, '$[0]') AND json_extract(r.value, '$[1]') LIMIT ?3)"
)


def flag_rows(
    connection: sqlite3.Connection, mailbox: int, ranges: Sequence[UidRange], limit: int
) -> tuple[list[int], list[int], list[int]]:
    """UIDs, signed flags and MODSEQs of at most `limit` messages of merged ranges, in UID order."""
    found = connection.execute(_FLAG_ROWS, (json.dumps(ranges), mailbox, limit)).fetchone()
    uids, flags, modseqs = map(json.loads, found)
    return uids, flags, modseqs


def after(ranges: Sequence[UidRange], uid: int) -> list[UidRange]:
    """What of merged ranges lies above `uid`."""
    return [(max(first, uid + 1), last) for first, last in ranges if last > uid]


def number_list(numbers: Iterable[int]) -> str:
    """Numbers as the parameter of `IN (SELECT value FROM json_each(?))`: one statement, however many there are."""
    return json.dumps(list(numbers))


# --- remove ----------------------------------------------------------------------------------------------------------


def take_rows(
    connection: sqlite3.Connection, mailbox: MailboxHead, rows: Sequence[Row], modseq: int, change: MailboxChange
) -> None:
    """Take message rows out of a mailbox and log their UIDs; their emails stay."""
    uids = [row.uid for row in rows]
    connection.execute(
        "DELETE FROM message WHERE mailbox = ? AND uid IN (SELECT value FROM json_each(?))",
        (mailbox.seq, number_list(uids)),
    )
    connection.execute(
        "INSERT INTO expunged SELECT ?, ?, value FROM json_each(?)", (mailbox.seq, modseq, number_list(uids))
    )
    connection.execute(
        "UPDATE mailbox SET messages = messages - ?, unseen = unseen - ?, deleted = deleted - ?, recent = recent - ?,"
        " size = size - ?, deleted_size = deleted_size - ?, modseq = ?, logged = logged + ? WHERE seq = ?",
        (
            len(rows), sum(not row.flags & SEEN for row in rows), sum(bool(row.flags & DELETED) for row in rows),
            sum(row.uid >= mailbox.recent_from for row in rows), sum(row.size for row in rows),
            sum(row.size for row in rows if row.flags & DELETED), modseq, len(rows), mailbox.seq,
        ),
    )  # fmt: skip
    forget_uidls(connection, mailbox.seq, uids)
    change.expunged.extend(uids)
    trim_log(connection, mailbox.seq)


def forget_uidls(connection: sqlite3.Connection, mailbox: int, uids: Sequence[int]) -> None:
    """Messages that left take their imported unique-ids along."""
    if connection.execute("SELECT 1 FROM uidl WHERE mailbox = ? LIMIT 1", (mailbox,)).fetchone() is not None:
        connection.execute(
            "DELETE FROM uidl WHERE mailbox = ? AND uid IN (SELECT value FROM json_each(?))",
            (mailbox, number_list(uids)),
        )


def trim_log(connection: sqlite3.Connection, mailbox: int) -> None:
    """Forget the older half of the expunged UIDs where there are too many."""
    (logged,) = connection.execute("SELECT logged FROM mailbox WHERE seq = ?", (mailbox,)).fetchone()
    if logged <= LOG_MAX:
        return
    (floor,) = connection.execute(
        "SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq, uid LIMIT 1 OFFSET ?",
        (mailbox, logged - LOG_MAX // 2),
    ).fetchone()
    gone = connection.execute("DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?", (mailbox, floor)).rowcount
    connection.execute("UPDATE mailbox SET logged = logged - ?, log_floor = ? WHERE seq = ?", (gone, floor, mailbox))


def drop_references(connection: sqlite3.Connection, effects: Effects, account: int, emails: Sequence[int]) -> None:
    """One reference less to each email, as often as it is named; the last takes key, slot and parts along."""
    seqs = list(dict.fromkeys(emails))
    for count, some in by_count(emails):
        connection.execute(
            "UPDATE email SET refs = refs - ? WHERE seq IN (SELECT value FROM json_each(?))", (count, number_list(some))
        )
    dead = connection.execute(
        "SELECT page, segment, count(*), sum(? + summary_size + header_size + body_size) FROM email"
        " WHERE seq IN (SELECT value FROM json_each(?)) AND refs = 0 GROUP BY page, segment",
        (HEADER_BYTES, number_list(seqs)),
    ).fetchall()
    connection.execute(
        "DELETE FROM email WHERE seq IN (SELECT value FROM json_each(?)) AND refs = 0", (number_list(seqs),)
    )
    forget_records(connection, effects, [(segment, count, octets) for _, segment, count, octets in dead])
    pages: Counter[int] = Counter()
    for page, _, count, _ in dead:
        pages[page] += count
    del pages[0]
    for page, count in pages.items():
        release_page(connection, effects, account, page, count)


def by_count(numbers: Iterable[int]) -> list[tuple[int, list[int]]]:
    """The numbers grouped by how often each occurs."""
    groups: dict[int, list[int]] = {}
    for number, count in Counter(numbers).items():
        groups.setdefault(count, []).append(number)
    return list(groups.items())


def release_page(connection: sqlite3.Connection, effects: Effects, account: int, page: int, count: int) -> None:
    """So many live summaries less in a page; one with none left goes."""
    ((live, segment, size),) = connection.execute(
        "UPDATE page SET live = live - ? WHERE account = ? AND page = ? RETURNING live, segment, size",
        (count, account, page),
    ).fetchall()
    if live == 0:
        connection.execute("DELETE FROM page WHERE account = ? AND page = ?", (account, page))
        forget_records(connection, effects, [(segment, 1, HEADER_BYTES + size)])
