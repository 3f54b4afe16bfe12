"""Address lists of header fields, read tolerantly and in linear time (RFC 5322 section 3.4).

An address is (display name, source route, local part, domain), each bytes or None, as IMAP's ENVELOPE wants them:
quoting is removed, encoded words stay as they are. A group begins with (None, None, its name, None) and ends with
four None (RFC 3501 section 7.4.2). Nothing raises: what cannot be an address becomes a local part without domain.
Local parts with misplaced dots (`foo..bar@docomo.ne.jp`) are ordinary here. A comment serves as the name where there
is no other.
"""

import re

ADDRESSES_MAX = 2000  # of one list; the rest is not given

Address = tuple[bytes | None, bytes | None, bytes | None, bytes | None]

GROUP_END: Address = (None, None, None, None)
NO_LOCAL_PART = b"MISSING_MAILBOX"  # stands where an address lacks it, since NIL would mean a group
NO_DOMAIN = b"MISSING_DOMAIN"

_PLAIN = rb'[^\x00-\x20<>()\[\]:;@\\,"]++'
# One mailbox of the two common shapes, up to its comma: `"name" <a@b>`, `name <a@b>`, `a@b`.
_MAILBOX = re.compile(
    rb'[ \t]*+(?:(?:"([^"\\]*+)"[ \t]*+|([^<>()\[\]:;@\\,"]*+))<(' + _PLAIN + rb")@(" + _PLAIN + rb")>"
    rb"|(" + _PLAIN + rb")@(" + _PLAIN + rb"))[ \t]*+(?:,|\Z)"
)
_TOKEN = re.compile(
    rb"([ \t\r\n]++)"  # 1: space
    rb'|"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)'  # 2: quoted string, closed or not
    rb"|(\((?:[^()\\]++|\\.)*+\))"  # 3: comment without another inside
    rb"|(=\?[^?\s]{1,64}+\?[bBqQ]\?[^?\s]*+\?=)"  # 4: encoded word; senders leave specials in it
    rb"|(\[[^\]\[<>]*+\]?+)"  # 5: domain literal
    rb'|([^ \t\r\n"()<>@,:;\[\\]++)'  # 6: atoms and dots
    rb"|\\(.?)",  # 7: quoted pair outside of quotes
    re.DOTALL,
)
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SPECIALS = b"<>@,:;"
_END = b""


def parse_address_list(value: bytes, limit: int = ADDRESSES_MAX) -> list[Address]:
    """The addresses of an unfolded field value, at most `limit` entries (group marks included)."""
    found: list[Address] = []
    at, size = 0, len(value)
    while at < size and len(found) < limit:
        mailbox = _MAILBOX.match(value, at)
        if mailbox is None:
            break
        quoted, phrase, local, domain, bare_local, bare_domain = mailbox.groups()
        if bare_local is not None:
            found.append((None, None, bare_local, bare_domain))
        else:
            name = quoted if quoted is not None else b" ".join(phrase.split())
            found.append((name or None, None, local, domain))
        at = mailbox.end()
    if at < size and len(found) < limit:
        found += _ListParser(value, at, limit - len(found)).parse()
    return found


class _ListParser:
    """Reads the general form token by token. Each byte is looked at a fixed number of times."""

    def __init__(self, value: bytes, at: int, limit: int) -> None:
        self._value, self._at, self._limit = value, at, limit
        self._found: list[Address] = []
        self._words: list[bytes] = []  # words and the spaces between them, since the last mark
        self._spaced = False
        self._comment = b""
        self._name = b""
        self._route: bytes | None = None
        self._local: bytes | None = None
        self._domain = b""
        self._angled = False
        self._group = False

    def parse(self) -> list[Address]:
        """All addresses from the position given."""
        while len(self._found) < self._limit:
            mark = self._next_mark()
            if mark in (b",", b";", _END):
                self._finish()
                if mark != b"," and self._group:
                    self._found.append(GROUP_END)
                    self._group = False
                if mark == _END:
                    break
            elif mark == b"<" and not self._angled:
                self._angle()
            elif mark == b"@" and not self._angled and self._local is None:
                self._local = self._take()
            elif mark == b":" and not self._angled and self._local is None and not self._group:
                self._found.append((None, None, self._take(), None))
                self._group, self._comment = True, b""
        return self._found[: self._limit]

    def _next_mark(self) -> bytes:
        """Collect words up to the next special character and give that; nothing at the end."""
        value, size = self._value, len(self._value)
        while self._at < size:
            token = _TOKEN.match(value, self._at)
            if token is None:
                if value[self._at] == 0x28:
                    self._nested_comment()
                    continue
                self._at += 1
                return value[self._at - 1 : self._at]  # one of _SPECIALS
            self._at = token.end()
            kind, text = token.lastindex, token[token.lastindex or 0]
            if kind == 1:
                self._spaced = True
            elif kind == 3:
                self._comment = _ESCAPED.sub(rb"\1", text[1:-1])
            else:
                self._add(_ESCAPED.sub(rb"\1", text) if kind == 2 and b"\\" in text else text)
        return _END

    def _nested_comment(self) -> None:
        depth, first = 0, self._at
        for parenthesis in _PARENTHESIS.finditer(self._value, first):
            depth += {b"(": 1, b")": -1}.get(parenthesis[0], 0)
            if depth == 0:
                self._at = parenthesis.end()
                self._comment = self._value[first + 1 : self._at - 1]
                return
        self._comment, self._at = self._value[first + 1 :], len(self._value)  # never closed

    def _add(self, word: bytes) -> None:
        """Add a word: one space where there was any, none beside a dot (RFC 5322 section 4.1, obs-phrase)."""
        if self._spaced and self._words and not self._words[-1].endswith(b".") and not word.startswith(b"."):
            self._words.append(b" ")
        self._words.append(word)
        self._spaced = False

    def _take(self) -> bytes:
        text = b"".join(self._words)
        self._words, self._spaced = [], False
        return text

    def _angle(self) -> None:
        """Read `[route] local@domain>`; the bracket may be missing before a comma or the end."""
        self._name, self._angled = self._take(), True
        in_route = False
        while (mark := self._next_mark()) not in (b">", _END):
            if mark == b"@" and self._local is None and not in_route:
                if self._words:
                    self._local = self._take()
                    continue
                in_route = self._route is None
                self._add(mark)
            elif mark == b":" and in_route:
                self._route, in_route = self._take(), False
            elif mark in (b",", b";") and not in_route:
                self._at -= 1
                break
            else:
                self._add(mark)
        if self._local is None:
            self._local = self._take()
        else:
            self._domain = self._take()

    def _finish(self) -> None:
        """Turn what was collected since the last comma into an address."""
        rest = self._take()
        if self._angled:
            name, local, domain = self._name, self._local, self._domain
        elif self._local is not None:
            name, local, domain = b"", self._local, rest
        else:
            name, local, domain = b"", rest, b""
        if self._angled or local or domain:
            self._found.append(
                (name or self._comment or None, self._route, local or NO_LOCAL_PART, domain or NO_DOMAIN)
            )
        self._name = self._comment = self._domain = b""
        self._route = self._local = None
        self._angled = False
