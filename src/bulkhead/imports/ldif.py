"""Records of `attribute: value` lines: LDIF, and what `zmprov -l getAllAccounts -v` prints. PURE.

A record ends at a blank line, or where the next `# name` begins. A line that begins with a space goes on with the one
before; `::` says that the value is in base 64.
"""

import base64
import binascii

from bulkhead.errors import PeerError
from bulkhead.imports.fields import Found, account_line
from bulkhead.imports.lines import Line
from bulkhead.imports.rows import AccountLine, BadLine

VALUE_MAX = 16_384  # characters, folded lines together
_KEPT = {
    "mail", "zimbramaildeliveryaddress", "userpassword", "zimbraaccountstatus", "zimbramailquota", "zimbramailalias",
}  # fmt: skip
_NAME = "# name "


def begins_records(text: str) -> bool:
    """Whether a file that begins with this line is one of records."""
    return text.lower().startswith(("dn:", "version: ", _NAME, "# extended ldif"))


class Records:
    """Lines in; at the end of each record its account, or why it is none."""

    def __init__(self) -> None:
        self._open = self._reason = ""
        self._clear(None)

    def receive(self, line: Line, text: str) -> list[AccountLine | BadLine]:
        """What has become whole with this line."""
        done: list[AccountLine | BadLine] = []
        if not text.strip() or text.startswith(_NAME):
            done = self.end()
        if not text.strip():
            return done
        if self._first is None:
            self._clear(line)
        self._last = line
        if text.startswith(_NAME):
            self._keep("mail", text.removeprefix(_NAME).strip())
        elif text.startswith(" "):
            self._open += text[1:]
            if len(self._open) > VALUE_MAX:
                self._open, self._reason = "", "has a value that is too long"
        else:
            self._close()
            self._open = "" if text.startswith("#") else text
        return done

    def spoil(self) -> None:
        """A line of this record was too long."""
        self._open, self._reason = "", "has a line that is too long"

    def end(self) -> list[AccountLine | BadLine]:
        """The record that is open."""
        if self._first is None:
            return []
        self._close()
        first, last = self._first, self._last
        values, reason = self._values, self._reason
        self._clear(None)
        line = Line(first.number, last.offset, None)
        if not values and not reason:  # `version: 1`, a comment, an entry that is no account
            return []
        try:
            if reason:
                raise PeerError(reason)
            return [account_line(line, _found(values))]
        except PeerError as error:
            return [BadLine(line.number, line.offset, error.public)]

    def _clear(self, first: Line | None) -> None:
        self._first = first
        self._last = first or Line(0, 0, None)
        self._values: dict[str, list[str]] = {}
        self._open = self._reason = ""

    def _close(self) -> None:
        """The attribute that was open is whole."""
        name, colon, value = self._open.partition(":")
        self._open = ""
        if not colon or name.lower() not in _KEPT:
            return
        if value.startswith(":"):
            try:
                octets = base64.b64decode(value[1:].strip(), validate=True)
            except (binascii.Error, ValueError):
                self._reason = "has a value that is not base 64"
                return
            value = octets.decode("utf-8", "surrogateescape")
        self._keep(name.lower(), value.strip(" "))

    def _keep(self, name: str, value: str) -> None:
        self._values.setdefault(name, []).append(value)


def _found(values: dict[str, list[str]]) -> Found:
    if any("\0" in value for texts in values.values() for value in texts):
        raise PeerError("has NUL in it")
    passwords = values.get("userpassword", [""])
    if len(passwords) > 1:
        raise PeerError("has more than one password")
    address = (values.get("zimbramaildeliveryaddress") or values.get("mail") or [""])[0]
    return Found(
        address, passwords[0], values.get("zimbramailquota", [""])[0], values.get("zimbraaccountstatus", [""])[0],
        aliases="zimbramailalias" in values,
    )  # fmt: skip
