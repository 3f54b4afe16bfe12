"""Errors as the answers of IMAP: NO or BAD with a response code of RFC 5530, and nothing of what was inside."""

import logging
from dataclasses import dataclass

from bulkhead.errors import BoundaryViolation, IntegrityError, Refused, TemporaryFailure
from bulkhead.gate.serve import fault_place
from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.responses import Code, tagged

_log = logging.getLogger("bulkhead.access")

_REFUSALS: dict[str, tuple[Code, str]] = {
    "over-quota": (Code.OVERQUOTA, "Not enough room in the mailbox"),
    "too-large": (Code.LIMIT, "The message is too large"),
    "header-too-large": (Code.LIMIT, "The message's header is too large"),
    "unknown-cte": (Code.UNKNOWN_CTE, "NUL stands where no encoding can hold it"),
    "no-such-mailbox": (Code.NONEXISTENT, "No such mailbox"),
    "mailbox-exists": (Code.ALREADYEXISTS, "There is such a mailbox"),
    "too-many-mailboxes": (Code.LIMIT, "Too many mailboxes"),
    "too-many-keywords": (Code.LIMIT, "Too many keywords"),
    "too-many-subscriptions": (Code.LIMIT, "Too many subscriptions"),
    "has-children": (Code.HASCHILDREN, "The name has mailboxes below it and is none itself"),
    "no-such-root": (Code.NONEXISTENT, "No such quota root"),
    "bad-use": (Code.USEATTR, "A mailbox has one of \\Archive, \\Drafts, \\Junk, \\Sent and \\Trash, or none"),
    "bad-name": (Code.CANNOT, "The mailbox cannot have this name"),
    "is-inbox": (Code.CANNOT, "INBOX keeps its place"),
    "no-right": (Code.NOPERM, "This session may not do that"),
    "no-such-message": (Code.EXPUNGEISSUED, "The message is gone"),
    "bad-credentials": (Code.AUTHENTICATIONFAILED, "Authentication failed"),
}


@dataclass(frozen=True, slots=True)
class Ok:
    """How a command ended well. `silent`: its tag is answered later, or was already.

    highest: the code is HIGHESTMODSEQ, once the client has been told what happened up to it.
    """

    text: str
    code: Code | bytes | None = None
    condition: Condition = Condition.OK
    silent: bool = False
    highest: bool = False


def is_session_over(error: Exception) -> bool:
    """Whether a holder no longer knows this session."""
    return isinstance(error, Refused) and error.code == "no-session"


def answer(tag: bytes, error: Exception) -> bytes:
    """The tagged answer to a command that ended in `error`; our own bug is logged by place, never by content."""
    if isinstance(error, CommandError):
        return tagged(tag, error.condition, error.public, error.response_code)
    if isinstance(error, Refused):
        code, text = _REFUSALS.get(error.code, (Code.CANNOT, "Not possible"))
        return tagged(tag, Condition.NO, text, code)
    if isinstance(error, TemporaryFailure):
        return tagged(tag, Condition.NO, "Not available now; try again", Code.UNAVAILABLE)
    if isinstance(error, IntegrityError):
        _log.error("stored bytes do not match their proof: %s", error.public)
        return tagged(tag, Condition.NO, "Stored data cannot be read", Code.CORRUPTION)
    log_fault(error)
    return tagged(tag, Condition.NO, "Internal fault", Code.SERVERBUG)


def log_fault(error: Exception) -> None:
    """Write down where a fault of ours happened, without the values, which are people's mail."""
    if isinstance(error, BoundaryViolation | IntegrityError):
        _log.error("fault in a session: %s", error.public)
        return
    _log.error("fault in a session: %s", fault_place(error))
