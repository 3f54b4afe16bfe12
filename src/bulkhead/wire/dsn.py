"""Delivery status notifications: a multipart/report made from facts (RFC 3464, RFC 6522, RFC 6533).

Goes out with the null reverse-path (RFC 5321 section 4.5.5) as Auto-Submitted (RFC 3834 section 5), so that nothing
answers it. It carries the original's header fields, and the whole of it only where the sender asked for that
(RFC 3461 section 4.3). 7-bit clean but for a whole original or one that is internationalized; no line of ours is over
998 octets.
"""

import base64
import quopri
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final

from bulkhead.identifiers import Address, DomainName
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_notify import original_recipient, xtext
from bulkhead.wire.trace import format_date

HEADER_MAX: Final = 65536  # octets of the original header that are returned
VALUE_MAX: Final = 1000  # characters of one field's value
_LINE_WIDTH: Final = 76

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_SPACES = re.compile(r"\s+")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_BOUNDARY = re.compile(r"[A-Za-z0-9_.=-]{16,70}")


class Action(Enum):
    """What is reported (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"  # to a server that gives no notices


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of one recipient."""

    address: Address
    status: str  # RFC 3463
    reason: str  # our own words
    diagnostic: Reply | None = None  # what the other server said
    remote_mta: DomainName | None = None
    last_attempt: datetime | None = None
    original: str = ""  # ORCPT as the sender gave it (RFC 3461 section 4.2)


@dataclass(frozen=True, slots=True)
class Report:
    """The facts of one notification."""

    action: Action
    reporting_mta: DomainName
    sender: Address  # the original reverse-path; a message from `<>` is never reported (RFC 3464 section 2)
    recipients: tuple[RecipientReport, ...]
    arrival: datetime
    original_header: bytes
    envelope_id: str = ""  # ENVID as the sender gave it (RFC 3461 section 4.4)
    retry_until: datetime | None = None  # for DELAYED
    original_body: tuple[bytes, ...] | None = None  # where the whole original is returned
    internationalized: bool = False  # the original came with SMTPUTF8 (RFC 6533 section 4)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message ready to be queued."""

    reverse_path: None
    recipient: Address
    text: bytes


_SUBJECTS: Final[Mapping[Action, str]] = MappingProxyType(
    {
        Action.FAILED: "Undelivered mail returned to sender",
        Action.DELAYED: "Delayed mail (still being retried)",
        Action.DELIVERED: "Mail delivered",
        Action.RELAYED: "Mail passed on",
    }
)
_WORDS: Final[Mapping[Action, tuple[str, str]]] = MappingProxyType(
    {
        Action.FAILED: (
            "Your message could not be delivered to the recipients below. It will not be tried again.",
            "下記の宛先にメールを配信できませんでした。再送は行いません。",
        ),
        Action.DELAYED: (
            "Your message has not been delivered yet to the recipients below. It is still being tried;"
            " you need not send it again.",
            "下記の宛先へのメールはまだ配信されていません。引き続き配信を試みますので、再度お送りいただく必要はありません。",
        ),
        Action.DELIVERED: (
            "Your message has been delivered to the recipients below.",
            "下記の宛先のメールボックスにメールを配信しました。",
        ),
        Action.RELAYED: (
            "Your message has been passed on for the recipients below, to a mail server that does not report further;"
            " you may not be told of its delivery.",
            "下記の宛先へのメールを次のメールサーバーに渡しました。そのサーバーは配信の通知に対応していません。",
        ),
    }
)


def compose_notification(report: Report, *, date: datetime, message_id: str, boundary: str) -> Notification:
    """The notification of `report`.

    message_id: without angle brackets.   boundary: 16 to 70 random characters drawn by the caller.
    Raises ValueError on a report without recipients, with a status that is none, or with a boundary that is not usable.
    """
    if not report.recipients or not all(_STATUS.fullmatch(recipient.status) for recipient in report.recipients):
        raise ValueError("a report needs recipients, each with a status code")
    mark = b"--" + boundary.encode("ascii")
    if not _BOUNDARY.fullmatch(boundary) or mark in report.original_header:
        raise ValueError("the boundary is not usable")
    kind = "global-delivery-status" if report.internationalized else "delivery-status"
    head = "".join(
        (
            _field("From", f"Mail Delivery System <MAILER-DAEMON@{report.reporting_mta}>"),
            _field("To", f"<{_mail_address(report.sender)}>"),
            _field("Subject", _SUBJECTS[report.action]),
            _field("Date", format_date(date)),
            _field("Message-ID", f"<{message_id}>"),
            _field("Auto-Submitted", "auto-replied"),
            "MIME-Version: 1.0\r\n",
            f'Content-Type: multipart/report; report-type={kind};\r\n boundary="{boundary}"\r\n',
        )
    ).encode("ascii")
    parts = (_explanation(report), _delivery_status(report, kind), _returned(report))
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts)
    return Notification(None, report.sender, head + b"\r\n" + body + mark + b"--\r\n")


def _explanation(report: Report) -> bytes:
    """The part for people, in English and Japanese."""
    lines = [*_WORDS[report.action], ""]
    if report.retry_until is not None and report.action is Action.DELAYED:
        lines += [f"Retried until / 再送期限: {format_date(report.retry_until)}", ""]
    for recipient in report.recipients:
        lines.append(f"<{recipient.address}>: {_clean(recipient.reason)} ({recipient.status})")
        if recipient.diagnostic is not None:
            lines.append(f"    {_clean(str(recipient.diagnostic))}")
    text = "".join(f"{line}\r\n" for line in lines).encode()
    encoded = base64.encodebytes(text).replace(b"\n", b"\r\n")
    return b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded


def _delivery_status(report: Report, kind: str) -> bytes:
    """The part for programs (RFC 3464 section 2; RFC 6533 section 4 where it may have UTF-8)."""
    utf8 = report.internationalized
    blocks = [_field("Reporting-MTA", f"dns; {report.reporting_mta}")]
    if report.envelope_id:
        blocks[0] += _field("Original-Envelope-Id", xtext(report.envelope_id))
    blocks[0] += _field("Arrival-Date", format_date(report.arrival))
    blocks += [_recipient_block(report, recipient) for recipient in report.recipients]
    encoding = "Content-Transfer-Encoding: 8bit\r\n" if utf8 else ""
    return f"Content-Type: message/{kind}\r\n{encoding}\r\n".encode("ascii") + "\r\n".join(blocks).encode()


def _recipient_block(report: Report, recipient: RecipientReport) -> str:
    utf8 = report.internationalized
    fields = []
    if recipient.original:
        kind, address = original_recipient(recipient.original)
        shown = _typed(kind, address if utf8 or address.isascii() else _escape(address))
        fields.append(_field("Original-Recipient", shown, utf8=utf8))
    fields += [
        _field("Final-Recipient", _typed_address(recipient.address, utf8=utf8), utf8=utf8),
        _field("Action", report.action.value),
        _field("Status", recipient.status),
    ]
    if recipient.remote_mta is not None:
        fields.append(_field("Remote-MTA", f"dns; {recipient.remote_mta}"))
    if recipient.diagnostic is not None:
        fields.append(_field("Diagnostic-Code", f"smtp; {recipient.diagnostic}"))
    else:
        fields.append(_field("Diagnostic-Code", f"x-bulkhead; {recipient.reason}"))
    if recipient.last_attempt is not None:
        fields.append(_field("Last-Attempt-Date", format_date(recipient.last_attempt)))
    if report.retry_until is not None and report.action is Action.DELAYED:
        fields.append(_field("Will-Retry-Until", format_date(report.retry_until)))
    return "".join(fields)


def _returned(report: Report) -> bytes:
    """The original, or its header as text/rfc822-headers: quoted-printable where not 7-bit (RFC 6522 section 4)."""
    header, utf8 = report.original_header, report.internationalized
    if report.original_body is not None:
        whole = header + b"".join(report.original_body)
        encoding = b"" if whole.isascii() else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: message/%s\r\n%s\r\n%s" % (b"global" if utf8 else b"rfc822", encoding, whole)
    if len(header) > HEADER_MAX:
        header = header[: header.rfind(b"\n", 0, HEADER_MAX) + 1]
    lines = _NEWLINE.sub(b"\n", header).rstrip(b"\n").split(b"\n")
    head = b"Content-Type: text/rfc822-headers\r\n"
    if utf8 and b"\0" not in header and all(len(line) <= 998 for line in lines) and _is_utf8(header):
        head = b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"
        return head + b"\r\n" + b"\r\n".join(lines) + b"\r\n"
    if header.isascii() and b"\0" not in header and all(len(line) <= 998 for line in lines):
        return head + b"\r\n" + b"\r\n".join(lines) + b"\r\n"
    encoded = quopri.encodestring(b"\n".join(lines) + b"\n").replace(b"\n", b"\r\n")
    return head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + encoded


def _typed_address(address: Address, *, utf8: bool) -> str:
    """An address with its type: rfc822, or utf-8, in its 7-bit form where only that may stand (RFC 6533 section 3)."""
    text = str(address)
    return _typed("rfc822", text) if text.isascii() else _typed("utf-8", text if utf8 else _escape(text))


def _typed(kind: str, address: str) -> str:
    return f"{kind}; {address}"


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mail_address(address: Address) -> str:
    """An address for the To field, which is for reading only: the envelope names the recipient."""
    text = str(address)
    return text if text.isascii() else _escape(text)


def _escape(text: str) -> str:
    return "".join(c if "\x21" <= c <= "\x7e" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in text)


def _clean(text: str, *, utf8: bool = False) -> str:
    text = _SPACES.sub(" ", text)
    shown = "".join(c if c.isprintable() else "?" for c in text) if utf8 else _UNPRINTABLE.sub("?", text)
    return shown[:VALUE_MAX]


def _field(name: str, value: str, *, utf8: bool = False) -> str:
    """A header field, folded where it has spaces; a longer word stays whole, well under 998 octets."""
    lines, line = [], f"{name}:"
    for word in _clean(value, utf8=utf8).split(" "):
        if len(line) + 1 + len(word) > _LINE_WIDTH and line.strip(" ") and not line.endswith(":"):
            lines.append(line)
            line = ""
        line += f" {word}" if len(word) <= 900 else f" {word[:900]}"
    return "\r\n".join([*lines, line]) + "\r\n"
