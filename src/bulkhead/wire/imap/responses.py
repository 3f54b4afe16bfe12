"""What an IMAP server says, as bytes ready to send (RFC 3501 section 7; codes of RFC 5530, 4315, 4469, 7162).

An argument that would break a line is our own bug and raises ValueError.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from bulkhead.wire.imap.command_table import State
from bulkhead.wire.imap.grammar import Condition
from bulkhead.wire.imap.limits import Limits
from bulkhead.wire.imap.mailbox_name import DELIMITER, encode_utf7
from bulkhead.wire.imap.search_returns import ReturnOption
from bulkhead.wire.imap.status import StatusItem

QUOTED_MAX: Final = 4096  # octets; longer strings go as literals, for clients that read line by line

_ASTRING: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_UNQUOTABLE: Final = re.compile(rb"[\r\n\x00\x80-\xff]")
_TO_ESCAPE: Final = re.compile(rb'(["\\])')


class Code(Enum):
    """Response codes without arguments."""

    ALERT = b"ALERT"
    ALREADYEXISTS = b"ALREADYEXISTS"
    AUTHENTICATIONFAILED = b"AUTHENTICATIONFAILED"
    AUTHORIZATIONFAILED = b"AUTHORIZATIONFAILED"
    CANNOT = b"CANNOT"
    CLIENTBUG = b"CLIENTBUG"
    CLOSED = b"CLOSED"
    COMPRESSIONACTIVE = b"COMPRESSIONACTIVE"
    CONTACTADMIN = b"CONTACTADMIN"
    CORRUPTION = b"CORRUPTION"
    EXPIRED = b"EXPIRED"
    EXPUNGEISSUED = b"EXPUNGEISSUED"
    HASCHILDREN = b"HASCHILDREN"
    INUSE = b"INUSE"
    LIMIT = b"LIMIT"
    NONEXISTENT = b"NONEXISTENT"
    NOPERM = b"NOPERM"
    OVERQUOTA = b"OVERQUOTA"
    PARSE = b"PARSE"
    PRIVACYREQUIRED = b"PRIVACYREQUIRED"
    READ_ONLY = b"READ-ONLY"
    READ_WRITE = b"READ-WRITE"
    SERVERBUG = b"SERVERBUG"
    TOOBIG = b"TOOBIG"
    TRYCREATE = b"TRYCREATE"
    UIDNOTSTICKY = b"UIDNOTSTICKY"
    UNKNOWN_CTE = b"UNKNOWN-CTE"
    UNAVAILABLE = b"UNAVAILABLE"
    USEATTR = b"USEATTR"


CAPABILITIES: Final[tuple[tuple[bytes, frozenset[State]], ...]] = (
    (b"IMAP4rev1", frozenset(State)),
    (b"IMAP4rev2", frozenset(State)),
    (b"SASL-IR", frozenset((State.NOT_AUTHENTICATED,))),
    (b"AUTH=PLAIN", frozenset((State.NOT_AUTHENTICATED,))),
    (b"ID", frozenset(State)),
    (b"ENABLE", frozenset(State)),
    (b"IDLE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"NAMESPACE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"UIDPLUS", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"UNSELECT", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"MOVE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"ESEARCH", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"SEARCHRES", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"PARTIAL", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"PREVIEW", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"WITHIN", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"SORT", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"SORT=DISPLAY", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"ESORT", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"THREAD=ORDEREDSUBJECT", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"THREAD=REFERENCES", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"CONDSTORE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"QRESYNC", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"COMPRESS=DEFLATE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"BINARY", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"UTF8=ACCEPT", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"CHILDREN", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"SPECIAL-USE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"CREATE-SPECIAL-USE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"LIST-EXTENDED", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"LIST-STATUS", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"OBJECTID", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"MULTIAPPEND", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"STATUS=SIZE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"QUOTA", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"QUOTA=RES-STORAGE", frozenset((State.AUTHENTICATED, State.SELECTED))),
    (b"QUOTA=RES-MESSAGE", frozenset((State.AUTHENTICATED, State.SELECTED))),
)
"""Capability and the states that show it; LITERAL+ or LITERAL- and APPENDLIMIT follow from the limits."""


@lru_cache(maxsize=64)  # a login shows it three times
def capability_list(
    state: State, limits: Limits, hidden: frozenset[bytes] = frozenset(), *, secure: bool = True
) -> bytes:
    """The capabilities of `state` but those hidden, for the CAPABILITY response or response code.

    Before TLS there is no login.
    """
    names = [name for name, states in CAPABILITIES if state in states and name not in hidden]
    if not secure:
        names = [
            *(name for name in names if not name.startswith((b"AUTH=", b"SASL-IR"))),
            b"STARTTLS",
            b"LOGINDISABLED",
        ]
    names.append(b"LITERAL-" if limits.literal_minus else b"LITERAL+")
    if state is not State.NOT_AUTHENTICATED:
        names.append(b"APPENDLIMIT=%d" % limits.append)
    return b"CAPABILITY " + b" ".join(names)


def quoted(value: bytes) -> bytes:
    """A quoted string. Raises ValueError where only a literal will do."""
    if _UNQUOTABLE.search(value):
        raise ValueError("value needs a literal")
    return b'"%s"' % _TO_ESCAPE.sub(rb"\\\1", value)


def literal(value: bytes) -> bytes:
    """A literal."""
    return b"{%d}\r\n%s" % (len(value), value)


def string(value: bytes) -> bytes:
    """A quoted string, or a literal where it holds CR, LF, NUL or 8-bit octets or is long."""
    if len(value) > QUOTED_MAX or _UNQUOTABLE.search(value):
        return literal(value)
    return b'"%s"' % _TO_ESCAPE.sub(rb"\\\1", value)


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL for None."""
    return b"NIL" if value is None else string(value)


def astring(value: bytes) -> bytes:
    """An atom where that is possible and cannot be taken for NIL, else a string."""
    if _ASTRING.fullmatch(value) and value.upper() != b"NIL":
        return value
    return string(value)


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name as the client reads it: modified UTF-7, or UTF-8 once that is enabled (RFC 6855 section 3)."""
    if not utf8:
        return astring(encode_utf7(name))
    octets = name.encode("utf-8")
    return astring(octets) if name.isascii() else b'"%s"' % _TO_ESCAPE.sub(rb"\\\1", octets)


def _code_text(code: Code | bytes | None) -> bytes:
    if not code:
        return b""
    return b"[%s] " % _one_line(code.value if isinstance(code, Code) else code)


def _one_line(text: bytes) -> bytes:
    if b"\r" in text or b"\n" in text or b"\0" in text:
        raise ValueError("a response is one line")
    return text


def tagged(tag: bytes, condition: Condition, text: str, code: Code | bytes | None = None) -> bytes:
    """`A1 OK [CODE] text`; tag `*` makes it untagged. code: a Code, or the text for inside the brackets."""
    words = _one_line(text.encode("utf-8")) or b"Done"
    return b"%s %s %s%s\r\n" % (tag, condition.value, _code_text(code), words)


def untagged(condition: Condition, text: str, code: Code | bytes | None = None) -> bytes:
    """`* OK [CODE] text`, also the greeting, and `* BYE text`."""
    return tagged(b"*", condition, text, code)


def continuation(text: bytes = b"OK") -> bytes:
    """`+ text`: for SASL the challenge in base64, which may be empty."""
    return b"+ %s\r\n" % _one_line(text)


def untagged_data(data: bytes) -> bytes:
    """`* data`, where `data` was rendered here or is a code's text."""
    return b"* %s\r\n" % data


def exists(count: int) -> bytes:
    """`* 23 EXISTS`."""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """`* 0 RECENT`."""
    return b"* %d RECENT\r\n" % count


def expunge(number: int) -> bytes:
    """`* 4 EXPUNGE`: the message number at the moment this line is read."""
    return b"* %d EXPUNGE\r\n" % number


def vanished(ranges: Iterable[tuple[int, int]], *, earlier: bool = False) -> bytes:
    """`* VANISHED 405,407:410` of UIDs, ascending (RFC 7162 section 3.2.10).

    earlier: they went before the client came, and it does not count them.
    """
    uids = b",".join([b"%d" % first if first == last else b"%d:%d" % (first, last) for first, last in ranges])
    return b"* VANISHED %s%s\r\n" % (b"(EARLIER) " if earlier else b"", uids)


def flags_line(defined: bytes) -> bytes:
    """`* FLAGS (...)` from FlagNames.defined()."""
    return b"* FLAGS %s\r\n" % defined


def permanent_flags_code(defined: bytes, *, more: bool) -> bytes:
    """The text of [PERMANENTFLAGS (...)]; more: the client may make keywords."""
    inner = defined[1:-1]
    return b"PERMANENTFLAGS (%s)" % (inner + b" \\*" if more else inner)


def uid_code(name: bytes, value: int) -> bytes:
    """The text of [UIDNEXT n], [UIDVALIDITY n], [UNSEEN n] or [HIGHESTMODSEQ n]."""
    return b"%s %d" % (name, value)


def append_uid_code(uid_validity: int, uid: int, count: int = 1) -> bytes:
    """The text of [APPENDUID ...] for so many messages from `uid` on (RFC 4315 section 3; RFC 3502 section 6.3.11)."""
    if count > 1:
        return b"APPENDUID %d %d:%d" % (uid_validity, uid, uid + count - 1)
    return b"APPENDUID %d %d" % (uid_validity, uid)


def modified_code(numbers: bytes) -> bytes:
    """The text of [MODIFIED ...] (RFC 7162 section 3.1.3); a set from sequence.compress."""
    return b"MODIFIED " + numbers


def copy_uid_code(uid_validity: int, source: bytes, target: bytes) -> bytes:
    """The text of [COPYUID ...] (RFC 4315 section 3); both sets from sequence.compress, never empty."""
    if not source or not target:
        raise ValueError("COPYUID needs at least one UID")
    return b"COPYUID %d %s %s" % (uid_validity, source, target)


def mailbox_id(octets: bytes) -> bytes:
    """A mailbox's id as a client reads it: a letter first, so that nobody takes it for a number."""
    return b"F" + octets.hex().encode("ascii")


def mailbox_id_code(octets: bytes) -> bytes:
    """The text of [MAILBOXID (...)] (RFC 8474 section 4)."""
    return b"MAILBOXID (%s)" % mailbox_id(octets)


def list_line(
    name: str,
    attributes: Iterable[bytes] = (),
    *,
    kind: bytes = b"LIST",
    child_info: bool = False,
    utf8: bool = False,
) -> bytes:
    """`* LIST (\\HasNoChildren) "/" name`; kind LSUB for the other.

    child_info: a subscribed mailbox is below it (RFC 5258 section 3.5).
    """
    delimiter = quoted(DELIMITER.encode("ascii"))
    extended = b' ("CHILDINFO" ("SUBSCRIBED"))' if child_info else b""
    return b"* %s (%s) %s %s%s\r\n" % (kind, b" ".join(attributes), delimiter, mailbox(name, utf8=utf8), extended)


def renamed_line(name: str, old_name: str) -> bytes:
    """The LIST response that IMAP4rev2 sends unasked: what a mailbox is called, and what else it was called.

    Source: RFC 9051 sections 6.3.2 and 6.3.9.7 (OLDNAME), where the names differ.
    """
    delimiter = quoted(DELIMITER.encode("ascii"))
    old = b"" if name == old_name else b' ("OLDNAME" (%s))' % mailbox(old_name, utf8=True)
    return b"* LIST () %s %s%s\r\n" % (delimiter, mailbox(name, utf8=True), old)


def delimiter_line() -> bytes:
    """The answer to LIST with an empty pattern (RFC 3501 section 6.3.8)."""
    return b'* LIST (\\Noselect) "/" ""\r\n'


def status_line(name: str, values: Mapping[StatusItem, int | bytes], *, utf8: bool = False) -> bytes:
    """`* STATUS name (MESSAGES 3 ...)` in the order of `values`; bytes are rendered already."""
    items = b" ".join(
        b"%s %s" % (item.value, value if isinstance(value, bytes) else b"%d" % value) for item, value in values.items()
    )
    return b"* STATUS %s (%s)\r\n" % (mailbox(name, utf8=utf8), items)


def quota_root_line(name: str, *, utf8: bool = False) -> bytes:
    """`* QUOTAROOT name ""`: every mailbox is under the account's one root (RFC 9208 section 4.2.2)."""
    return b'* QUOTAROOT %s ""\r\n' % mailbox(name, utf8=utf8)


def quota_line(resources: Mapping[bytes, tuple[int, int]]) -> bytes:
    """`* QUOTA "" (STORAGE 10 512)`: usage and limit of each resource, of which there is at least one."""
    if not resources:
        raise ValueError("QUOTA needs a resource")
    triplets = b" ".join(b"%s %d %d" % (name, usage, limit) for name, (usage, limit) in resources.items())
    return b'* QUOTA "" (%s)\r\n' % triplets


def esearch_line(tag: bytes, values: Mapping[ReturnOption, bytes], *, uid: bool, modseq: int = 0) -> bytes:
    """`* ESEARCH (TAG "A1") UID COUNT 3 ALL 1:3`; leave out MIN, MAX and ALL when nothing was found (RFC 4731)."""
    words = [b'* ESEARCH (TAG "%s")' % tag]
    if uid:
        words.append(b"UID")
    words += [b"%s %s" % (option.value, value) for option, value in values.items()]
    if modseq:  # RFC 4731 section 3.2
        words.append(b"MODSEQ %d" % modseq)
    return b" ".join(words) + b"\r\n"


def fetch_line(number: int, items: Sequence[bytes]) -> bytes:
    """`* 12 FETCH (label value ...)`; items: labels and rendered values in turn."""
    return b"* %d FETCH (%s)\r\n" % (number, b" ".join(items))


def literal_start(label: bytes, size: int, *, binary: bool = False) -> bytes:
    """`BODY[] {n}` and its line end: what stands before `size` octets that are sent apart.

    binary: `~{n}`, as octets among which is NUL need it (RFC 3516 section 4.3).
    """
    return b"%s %s{%d}\r\n" % (label, b"~" if binary else b"", size)


def enabled_line(capabilities: Iterable[bytes]) -> bytes:
    """`* ENABLED ...` (RFC 5161 section 3.2)."""
    return b"* %s\r\n" % b" ".join((b"ENABLED", *capabilities))


def namespace_line() -> bytes:
    """One personal namespace, no other (RFC 2342 section 5)."""
    return b'* NAMESPACE (("" "/")) NIL NIL\r\n'


def id_line(parameters: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    """`* ID (...)`, NIL for none (RFC 2971 section 3.2)."""
    if not parameters:
        return b"* ID NIL\r\n"
    return b"* ID (%s)\r\n" % b" ".join(string(name) + b" " + nstring(value) for name, value in parameters)
