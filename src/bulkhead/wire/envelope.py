"""IMAP's ENVELOPE, BODY and BODYSTRUCTURE, rendered as FETCH sends them (RFC 3501 section 7.4.2).

A string is quoted where it may be and a literal (`{n}` CRLF, then n octets) where it holds 8-bit octets, quotes,
backslashes or control characters, or is longer than 998 octets; so the rendered bytes are safe to send as they are.
NUL cannot be sent at all (RFC 3501 section 9, CHAR8) and is dropped. Line ends of folded fields are dropped. Names
and encoded words stay as written. A part without charset is shown as us-ascii text, a missing encoding as 7bit (RFC
2045 sections 5.2 and 6.1).
"""

import re
from typing import Final

from bulkhead.wire.address_list import parse_address_list
from bulkhead.wire.header import unfold
from bulkhead.wire.mime import Content, Parameters, Part

RENDERED_MAX: Final = 1024 * 1024  # octets of all rendered strings of one message; what follows is NIL

# Octets that may stand between quotes as they are; CHAR without CR, LF and quoted-specials.
_QUOTABLE = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e\t]{0,998}")
_ENVELOPE_ROW: Final = {
    b"date": 0, b"subject": 1, b"from": 2, b"sender": 3, b"reply-to": 4, b"to": 5, b"cc": 6, b"bcc": 7,
    b"in-reply-to": 8, b"message-id": 9,
}  # fmt: skip
_NO_CHARSET = b'("charset" "us-ascii")'


class Renderer:
    """Renders one message's structures and spends one budget of octets on all of them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = RENDERED_MAX

    def envelope(self, part: Part) -> bytes:
        """The ENVELOPE of the message whose header is `part`'s.

        Address fields that occur more than once are read as one list, so that no reader sees another author than a
        filter did. Of other fields the first counts. Sender and Reply-To default to From.
        """
        data = self._data
        rows: list[bytes | None] = [None] * 10
        for name, _, value, end in part.fields:
            row = _ENVELOPE_ROW.get(name)
            if row is None:
                continue
            text, before = unfold(data[value:end]), rows[row]
            if before is None:
                rows[row] = text
            elif 2 <= row <= 7:
                rows[row] = before + b"," + text
        author = self._addresses(rows[2])
        sender = self._addresses(rows[3]) if rows[3] else b"NIL"
        reply_to = self._addresses(rows[4]) if rows[4] else b"NIL"
        return b"(%s %s %s %s %s %s %s %s %s %s)" % (
            self._string(rows[0]),
            self._string(rows[1]),
            author,
            author if sender == b"NIL" else sender,
            author if reply_to == b"NIL" else reply_to,
            self._addresses(rows[5]),
            self._addresses(rows[6]),
            self._addresses(rows[7]),
            self._string(rows[8]),
            self._string(rows[9]),
        )

    def structure(self, part: Part) -> tuple[bytes, bytes]:
        """BODY and BODYSTRUCTURE of a part and all within it."""
        content = part.content
        if part.children:
            pairs = [self.structure(child) for child in part.children]
            subtype = self._string(content.subtype)
            plain = b"(%s %s)" % (b"".join([pair[0] for pair in pairs]), subtype)
            extended = b"(%s %s %s %s %s %s)" % (
                b"".join([pair[1] for pair in pairs]),
                subtype,
                self._parameters(content.parameters),
                *self._extension(content),
            )
            return plain, extended
        media = content.media.lower()
        parameters = self._parameters(content.parameters)
        if media == b"text" and content.parameter(b"charset") is None:
            parameters = _NO_CHARSET if parameters == b"NIL" else parameters[:-1] + b" " + _NO_CHARSET[1:]
        plain = extended = b"%s %s %s %s %s %s %d" % (
            self._string(content.media),
            self._string(content.subtype),
            parameters,
            self._string(content.identifier),
            self._string(content.description),
            self._string(content.encoding),
            part.end - part.body,
        )
        if part.message is not None:
            envelope, (inner, inner_extended) = self.envelope(part.message), self.structure(part.message)
            plain = b"%s %s %s %d" % (plain, envelope, inner, self._lines(part))
            extended = b"%s %s %s %d" % (extended, envelope, inner_extended, self._lines(part))
        elif media == b"text":
            plain = extended = b"%s %d" % (plain, self._lines(part))
        return b"(%s)" % plain, b"(%s %s %s %s %s)" % (extended, self._string(content.md5), *self._extension(content))

    def _lines(self, part: Part) -> int:
        return self._data.count(b"\n", part.body, part.end)

    def _extension(self, content: Content) -> tuple[bytes, bytes, bytes]:
        """Disposition, language and location."""
        disposition = languages = b"NIL"
        if content.disposition is not None:
            disposition = b"(%s %s)" % (
                self._string(content.disposition),
                self._parameters(content.disposition_parameters),
            )
        if content.languages:
            languages = b"(%s)" % b" ".join([self._string(language) for language in content.languages])
        return disposition, languages, self._string(content.location)

    def _parameters(self, parameters: Parameters) -> bytes:
        if not parameters or self._left < 0:
            return b"NIL"
        return b"(%s)" % b" ".join([b"%s %s" % (self._text(name), self._text(value)) for name, value in parameters])

    def _addresses(self, value: bytes | None) -> bytes:
        """An address list, or NIL when it holds none or the budget is spent."""
        if not value or self._left < 0:
            return b"NIL"
        string = self._string
        rendered = [
            b"(%s %s %s %s)" % (string(name), string(route), string(local), string(domain))
            for name, route, local, domain in parse_address_list(value)
        ]
        return b"(%s)" % b"".join(rendered) if rendered else b"NIL"

    def _string(self, value: bytes | None) -> bytes:
        """An nstring."""
        if value is None or self._left < 0:
            return b"NIL"
        return self._text(value)

    def _text(self, value: bytes) -> bytes:
        """A string: never NIL."""
        self._left -= len(value) + 8
        if _QUOTABLE.fullmatch(value):
            return b'"%s"' % value
        value = value.replace(b"\0", b"")
        return b"{%d}\r\n%s" % (len(value), value)
