"""SMTP command arguments: paths, parameters, host names. Text in, values out.

Source: RFC 5321 sections 4.1.1 and 4.1.2; parameters RFC 1870, RFC 6152, RFC 4954 section 5,
RFC 6531 section 3.4, RFC 3461 section 4.
"""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from bulkhead.errors import PeerError
from bulkhead.identifiers import Address, parse_address
from bulkhead.wipe import wipe_text
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_events import Body, MailFrom, RcptTo
from bulkhead.wire.smtp_notify import NO_WISH, Notify, Return, Wish, check_envid, check_original, parse_notify

T = TypeVar("T")

PARAMETERS_MAX: Final = 16  # a command
NAME_MAX: Final = 255  # octets, RFC 5321 section 4.5.3.1.2
SIZE_DIGITS_MAX: Final = 20  # RFC 1870 section 4

_PATH = re.compile(r' ?<((?:[^<>"\\\x00-\x20]|"(?:[^"\\]|\\.)*+")*+)>(?: +|\Z)')
_SOURCE_ROUTE = re.compile(r"@[A-Za-z0-9.\-\[\]:_]+?(?:,@[A-Za-z0-9.\-\[\]:_]+?)*:")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\u0080-\U0010ffff]+))?")
_HELLO_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[A-Za-z0-9.:-]+\]")
_AUTH = re.compile(r"([A-Za-z0-9_-]{1,20})(?: ([A-Za-z0-9+/]*=*))?")


class CommandError(PeerError):
    """A command that is answered with `reply` and changes nothing."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def parse_hello(text: str) -> str:
    """The client's name, a domain or an address literal as written (RFC 5321 section 4.1.1.1). Raises CommandError.

    Characters are checked, meaning is not: a server may not refuse a client for its name alone (section 4.1.4).
    """
    name = text.strip(" ")
    if len(name) > NAME_MAX or not _HELLO_NAME.fullmatch(name):
        raise CommandError(codes.ARGUMENT_ERROR)
    return name


def parse_mail(text: str, *, message_bytes: int, dsn: bool = False) -> MailFrom:
    """The argument of MAIL, from `FROM:`. Raises CommandError, with 552 when SIZE exceeds message_bytes.

    dsn: whether RET and ENVID are known here (RFC 3461).
    """
    path, parameters = _path_and_parameters(text, "FROM:", codes.BAD_SENDER)
    size, body, auth, ret, envid = None, Body.SEVEN_BIT, None, None, ""
    utf8 = "SMTPUTF8" in parameters
    for keyword, value in parameters.items():
        if keyword == "SIZE":
            size = _parse_size(value)
        elif keyword == "BODY":
            body = _parse_body(value)
        elif keyword == "SMTPUTF8" and value is None:
            continue
        elif keyword == "AUTH" and value:
            auth = value
        elif keyword == "RET" and dsn:
            ret = _parse_return(value)
        elif keyword == "ENVID" and dsn:
            envid = _checked(check_envid, value)
        else:
            raise CommandError(codes.ARGUMENT_ERROR if keyword == "SMTPUTF8" else codes.PARAMETER_UNKNOWN)
    reverse_path = _parse_path(path, codes.BAD_SENDER, utf8) if path else None
    if size is not None and size > message_bytes:
        raise CommandError(codes.MESSAGE_TOO_BIG)
    return MailFrom(reverse_path, size, body, auth, utf8, ret, envid)


def parse_rcpt(text: str, *, utf8: bool = False, dsn: bool = False) -> RcptTo:
    """The argument of RCPT, from `TO:`. Raises CommandError.

    utf8: whether MAIL said SMTPUTF8.   dsn: whether NOTIFY and ORCPT are known here (RFC 3461).
    """
    path, parameters = _path_and_parameters(text, "TO:", codes.BAD_RECIPIENT)
    wish = _parse_wish(parameters, utf8, dsn) if parameters else NO_WISH
    if path.lower() == "postmaster":
        return RcptTo(None, wish)
    return RcptTo(_parse_path(path, codes.BAD_RECIPIENT, utf8), wish)


def _parse_wish(parameters: dict[str, str | None], utf8: bool, dsn: bool) -> Wish:
    notify, original = Notify.UNSAID, ""
    for keyword, value in parameters.items():
        if keyword == "NOTIFY" and dsn:
            notify = _checked(parse_notify, value)
        elif keyword == "ORCPT" and dsn:
            original = _checked(lambda text: check_original(text, utf8=utf8), value)
        else:
            raise CommandError(codes.PARAMETER_UNKNOWN)
    return Wish(notify, original)


def _checked(check: Callable[[str], T], value: str | None) -> T:
    try:
        return check(value or "")
    except PeerError:
        raise CommandError(codes.ARGUMENT_ERROR) from None


def _parse_return(value: str | None) -> Return:
    try:
        return Return((value or "").upper())
    except ValueError:
        raise CommandError(codes.ARGUMENT_ERROR) from None


def parse_auth(text: str) -> tuple[str, bytes | None]:
    """Mechanism in upper case and initial response still in base64 (RFC 4954 section 4). Raises CommandError."""
    match = _AUTH.fullmatch(text)
    if match is None:
        raise CommandError(codes.ARGUMENT_ERROR)
    initial = match[2]
    if initial is None:
        return match[1].upper(), None
    octets = initial.encode("ascii")
    wipe_text(initial)
    return match[1].upper(), octets


def _path_and_parameters(text: str, keyword: str, bad: Reply) -> tuple[str, dict[str, str | None]]:
    """The path without its brackets and source route, and the parameters by upper-case keyword."""
    if text[: len(keyword)].upper() != keyword:
        raise CommandError(codes.ARGUMENT_ERROR)
    match = _PATH.match(text, len(keyword))
    if match is None:
        raise CommandError(bad)
    path, rest = match[1], text[match.end() :].rstrip(" ")
    if path.startswith("@"):
        route = _SOURCE_ROUTE.match(path)
        if route is None:
            raise CommandError(bad)
        path = path[route.end() :]  # RFC 5321 appendix C: accepted and ignored
        if not path:
            raise CommandError(bad)
    return path, _parse_parameters(rest) if rest else {}


def _parse_path(path: str, bad: Reply, utf8: bool) -> Address:
    if not utf8 and not path.isascii():
        raise CommandError(codes.NON_ASCII_ADDRESS)
    try:
        return parse_address(path)
    except PeerError:
        raise CommandError(bad) from None


def _parse_parameters(text: str) -> dict[str, str | None]:
    """Parameters by upper-case keyword, each at most once (RFC 5321 section 4.1.2)."""
    words = text.split()
    if len(words) > PARAMETERS_MAX:
        raise CommandError(codes.ARGUMENT_ERROR)
    parameters: dict[str, str | None] = {}
    for word in words:
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in parameters:
            raise CommandError(codes.ARGUMENT_ERROR)
        parameters[match[1].upper()] = match[2]
    return parameters


def _parse_size(value: str | None) -> int:
    if value is None or len(value) > SIZE_DIGITS_MAX or not (value.isascii() and value.isdigit()):
        raise CommandError(codes.ARGUMENT_ERROR)
    return int(value)


def _parse_body(value: str | None) -> Body:
    try:
        return Body((value or "").upper())
    except ValueError:
        raise CommandError(codes.ARGUMENT_ERROR) from None
