"""COMMANDS: each command's name, the states that allow it, and its parser (RFC 3501 section 6).

An extension is a row here, a value in `commands`, and where it has arguments a parser.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap.fetch import Attribute, parse_fetch_items
from bulkhead.wire.imap.flags import parse_flag_list
from bulkhead.wire.imap.grammar import NUMBER64_MAX, CommandError, Scanner
from bulkhead.wire.imap.limits import (
    ENABLE_MAX,
    ID_NAME_MAX,
    ID_PAIRS_MAX,
    ID_VALUE_MAX,
)
from bulkhead.wire.imap.list_command import parse_list, parse_lsub
from bulkhead.wire.imap.mailbox_commands import (
    append_without_literal,
    mailbox_argument,
    parse_create,
    parse_rename,
    parse_status,
)  # fmt: skip
from bulkhead.wire.imap.quota import parse_get_quota, parse_get_quota_root, parse_set_quota
from bulkhead.wire.imap.search import accept_returns, parse_charset_and_keys, parse_search
from bulkhead.wire.imap.search_returns import Window, parse_window
from bulkhead.wire.imap.sequence import STAR, SequenceSet, parse_sequence_set
from bulkhead.wire.imap.sort import parse_sort_keys
from bulkhead.wire.imap.thread import THREAD_ALGORITHMS
from bulkhead.wire.sasl import FIELD_MAX

_BASE64: Final = re.compile(rb"=|[A-Za-z0-9+/]+={0,2}")


class State(Enum):
    """Where a connection stands (RFC 3501 section 3)."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


ANY: Final = frozenset((State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED))
BEFORE_LOGIN: Final = frozenset((State.NOT_AUTHENTICATED,))
AFTER_LOGIN: Final = frozenset((State.AUTHENTICATED, State.SELECTED))
IN_MAILBOX: Final = frozenset((State.SELECTED,))

Parse = Callable[[Scanner], c.Command]


@dataclass(frozen=True, slots=True)
class CommandRule:
    """One row: where the command is allowed, and what reads its arguments."""

    states: frozenset[State]
    parse: Parse


def _id(scanner: Scanner) -> c.Command:
    scanner.space()
    if scanner.accept_word(b"NIL"):
        return c.Id(())
    scanner.expect(b"(", "NIL or a list of names and values")
    pairs: list[tuple[bytes, bytes | None]] = []
    while not scanner.accept(b")"):
        if pairs:
            scanner.space()
        if len(pairs) >= ID_PAIRS_MAX:
            raise CommandError(f"ID takes at most {ID_PAIRS_MAX} names")
        name = scanner.string("a name", maximum=ID_NAME_MAX)
        scanner.space()
        pairs.append((name, scanner.nstring("a value or NIL", maximum=ID_VALUE_MAX)))
    return c.Id(tuple(pairs))


def _login(scanner: Scanner) -> c.Command:
    scanner.space()
    octets = scanner.astring("a user name", maximum=FIELD_MAX)
    scanner.space()
    password = scanner.astring("a password", maximum=FIELD_MAX)
    try:
        username = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("user name is not UTF-8") from None
    if not username.isprintable():
        raise CommandError("user name has control characters")
    return c.Login(username, password)


def _authenticate(scanner: Scanner) -> c.Command:
    scanner.space()
    mechanism = scanner.word("a SASL mechanism").decode("ascii")
    if not scanner.accept(b" "):
        return c.Authenticate(mechanism, None)
    found = _BASE64.match(scanner.data, scanner.pos)
    if found is None:
        raise CommandError("expected an initial response in base64")
    scanner.pos = found.end()
    return c.Authenticate(mechanism, found[0])


def _enable(scanner: Scanner) -> c.Command:
    names = []
    while not scanner.ended:
        scanner.space()
        names.append(scanner.word("a capability"))
        if len(names) > ENABLE_MAX:
            raise CommandError("too many capabilities")
    if not names:
        raise CommandError("expected a capability")
    return c.Enable(tuple(names))


def _compress(scanner: Scanner) -> c.Command:
    scanner.space()
    if scanner.word("a way to compress") != b"DEFLATE":
        raise CommandError("only DEFLATE is known")
    return c.Compress()


def _search(uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        return c.Search(parse_search(scanner), uid)

    return parse


def _sort(uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        returns = accept_returns(scanner)
        keys = parse_sort_keys(scanner)
        scanner.space()
        return c.Sort(keys, parse_charset_and_keys(scanner, returns), uid)

    return parse


def _thread(uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        algorithm = THREAD_ALGORITHMS.get(scanner.word("a threading algorithm"))
        if algorithm is None:
            raise CommandError("no such threading algorithm")
        scanner.space()
        return c.Thread(algorithm, parse_charset_and_keys(scanner), uid)

    return parse


def _select(*, read_only: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        mailbox = mailbox_argument(scanner)
        if not scanner.accept(b" "):
            return c.Select(mailbox, read_only)
        condstore, resync = False, None
        scanner.expect(b"(", "a list of parameters")
        while True:
            match scanner.word("a parameter of SELECT"):
                case b"CONDSTORE" if not condstore:
                    condstore = True
                case b"QRESYNC" if resync is None:
                    resync = _resync(scanner)
                case _:
                    raise CommandError("no such parameter of SELECT, or one given twice")
            if not scanner.accept(b" "):
                break
        scanner.expect(b")", "the end of the parameters")
        return c.Select(mailbox, read_only, condstore or resync is not None, resync)

    return parse


def _resync(scanner: Scanner) -> c.Resync:
    """`(67890007 90060115194045000 41:211,541 (1,100 41,541))` after QRESYNC (RFC 7162 section 7)."""
    scanner.space()
    scanner.expect(b"(", "what is known of the mailbox")
    uid_validity = scanner.nz_number("a UIDVALIDITY")
    scanner.space()
    modseq = scanner.number("a modification sequence", maximum=NUMBER64_MAX)
    known = numbers = uids = None
    more = scanner.accept(b" ")
    if more and not scanner.at(b"("):
        known = _known_set(scanner)
        more = scanner.accept(b" ")
    if more:
        scanner.expect(b"(", "message numbers and their UIDs")
        numbers = _known_set(scanner, ascending=True)
        scanner.space()
        uids = _known_set(scanner, ascending=True)
        if numbers.size != uids.size:
            raise CommandError("as many message numbers as UIDs are needed")
        scanner.expect(b")", "the end of the message numbers and their UIDs")
    scanner.expect(b")", "the end of what is known of the mailbox")
    return c.Resync(uid_validity, modseq, known, numbers, uids)


def _known_set(scanner: Scanner, *, ascending: bool = False) -> SequenceSet:
    """A sequence set of what the client has seen, which has no `*`."""
    known = parse_sequence_set(scanner)
    if known.saved or any(last == STAR for _, last in known.ranges):
        raise CommandError("`*` and `$` are no numbers that the client can know")
    if ascending and not known.ascends:
        raise CommandError("the numbers must ascend")
    return known


def _modseq(scanner: Scanner, modifier: bytes) -> int:
    """`UNCHANGEDSINCE 12)`: the rest of a list of modifiers whose only one is known."""
    if scanner.word("a modifier") != modifier:
        raise CommandError("no such modifier")
    scanner.space()
    value = scanner.number("a modification sequence", maximum=NUMBER64_MAX)
    scanner.expect(b")", "the end of the modifiers")
    return value


@dataclass(slots=True)
class _FetchModifiers:
    """What stands in the parentheses after the items of FETCH, each at most once."""

    since: int | None = None
    vanished: bool = False
    window: Window | None = None


def _fetch_modifiers(scanner: Scanner, *, uid: bool) -> _FetchModifiers:
    """CHANGEDSINCE, VANISHED, which needs it and UID FETCH, and PARTIAL, which needs UID FETCH."""
    found = _FetchModifiers()
    scanner.expect(b"(", "a list of modifiers")
    while True:
        match scanner.word("a modifier"):
            case b"CHANGEDSINCE" if found.since is None:
                scanner.space()
                found.since = scanner.number("a modification sequence", maximum=NUMBER64_MAX)
            case b"VANISHED" if uid and not found.vanished:
                found.vanished = True
            case b"PARTIAL" if uid and found.window is None:
                scanner.space()
                found.window = parse_window(scanner)
            case _:
                raise CommandError("no such modifier, or one given twice")
        if not scanner.accept(b" "):
            break
    scanner.expect(b")", "the end of the modifiers")
    if found.vanished and found.since is None:
        raise CommandError("VANISHED needs CHANGEDSINCE")
    return found


def _fetch(uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        messages = parse_sequence_set(scanner)
        scanner.space()
        items = parse_fetch_items(scanner)
        if uid and Attribute.UID not in items:  # RFC 3501 section 6.4.8: the answer always tells the UID
            items = (Attribute.UID, *items)
        if not scanner.accept(b" "):
            return c.Fetch(messages, items, uid)
        found = _fetch_modifiers(scanner, uid=uid)
        if found.since is not None and Attribute.MODSEQ not in items:  # RFC 7162 section 3.1.4.1
            items = (*items, Attribute.MODSEQ)
        return c.Fetch(messages, items, uid, found.since, found.vanished, found.window)

    return parse


_STORE_ITEMS: Final = {
    mode.value + suffix: (mode, bool(suffix)) for mode in c.StoreMode for suffix in (b"", b".SILENT")
}


def _store(uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        messages = parse_sequence_set(scanner)
        scanner.space()
        since = None
        if scanner.accept(b"("):
            since = _modseq(scanner, b"UNCHANGEDSINCE")
            scanner.space()
        known = _STORE_ITEMS.get(scanner.word("FLAGS, +FLAGS or -FLAGS"))
        if known is None:
            raise CommandError("expected FLAGS, +FLAGS or -FLAGS")
        scanner.space()
        return c.Store(messages, *known, parse_flag_list(scanner, parentheses=False), uid, since)

    return parse


def _copy(*, move: bool, uid: bool) -> Parse:
    def parse(scanner: Scanner) -> c.Command:
        scanner.space()
        messages = parse_sequence_set(scanner)
        return c.Copy(messages, mailbox_argument(scanner), move, uid)

    return parse


def _uid_expunge(scanner: Scanner) -> c.Command:
    scanner.space()
    return c.Expunge(parse_sequence_set(scanner))


UID_COMMANDS: Final[Mapping[bytes, Parse]] = {
    b"COPY": _copy(move=False, uid=True),
    b"EXPUNGE": _uid_expunge,
    b"FETCH": _fetch(True),
    b"MOVE": _copy(move=True, uid=True),
    b"SEARCH": _search(True),
    b"SORT": _sort(True),
    b"STORE": _store(True),
    b"THREAD": _thread(True),
}


def _uid(scanner: Scanner) -> c.Command:
    scanner.space()
    parse = UID_COMMANDS.get(scanner.word("a command after UID"))
    if parse is None:
        raise CommandError("no such command after UID")
    return parse(scanner)


COMMANDS: Final[Mapping[bytes, CommandRule]] = {
    b"APPEND": CommandRule(AFTER_LOGIN, append_without_literal),
    b"AUTHENTICATE": CommandRule(BEFORE_LOGIN, _authenticate),
    b"CAPABILITY": CommandRule(ANY, lambda scanner: c.Capability()),
    b"CHECK": CommandRule(IN_MAILBOX, lambda scanner: c.Check()),
    b"CLOSE": CommandRule(IN_MAILBOX, lambda scanner: c.Close(expunge=True)),
    b"COMPRESS": CommandRule(AFTER_LOGIN, _compress),
    b"COPY": CommandRule(IN_MAILBOX, _copy(move=False, uid=False)),
    b"CREATE": CommandRule(AFTER_LOGIN, parse_create),
    b"DELETE": CommandRule(AFTER_LOGIN, lambda scanner: c.Delete(mailbox_argument(scanner))),
    b"ENABLE": CommandRule(AFTER_LOGIN, _enable),
    b"EXAMINE": CommandRule(AFTER_LOGIN, _select(read_only=True)),
    b"EXPUNGE": CommandRule(IN_MAILBOX, lambda scanner: c.Expunge()),
    b"FETCH": CommandRule(IN_MAILBOX, _fetch(False)),
    b"GETQUOTA": CommandRule(AFTER_LOGIN, parse_get_quota),
    b"GETQUOTAROOT": CommandRule(AFTER_LOGIN, parse_get_quota_root),
    b"ID": CommandRule(ANY, _id),
    b"IDLE": CommandRule(AFTER_LOGIN, lambda scanner: c.Idle()),
    b"LIST": CommandRule(AFTER_LOGIN, parse_list),
    b"LOGIN": CommandRule(BEFORE_LOGIN, _login),
    b"LOGOUT": CommandRule(ANY, lambda scanner: c.Logout()),
    b"LSUB": CommandRule(AFTER_LOGIN, parse_lsub),
    b"MOVE": CommandRule(IN_MAILBOX, _copy(move=True, uid=False)),
    b"NAMESPACE": CommandRule(AFTER_LOGIN, lambda scanner: c.Namespace()),
    b"NOOP": CommandRule(ANY, lambda scanner: c.Noop()),
    b"RENAME": CommandRule(AFTER_LOGIN, parse_rename),
    b"SEARCH": CommandRule(IN_MAILBOX, _search(False)),
    b"SELECT": CommandRule(AFTER_LOGIN, _select(read_only=False)),
    b"SETQUOTA": CommandRule(AFTER_LOGIN, parse_set_quota),
    b"SORT": CommandRule(IN_MAILBOX, _sort(False)),
    b"STATUS": CommandRule(AFTER_LOGIN, parse_status),
    b"STORE": CommandRule(IN_MAILBOX, _store(False)),
    b"SUBSCRIBE": CommandRule(AFTER_LOGIN, lambda scanner: c.Subscribe(mailbox_argument(scanner), on=True)),
    b"THREAD": CommandRule(IN_MAILBOX, _thread(False)),
    b"UID": CommandRule(IN_MAILBOX, _uid),
    b"UNSELECT": CommandRule(IN_MAILBOX, lambda scanner: c.Close(expunge=False)),
    b"UNSUBSCRIBE": CommandRule(AFTER_LOGIN, lambda scanner: c.Subscribe(mailbox_argument(scanner), on=False)),
}
CLEAR_COMMANDS: Final[Mapping[bytes, CommandRule]] = {
    **COMMANDS,
    b"STARTTLS": CommandRule(BEFORE_LOGIN, lambda scanner: c.StartTls()),
}
"""Before TLS on a listener in clear."""


def find_rule(scanner: Scanner, state: State, table: Mapping[bytes, CommandRule] = COMMANDS) -> CommandRule:
    """The row of the command named at the scanner. Raises CommandError if unknown or not allowed in `state`."""
    rule = table.get(scanner.word("a command"))
    if rule is None:
        raise CommandError("no such command")
    if state not in rule.states:
        raise CommandError(f"command is not allowed in the state {state.value}")
    return rule
