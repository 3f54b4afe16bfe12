"""CONTAINMENTS: every surface that `contain` stops: its bits, who guards it, what it does, what stays alive.

docs/containment.md is held to this table by a test. Standard library only, but for the bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bulkhead.boundary.messages.surfaces import Surface

ALL_GUARDS = ("keyring", "auth", "queue", "store")  # whom an order of surfaces names


@dataclass(frozen=True, slots=True)
class Containment:
    """One surface. guards: compartments that enforce it, each for itself."""

    name: str
    bits: int
    guards: tuple[str, ...]
    effect: str
    alive: str


_LOGIN = ("keyring", "auth")
_ROWS = (
    Containment(
        "logins", Surface.LOGINS, _LOGIN, "nobody logs in by IMAP, POP3 or submission; live sessions end",
        "receiving; what is queued leaves; forwards",
    ),
    Containment(
        "imap", Surface.IMAP, _LOGIN, "no login and no session by IMAP",
        "POP3 and submission with the same password; receiving; what is queued leaves",
    ),
    Containment(
        "pop3", Surface.POP, _LOGIN, "no login and no session by POP3",
        "IMAP and submission with the same password; receiving; what is queued leaves",
    ),
    Containment(
        "submission", Surface.SUBMIT, _LOGIN, "no login and no session for sending",
        "reading by IMAP and POP3; receiving; what is queued leaves",
    ),
    Containment(
        "main-passwords", Surface.MAIN_PASSWORD, _LOGIN,
        "no login by a main password, and no session that one opened; the passwords stay as they are",
        "app passwords: devices that poll go on; receiving; what is queued leaves",
    ),
    Containment(
        "app-passwords", Surface.APP_PASSWORD, _LOGIN,
        "no login by an app password, and no session that one opened; the passwords stay as they are",
        "main passwords; receiving; what is queued leaves",
    ),
    Containment(
        "reset-passwords", Surface.RESET_MAIN, _LOGIN,
        "main passwords set until now log nobody in, and sessions that they opened end; one that is set anew does",
        "app passwords: devices that poll go on; receiving; what is queued leaves; the mailbox and its mail",
    ),
    Containment(
        "revoke-app-passwords", Surface.RESET_APP | Surface.SESSIONS, _LOGIN,
        "app passwords made until now log nobody in, and every session ends; one that is made anew does",
        "main passwords, by which app passwords are made anew; receiving; what is queued leaves",
    ),
    Containment(
        "sessions", Surface.SESSIONS, ("keyring",), "live sessions end, once; whoever logs in again may",
        "logins, by every password: a device that polls is back at once; receiving; what is queued leaves",
    ),
    Containment(
        "outbound", Surface.OUTBOUND, ("queue",), "what these accounts send and forward elsewhere waits in the queue",
        "logins, sending into the queue, mail within the tenant; receiving; bounces; what courier has in hand leaves",
    ),
    Containment(
        "inbound", Surface.INBOUND, ("store",), "mail for these accounts is answered 4yz: its sender tries again",
        "logins, reading, sending; a sender that gives up after some days bounces its mail",
    ),
    Containment(
        "freeze", Surface.FREEZE, ALL_GUARDS,
        "mailboxes are read and stay as they are: no change, no arrival (4yz), no sending, nothing leaves",
        "logins and reading by IMAP and POP3; \\Seen is not set; deleted mail whose time is over still goes",
    ),
    Containment(
        "rule-source", Surface.RULE_SOURCE, ("auth",),
        "a gate takes nobody new from one network",
        "whoever logged in from there before; other networks; the other gate",
    ),
    Containment(
        "rule-worker", Surface.RULE_WORKER, ("keyring",),
        "one process of a gate opens no message key, and gets no session",
        "every other process; the one that takes its place when it is evicted",
    ),
    Containment(
        "rule-sender", Surface.RULE_SENDER, ("queue",), "what one account sent waits in the queue",
        "its logins, reading, sending into the queue, mail within the tenant",
    ),
)  # fmt: skip

CONTAINMENTS: Mapping[str, Containment] = {row.name: row for row in _ROWS}
