"""Command lines of an SMTP session: limits by command, strict CRLF (RFC 5321 sections 2.3.8 and 4.5.3.1.4)."""

from bulkhead.errors import BareNewline, LineTooLong
from bulkhead.wipe import cut_head, wipe, wipe_text
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_codes import Limits, Reply
from bulkhead.wire.smtp_command import CommandError

_ADDRESSED = (b"MAIL ", b"RCPT ", b"VRFY ", b"EXPN ")


class CommandLines:
    """Takes lines out of an inbox. Memory: one line; of one that is too long, an octet."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._skipped = 0  # octets dropped of the line at the head of the inbox

    def take(self, inbox: bytearray, *, authenticating: bool) -> bytes | None:
        """The next line without its CRLF, or None. Raises CommandError on one too long, once its end was seen.

        Raises BareNewline on a CR or LF that stands alone, LineTooLong when no end comes: both end the session,
        for what follows may be meant for another reader.
        """
        limit, refusal = self._limit(inbox, authenticating)
        newline = inbox.find(b"\n")
        if newline < 0:
            if len(inbox) >= limit:
                self._skipped += len(inbox) - 1
                del inbox[:-1]  # keeps what may be the CR of the CRLF
            if self._skipped > self._limits.skipped_bytes:
                raise LineTooLong("command line too long")
            return None
        secret = authenticating or is_auth(inbox)
        if secret:
            line = cut_head(inbox, newline + 1)
        else:
            line = bytes(inbox[: newline + 1])
            del inbox[: newline + 1]
        skipped, self._skipped = self._skipped, 0
        too_long = skipped > 0 or len(line) > limit
        if not line.endswith(b"\r\n") or (not too_long and b"\r" in line[:-2]):
            raise BareNewline("a CR or LF stood alone in a command")
        if too_long:
            raise CommandError(refusal)
        taken = line[:-2]
        if secret:
            wipe(line)
        return taken

    def _limit(self, inbox: bytearray, authenticating: bool) -> tuple[int, Reply]:
        """How long the line at the head of the inbox may be with its CRLF, and the reply to a longer one."""
        verb = bytes(inbox[:5]).upper()
        if authenticating or is_auth(inbox):
            return self._limits.auth_line, codes.AUTH_LINE_TOO_LONG
        if verb in (b"MAIL ", b"RCPT "):
            return self._limits.parameter_line, codes.LINE_TOO_LONG
        return self._limits.command_line, codes.LINE_TOO_LONG


def is_auth(octets: bytes | bytearray) -> bool:
    """Whether a line begins AUTH, and may bring a password."""
    return octets[:5].upper() == b"AUTH "


def split_command(line: bytes) -> tuple[str, str]:
    """The verb in upper case, and its argument. Raises CommandError on octets that are not printable.

    UTF-8 may stand where an address does (RFC 6531 section 3.3); whether it may in this transaction, the command tells.
    """
    try:
        text = line.decode("ascii" if line.isascii() or line[:5].upper() not in _ADDRESSED else "utf-8")
    except UnicodeDecodeError:
        path = line[:5].upper() in (b"MAIL ", b"RCPT ")
        raise CommandError(codes.NON_ASCII_ADDRESS if path else codes.NOT_PRINTABLE) from None
    if not text.isprintable():
        raise CommandError(codes.NOT_PRINTABLE)
    verb, space, rest = text.partition(" ")
    verb, argument = verb.upper(), rest.strip(" ")
    if verb == "AUTH" and space:
        wipe_text(text)
        if rest is not argument:
            wipe_text(rest)
    return verb, argument
