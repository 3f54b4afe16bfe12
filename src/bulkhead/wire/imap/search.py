"""SEARCH: the program as a tree (RFC 3501 section 6.4.4; RFC 5032, WITHIN; RFC 8474 section 4.3, EMAILID)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final, TypeVar

from bulkhead.wire.charset import REPLACEMENT, codec, decode
from bulkhead.wire.imap.fetch import parse_field_name
from bulkhead.wire.imap.flags import check_keyword
from bulkhead.wire.imap.grammar import NUMBER64_MAX, CommandError, Condition, Scanner
from bulkhead.wire.imap.limits import DEPTH_MAX, SEARCH_KEYS_MAX, SEARCH_STRING_MAX
from bulkhead.wire.imap.search_returns import Returns, parse_returns
from bulkhead.wire.imap.sequence import SequenceSet, parse_sequence_set

CHARSETS: Final = (b"US-ASCII", b"UTF-8", b"ISO-2022-JP", b"SHIFT_JIS", b"WINDOWS-31J", b"EUC-JP", b"ISO-8859-1")
"""Charsets of search strings by their IANA name; the Japanese ones are read as Japanese mailers mean them."""
_CODECS: Final = frozenset(codec(name.decode("ascii")) for name in CHARSETS)

T = TypeVar("T")


class DateField(Enum):
    """Which date of a message: when it was stored, or its Date field."""

    INTERNAL = "internal"
    SENT = "sent"


class DateTest(Enum):
    """BEFORE the day, ON it, SINCE it (on it or later)."""

    BEFORE = "before"
    ON = "on"
    SINCE = "since"


@dataclass(frozen=True, slots=True)
class And:
    """All of `keys`; of none: every message."""

    keys: tuple["SearchKey", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of `keys`."""

    keys: tuple["SearchKey", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The messages that `key` leaves."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class HasFlag:
    """The flag is set: `\\Seen`, a keyword, or `\\Recent`."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Numbers:
    """Message numbers."""

    wanted: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs."""

    wanted: SequenceSet


@dataclass(frozen=True, slots=True)
class Larger:
    """RFC822.SIZE above `octets`."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """RFC822.SIZE below `octets`."""

    octets: int


@dataclass(frozen=True, slots=True)
class ModSeq:
    """MODSEQ of at least `least` (RFC 7162 section 3.1.5)."""

    least: int


@dataclass(frozen=True, slots=True)
class Dated:
    """A day compared, time and zone disregarded."""

    field: DateField
    test: DateTest
    day: date


@dataclass(frozen=True, slots=True)
class Age:
    """Stored within the last `seconds`, or when `older`, at least so long ago (RFC 5032 section 2)."""

    seconds: int
    older: bool


@dataclass(frozen=True, slots=True)
class HasEmailId:
    """The message's EMAILID (RFC 8474 section 4.3)."""

    email: bytes


@dataclass(frozen=True, slots=True)
class HasField:
    """A header field contains `text`, case folded; empty text: the field exists. field: upper case."""

    field: bytes
    text: str


@dataclass(frozen=True, slots=True)
class InBody:
    """The text of the body contains `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class InText:
    """The header or the text of the body contains `text`."""

    text: str


SearchKey = (
    And
    | Or
    | Not
    | HasFlag
    | Numbers
    | Uids
    | Larger
    | Smaller
    | ModSeq
    | Dated
    | Age
    | HasEmailId
    | HasField
    | InBody
    | InText
)


@dataclass(frozen=True, slots=True)
class SearchProgram:
    """One SEARCH. returns: None for the plain SEARCH response, else what ESEARCH answers.

    refused: what the search is to be answered with at once; only where its failure empties `$`.
    """

    key: SearchKey
    returns: Returns | None = None
    refused: CommandError | None = None


def _flag(name: bytes) -> Callable[["_Parser"], SearchKey]:
    return lambda parser: HasFlag(name)


def _no_flag(name: bytes) -> Callable[["_Parser"], SearchKey]:
    return lambda parser: Not(HasFlag(name))


def _dated(field: DateField, test: DateTest) -> Callable[["_Parser"], SearchKey]:
    return lambda parser: Dated(field, test, parser.argument(Scanner.date))


def _field(name: bytes) -> Callable[["_Parser"], SearchKey]:
    return lambda parser: HasField(name, parser.text())


SEARCH_KEYS: Final[dict[bytes, Callable[["_Parser"], "SearchKey"]]] = {
    b"ALL": lambda parser: And(()),
    b"ANSWERED": _flag(b"\\Answered"),
    b"BCC": _field(b"BCC"),
    b"BEFORE": _dated(DateField.INTERNAL, DateTest.BEFORE),
    b"BODY": lambda parser: InBody(parser.text()),
    b"CC": _field(b"CC"),
    b"DELETED": _flag(b"\\Deleted"),
    b"DRAFT": _flag(b"\\Draft"),
    b"EMAILID": lambda parser: HasEmailId(parser.argument(_object_id)),
    b"FLAGGED": _flag(b"\\Flagged"),
    b"FROM": _field(b"FROM"),
    b"HEADER": lambda parser: HasField(parser.argument(parse_field_name), parser.text()),
    b"KEYWORD": lambda parser: HasFlag(check_keyword(parser.argument(Scanner.atom))),
    b"LARGER": lambda parser: Larger(parser.octets()),
    b"MODSEQ": lambda parser: ModSeq(parser.modseq()),
    b"NEW": lambda parser: And((HasFlag(b"\\Recent"), Not(HasFlag(b"\\Seen")))),
    b"NOT": lambda parser: Not(parser.nested()),
    b"OLD": _no_flag(b"\\Recent"),
    b"OLDER": lambda parser: Age(parser.argument(Scanner.nz_number), older=True),
    b"ON": _dated(DateField.INTERNAL, DateTest.ON),
    b"OR": lambda parser: Or((parser.nested(), parser.nested())),
    b"RECENT": _flag(b"\\Recent"),
    b"SEEN": _flag(b"\\Seen"),
    b"SENTBEFORE": _dated(DateField.SENT, DateTest.BEFORE),
    b"SENTON": _dated(DateField.SENT, DateTest.ON),
    b"SENTSINCE": _dated(DateField.SENT, DateTest.SINCE),
    b"SINCE": _dated(DateField.INTERNAL, DateTest.SINCE),
    b"SMALLER": lambda parser: Smaller(parser.octets()),
    b"SUBJECT": _field(b"SUBJECT"),
    b"TEXT": lambda parser: InText(parser.text()),
    b"THREADID": lambda parser: _no_thread(parser.argument(_object_id)),
    b"TO": _field(b"TO"),
    b"UID": lambda parser: Uids(parser.argument(parse_sequence_set)),
    b"UNANSWERED": _no_flag(b"\\Answered"),
    b"UNDELETED": _no_flag(b"\\Deleted"),
    b"UNDRAFT": _no_flag(b"\\Draft"),
    b"UNFLAGGED": _no_flag(b"\\Flagged"),
    b"UNKEYWORD": lambda parser: Not(HasFlag(check_keyword(parser.argument(Scanner.atom)))),
    b"UNSEEN": _no_flag(b"\\Seen"),
    b"YOUNGER": lambda parser: Age(parser.argument(Scanner.nz_number), older=False),
}
_OBJECT_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,255}")


def _object_id(scanner: Scanner) -> bytes:
    found = _OBJECT_ID.fullmatch(scanner.astring("an object id", maximum=255))
    if found is None:
        raise CommandError("no object can have that id")
    return found[0]


def _no_thread(thread: bytes) -> SearchKey:
    """No message has a THREADID (RFC 8474 section 5.2 allows that)."""
    return Not(And(()))


def parse_search(scanner: Scanner) -> SearchProgram:
    """What follows SEARCH and its space: RETURN, CHARSET, then keys.

    At most 1,000 keys, 50 deep, strings of 1,000 octets. Raises CommandError; NO [BADCHARSET] for a charset we cannot
    read or text that is not in it. With SAVE that NO is in the program, since `$` is then empty (RFC 5182 section 2.1).
    """
    returns = accept_returns(scanner)
    with_charset = scanner.accept_word(b"CHARSET") is not None
    if with_charset and scanner.utf8_accept:
        raise CommandError("all text is UTF-8, so no charset may be given")  # RFC 6855 section 3
    if with_charset:
        scanner.space()
    return parse_charset_and_keys(scanner, returns, with_charset=with_charset)


def parse_charset_and_keys(
    scanner: Scanner, returns: Returns | None = None, *, with_charset: bool = True
) -> SearchProgram:
    """The charset, a space and the keys, as SORT and THREAD have them. Limits and errors as of `parse_search`."""
    charset = b"UTF-8"  # RFC 3501 says US-ASCII; clients send UTF-8 unasked, and it is a superset
    try:
        if with_charset:
            charset = _parse_charset(scanner)
            scanner.space()
        return SearchProgram(_Parser(scanner, charset).keys(), returns)
    except CommandError as error:
        if returns is None or not returns.saves or error.condition is not Condition.NO:
            raise
        scanner.pos = len(scanner.data)
        return SearchProgram(And(()), returns, error)


def accept_returns(scanner: Scanner) -> Returns | None:
    """RETURN, its list and the space after it, where that follows. Raises CommandError."""
    if not scanner.accept_word(b"RETURN"):
        return None
    scanner.space()
    returns = parse_returns(scanner)
    scanner.space()
    return returns


def _parse_charset(scanner: Scanner) -> bytes:
    """The charset of search strings, in upper case, by any name we know it by. Raises CommandError."""
    name = scanner.astring("a charset", maximum=64).upper()
    if codec(name.decode("latin-1")) not in _CODECS:
        raise _bad_charset("charset is not supported")
    return name


def _bad_charset(text: str) -> CommandError:
    known = b"BADCHARSET (%s)" % b" ".join(CHARSETS)
    return CommandError(text, condition=Condition.NO, response_code=known)


class _Parser:
    """The keys of one program: counts them and how deep they lie."""

    def __init__(self, scanner: Scanner, charset: bytes) -> None:
        self._scanner, self._charset = scanner, charset
        self._count = self._depth = 0

    def keys(self) -> SearchKey:
        """One or more keys with spaces between: all must hold."""
        keys = [self.key()]
        while self._scanner.accept(b" "):
            keys.append(self.key())
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def key(self) -> SearchKey:
        """One key."""
        scanner = self._scanner
        self._count += 1
        if self._count > SEARCH_KEYS_MAX:
            raise CommandError("too many search keys")
        if scanner.accept(b"("):
            self._descend()
            key = self.keys()
            self._depth -= 1
            scanner.expect(b")", "the end of the group of search keys")
            return key
        following = scanner.peek()
        if following.isdigit() or following in (b"*", b"$"):
            return Numbers(parse_sequence_set(scanner))
        parse = SEARCH_KEYS.get(scanner.word("a search key"))
        if parse is None:
            raise CommandError("no such search key")
        return parse(self)

    def nested(self) -> SearchKey:
        """A space and the key that NOT or OR takes."""
        self._scanner.space()
        self._descend()
        key = self.key()
        self._depth -= 1
        return key

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise CommandError("search keys are nested too deep")

    def argument(self, parse: Callable[[Scanner], T]) -> T:
        """A space and what `parse` reads."""
        self._scanner.space()
        return parse(self._scanner)

    def octets(self) -> int:
        """A space and a size."""
        self._scanner.space()
        return self._scanner.number("a size in octets", maximum=NUMBER64_MAX)

    def modseq(self) -> int:
        """A space, perhaps an entry and its kind, which all have the message's one MODSEQ, and a number."""
        self._scanner.space()
        if self._scanner.at(b'"'):
            self._scanner.string("an entry", maximum=SEARCH_STRING_MAX)
            self._scanner.space()
            if self._scanner.accept_word(b"PRIV", b"SHARED", b"ALL") is None:
                raise CommandError("expected priv, shared or all")
            self._scanner.space()
        return self._scanner.number("a modification sequence", maximum=NUMBER64_MAX)

    def text(self) -> str:
        """A space and a string in the program's charset."""
        self._scanner.space()
        octets = self._scanner.astring("a search string", maximum=SEARCH_STRING_MAX)
        if codec(self._charset.decode("latin-1")) in ("ascii", "utf-8"):
            try:
                return octets.decode("utf-8")
            except UnicodeDecodeError:
                raise _bad_charset("search string is not in its charset") from None
        text = decode(octets, self._charset.decode("latin-1"))
        if REPLACEMENT in text:
            raise _bad_charset("search string is not in its charset")
        return text
