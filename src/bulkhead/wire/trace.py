"""Trace fields: Received and Return-Path (RFC 5321 section 4.4), and the date they carry (RFC 5322 section 3.3)."""

import re
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from bulkhead.identifiers import Address, DomainName
from bulkhead.wire.internet_date import message_date

_UNSAFE = re.compile(r"[^\x21-\x7e]|[()<>\"\\;,]")


def format_date(moment: datetime) -> str:
    """`moment` as a date-time of RFC 5322 section 3.3, with its own offset. Raises ValueError without a time zone."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a date in mail needs a time zone")
    seconds = int(moment.replace(microsecond=0).timestamp())
    return message_date(seconds, int(offset.total_seconds()) // 60).decode("ascii")


def transmission_type(*, extended: bool, tls: bool, authenticated: bool, utf8: bool = False) -> str:
    """The WITH keyword of a transaction: SMTP, ESMTP, ESMTPS, ESMTPA or ESMTPSA (RFC 3848).

    utf8: the transaction said SMTPUTF8, which makes it UTF8SMTP, UTF8SMTPS and so on (RFC 6531 section 4.3).
    """
    if not extended:
        return "SMTP"
    return f"{'UTF8SMTP' if utf8 else 'ESMTP'}{'S' if tls else ''}{'A' if authenticated else ''}"


def received_field(
    *,
    hello: str,
    client: IPv4Address | IPv6Address | None,
    by: DomainName,
    transmission: str,
    queue_id: str,
    date: datetime,
    client_name: DomainName | None = None,
    cipher: str = "",
    recipient: Address | None = None,
) -> bytes:
    """The Received field of one hop, folded and ending in CRLF.

    hello: the name in EHLO, unverified.   client: None where a subscriber's address is not to be told.
    client_name: by reverse look-up, verified by the caller.   cipher: IANA name of the suite (RFC 8314 section 4.3).
    recipient: only when the message has just one, else the others would learn it (RFC 5321 section 7.2); one that is
    not US-ASCII only in an internationalized message (RFC 6531 section 3.7.3).
    """
    name = f"{client_name} " if client_name else ""
    seen = "" if client is None else f" ({name}[{'IPv6:' if client.version == 6 else ''}{client}])"
    tls = f" tls {_token(cipher)}" if cipher else ""
    lines = [f"Received: from {_token(hello)}{seen}", f"by {by} with {transmission} id {_token(queue_id)}{tls}"]
    if recipient is not None:
        lines.append(f"for <{recipient}>")
    return ("\r\n\t".join(lines) + f";\r\n\t{format_date(date)}\r\n").encode()


def return_path_field(reverse_path: Address | None) -> bytes:
    """The Return-Path field that final delivery adds, ending in CRLF."""
    return f"Return-Path: <{reverse_path or ''}>\r\n".encode()


def _token(text: str) -> str:
    """Text as one word that ends no comment, path or field."""
    return _UNSAFE.sub("?", text)[:255] or "?"
