"""Commands that name mailboxes: APPEND, CREATE, RENAME, STATUS, and the name itself (RFC 3501 section 6.3)."""

import re
from typing import Final

from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap.flags import NO_FLAGS, parse_flag_list
from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.limits import NAME_MAX, SPECIAL_USES_MAX
from bulkhead.wire.imap.mailbox_name import parse_mailbox_name
from bulkhead.wire.imap.status import parse_status_items

_UTF8_LITERAL: Final = re.compile(rb"~\{([0-9]{1,20})\+?\}\r\n\Z")
_APPEND_LITERAL: Final = re.compile(rb"~?\{([0-9]{1,20})\+?\}\r\n\Z")


def mailbox_argument(scanner: Scanner, *, creating: bool = False) -> str:
    """A space and a mailbox name."""
    scanner.space()
    octets = scanner.astring("a mailbox name", maximum=NAME_MAX)
    return parse_mailbox_name(octets, utf8=scanner.utf8_names, creating=creating)


def parse_append(scanner: Scanner) -> c.Append:
    """APPEND from after its name to the end of its last literal's announcement. Raises CommandError."""
    return parse_message(scanner, mailbox_argument(scanner))


def parse_message(scanner: Scanner, mailbox: str) -> c.Append:
    """Flags, date and the announcement of one message of an APPEND to `mailbox` (RFC 3502 section 6.3.11)."""
    scanner.space()
    flags, internal_date = NO_FLAGS, None
    if scanner.at(b"("):
        flags = parse_flag_list(scanner)
        scanner.space()
    if scanner.at(b'"'):
        internal_date = scanner.date_time()
        scanner.space()
    utf8 = scanner.accept_word(b"UTF8") is not None
    if utf8:
        if not scanner.utf8_accept:
            raise CommandError("ENABLE UTF8=ACCEPT comes first")
        scanner.space()
        scanner.expect(b"(", "the message in parentheses")
    found = (_UTF8_LITERAL if utf8 else _APPEND_LITERAL).match(scanner.data, scanner.pos)
    if found is None:
        raise CommandError("expected the message as a literal")
    return c.Append(mailbox, flags, internal_date, int(found[1]), utf8)


def append_without_literal(scanner: Scanner) -> c.Command:
    """APPEND comes here only when no message literal followed: the receiver takes the others apart itself."""
    raise CommandError("expected a mailbox and the message as a literal")


def parse_create(scanner: Scanner) -> c.Create:
    """CREATE from after its name."""
    mailbox = mailbox_argument(scanner, creating=True)
    uses: list[bytes] = []
    if scanner.accept(b" "):
        scanner.expect(b"(", "a list of parameters")
        if scanner.word("a parameter of CREATE") != b"USE":  # RFC 6154 section 3; RFC 4466 section 2.2: others are BAD
            raise CommandError("no such parameter of CREATE")
        scanner.space()
        scanner.expect(b"(", "a list of special uses")
        while not scanner.accept(b")"):
            if uses:
                scanner.space()
            if len(uses) >= SPECIAL_USES_MAX:
                raise CommandError(f"CREATE takes at most {SPECIAL_USES_MAX} special uses")
            scanner.expect(b"\\", "a special use such as \\Drafts")
            uses.append(b"\\" + scanner.word("a special use such as \\Drafts"))
        scanner.expect(b")", "the end of the parameters")
    return c.Create(mailbox, tuple(uses))


def parse_rename(scanner: Scanner) -> c.Rename:
    """RENAME from after its name."""
    return c.Rename(mailbox_argument(scanner), mailbox_argument(scanner, creating=True))


def parse_status(scanner: Scanner) -> c.Status:
    """STATUS from after its name."""
    mailbox = mailbox_argument(scanner)
    scanner.space()
    return c.Status(mailbox, parse_status_items(scanner))
