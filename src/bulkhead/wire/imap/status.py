"""What STATUS tells, asked by itself and by LIST (RFC 3501 section 6.3.10; RFC 5819 section 2)."""

from enum import Enum
from typing import Final

from bulkhead.wire.imap.grammar import CommandError, Scanner


class StatusItem(Enum):
    """Items of RFC 3501; DELETED of RFC 9051 and SIZE of RFC 8438; then RFC 7162, RFC 7889, RFC 8474, RFC 9208."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    SIZE = b"SIZE"
    DELETED = b"DELETED"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    APPENDLIMIT = b"APPENDLIMIT"
    MAILBOXID = b"MAILBOXID"
    DELETED_STORAGE = b"DELETED-STORAGE"


_ITEMS: Final = {item.value: item for item in StatusItem}


def parse_status_items(scanner: Scanner) -> tuple[StatusItem, ...]:
    """`(MESSAGES UIDNEXT)`: each item once, in the client's order. Raises CommandError."""
    scanner.expect(b"(", "a list of status items")
    items: dict[StatusItem, None] = {}
    while True:
        item = _ITEMS.get(scanner.word("a status item"))
        if item is None:
            raise CommandError("no such status item")
        items[item] = None
        if not scanner.accept(b" "):
            break
    scanner.expect(b")", "the end of the list of status items")
    return tuple(items)
