"""What POP3 needs beyond IMAP: who holds a maildrop, and the unique-ids that messages brought from a former system.

A hold is a lease: it lives as long as the handle is served, so a worker that dies, a session that keyring ends and a
grant that expires lose it at once. It is in memory: a restart of the store frees every maildrop, and a session must ask
again before it may delete.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bulkhead.errors import Refused
from bulkhead.store.grants import Grants, Session
from bulkhead.store.rows import MailboxHead

SWEEP_FROM: Final = 1024  # holds; past it those of sessions that are gone are swept out whenever their number doubled
OWN_FORM: Final = re.compile(r"[0-9a-f]{16}")


class Maildrops:
    """Which session holds which account's maildrop. Used on the loop's thread; `holds` on the writer's too."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self._holders: dict[bytes, bytes] = {}  # account to handle
        self._updating: dict[bytes, bytes] = {}  # the same, while a transaction removes messages
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        return len(self._holders)

    def lock(self, session: Session, now_ms: int) -> None:
        """The session holds its account's maildrop. Raises Refused (`in-use`) where another live one does."""
        holder = self._updating.get(session.account) or self._holders.get(session.account)
        if holder not in (None, session.handle) and (
            session.account in self._updating or self._grants.is_live(holder or b"", now_ms)
        ):
            raise Refused("another session holds the maildrop", code="in-use")
        self._holders[session.account] = session.handle
        if len(self._holders) > self._sweep_at:
            self._holders = {a: handle for a, handle in self._holders.items() if self._grants.is_live(handle, now_ms)}
            self._sweep_at = 2 * len(self._holders) + SWEEP_FROM

    def unlock(self, session: Session) -> None:
        """The session holds it no longer."""
        if self._holders.get(session.account) == session.handle:
            del self._holders[session.account]

    def require(self, session: Session, now_ms: int) -> None:
        """Raises Refused (`not-locked`) where the session does not hold the maildrop."""
        if self._holders.get(session.account) != session.handle or not self._grants.is_live(session.handle, now_ms):
            raise Refused("this session does not hold the maildrop", code="not-locked")

    @contextmanager
    def updating(self, session: Session) -> Iterator[None]:
        """Meanwhile nobody else gets the maildrop, even where this session ends."""
        holding = self._holders.get(session.account) == session.handle and session.account not in self._updating
        if holding:
            self._updating[session.account] = session.handle
        try:
            yield
        finally:
            if holding:
                del self._updating[session.account]


def keep_uidl(connection: sqlite3.Connection, inbox: int, mailbox: MailboxHead, uid: int, uidl: str) -> None:
    """The message's unique-id from a former system.

    Raises Refused: `bad-uidl` for another mailbox than INBOX and for what a message of this INBOX may be called by us,
    so that the two kinds never meet; `duplicate-uidl`.
    """
    if mailbox.seq != inbox or (OWN_FORM.fullmatch(uidl) and uidl.startswith(f"{mailbox.uid_validity:08x}")):
        raise Refused("that unique-id cannot be kept", code="bad-uidl")
    try:
        connection.execute("INSERT INTO uidl VALUES (?, ?, ?)", (mailbox.seq, uid, uidl))
    except sqlite3.IntegrityError:
        raise Refused("another message has that unique-id", code="duplicate-uidl") from None
