"""Consent codes: eight digits that a subscriber made and tells the support desk. One an account, once, for 15 minutes.

Kept is an HMAC under the holder's own key, bound to tenant and account. A wrong try is counted durably before it is
answered; after CONSENT_TRIES wrong ones the code is void. Nobody who has a case alone can try more than that.
"""

import hmac
import sqlite3
from dataclasses import dataclass, field
from enum import Enum

from bulkhead.boundary.support import CONSENT_DIGITS, CONSENT_LIFE_MS, CONSENT_TRIES
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.derive import derive

SCHEMA = """
CREATE TABLE consent (
    owner BLOB PRIMARY KEY,         -- HMAC of the account
    code BLOB NOT NULL,             -- HMAC of tenant, account and code
    expires INTEGER NOT NULL,       -- ms
    tries INTEGER NOT NULL          -- wrong ones
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Codes:
    """The tags of one holder's codes. key: of its own, which nothing else is derived from by this name."""

    tenant: TenantId
    key: bytes = field(repr=False)

    def tags(self, account: AccountId, code: bytes) -> tuple[bytes, bytes]:
        """Row key and tag. Raises Refused (`bad-consent`) on what is no code."""
        if len(code) != CONSENT_DIGITS or not code.isdigit():
            raise refused()
        key, bound = derive(self.key, "consent"), self.tenant.encode() + b"\0" + account
        owner = hmac.digest(key, b"owner\0" + bound, "sha256")[:16]
        return owner, hmac.digest(key, b"code\0" + bound + code, "sha256")


def put(connection: sqlite3.Connection, owner: bytes, code: bytes, now: int) -> None:
    """A new code; the one before is void."""
    connection.execute("DELETE FROM consent WHERE expires <= ?", (now,))
    connection.execute("INSERT OR REPLACE INTO consent VALUES (?, ?, ?, 0)", (owner, code, now + CONSENT_LIFE_MS))


class Tried(Enum):
    """What came of a try."""

    RIGHT = "right"
    WRONG = "wrong"
    VOID = "void"  # wrong, and the last one
    NONE = "none"  # there is no code to try


def try_code(connection: sqlite3.Connection, owner: bytes, code: bytes, now: int) -> Tried:
    """Whether it is the code; a wrong try is counted in the same transaction, and answered once that is durable."""
    row = connection.execute("SELECT code, expires, tries FROM consent WHERE owner = ?", (owner,)).fetchone()
    right = hmac.compare_digest(bytes(32) if row is None else row[0], code)
    if row is None or row[1] <= now:
        return Tried.NONE
    if right:
        return Tried.RIGHT
    if row[2] + 1 < CONSENT_TRIES:
        connection.execute("UPDATE consent SET tries = tries + 1 WHERE owner = ?", (owner,))
        return Tried.WRONG
    connection.execute("DELETE FROM consent WHERE owner = ?", (owner,))
    return Tried.VOID


def spend(connection: sqlite3.Connection, owner: bytes, code: bytes) -> None:
    """In the transaction of the act. Raises Refused (`bad-consent`) where it was spent meanwhile."""
    if not connection.execute("DELETE FROM consent WHERE owner = ? AND code = ?", (owner, code)).rowcount:
        raise refused()


def refused() -> Refused:
    """Whatever the cause."""
    return Refused("that code does not hold: the subscriber makes a new one", code="bad-consent")
