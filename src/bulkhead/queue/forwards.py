"""Forwards to other servers at queue: believed where directory signed them, once, and as many as there may be.

docs/decisions/0013. What a gate says counts for nothing here: recipient, reverse-path, account and queue id are the
statement's. `used` keeps the ids of statements as long as they are good, `cancelled` the accounts that ended meanwhile.
"""

import base64
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages.to_queue import Enqueue, EnqueueForward
from bulkhead.errors import IntegrityError, Refused
from bulkhead.holder.database import Database
from bulkhead.identifiers import TenantId
from bulkhead.queue.spending import Allowance, require_allowance, spend
from bulkhead.records.forward import Forward

GOOD_MS_MAX = 2 * 3_600_000  # directory gives them an hour; one that is good for longer would outlive `used`
_CANCELLED = "SELECT 1 FROM forward_cancelled WHERE account = ?"
WHOLE_TENANT = b"forwards"  # in `spent`, where an account's own row has 16 octets

MIGRATION = """
    CREATE TABLE forward_used (id BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX forward_used_expires ON forward_used (expires);
    CREATE TABLE forward_cancelled (account BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID
    """


@dataclass(frozen=True, slots=True)
class Forwards:
    """key: None where none is pinned, and nothing is believed. Limits are messages a day; 0: none."""

    tenant: TenantId
    key: Ed25519PublicKey | None
    per_account: int
    per_tenant: int

    @classmethod
    def configured(cls, tenant: str, settings: Mapping[str, Any]) -> "Forwards":
        """From queue's settings, which config has checked."""
        section, pinned = settings["queue"], str(settings.get("pinned", {}).get("forward_key", ""))
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(pinned)) if pinned else None
        per_account, per_tenant = section["forwards_per_account_day"], section["forwards_per_tenant_day"]
        return cls(TenantId(tenant), key, int(per_account), int(per_tenant))

    def admit(self, request: EnqueueForward, now: int) -> tuple[Forward, Enqueue]:
        """The statement, and the message as it is queued. Raises Refused: `no-statement`, `expired`."""
        if self.key is None:
            raise Refused("no key for forwards is pinned here: bulkhead upgrade", code="no-statement")
        try:
            forward = Forward.verify(request.statement, self.key, self.tenant)
        except IntegrityError as error:
            raise Refused(error.public, code="no-statement") from None
        if not now < forward.expires <= now + GOOD_MS_MAX:
            raise Refused("the forward's statement is not good any more", code="expired")
        return forward, Enqueue(
            request.stamp, forward.id, forward.return_path, (forward.target,), request.box, request.size,
            request.header_size, request.body_size, forward.account,
        )  # fmt: skip

    def require(self, where: sqlite3.Connection | Database, forward: Forward, now: int) -> None:
        """Passes one that was not used, of an account that lives, within the limits.

        Raises Refused: `used`, `no-statement`, `sent-too-much`.
        """
        first = where.first if isinstance(where, Database) else lambda *query: where.execute(*query).fetchone()
        if first("SELECT 1 FROM forward_used WHERE id = ?", (forward.id,)) is not None:
            raise Refused("that statement has sent its message", code="used")
        if first(_CANCELLED, (forward.account,)) is not None:
            raise _cancelled()
        for who, limit in ((spent_by(forward.account), self.per_account), (WHOLE_TENANT, self.per_tenant)):
            require_allowance(where, who, 1, now, Allowance(0, 0, limit))


NO_FORWARDS = Forwards(TenantId(""), None, 0, 0)
"""None is believed."""


def use(connection: sqlite3.Connection, forward: Forward, now: int) -> None:
    """The statement is used up, and counted."""
    connection.execute("DELETE FROM forward_used WHERE expires < ?", (now,))
    connection.execute("DELETE FROM forward_cancelled WHERE until < ?", (now,))
    connection.execute("INSERT INTO forward_used VALUES (?, ?)", (forward.id, forward.expires))
    for who in (spent_by(forward.account), WHOLE_TENANT):
        spend(connection, who, 1, now)


def require_living(connection: sqlite3.Connection, account: bytes) -> None:
    """Passes an account that was not cancelled of late: its last message may still have been on its way here."""
    if connection.execute(_CANCELLED, (account,)).fetchone() is not None:
        raise _cancelled()


def cancel(connection: sqlite3.Connection, account: bytes, now: int) -> None:
    """No statement that is still about sends anything of this account, and nothing that is being received."""
    connection.execute("DELETE FROM forward_cancelled WHERE until < ?", (now,))
    connection.execute("INSERT OR REPLACE INTO forward_cancelled VALUES (?, ?)", (account, now + GOOD_MS_MAX))
    connection.execute("DELETE FROM spent WHERE account = ?", (spent_by(account),))


def spent_by(account: bytes) -> bytes:
    """Where an account's forwards are counted, apart from what it sends itself."""
    return WHOLE_TENANT + account


def _cancelled() -> Refused:
    return Refused("the account is cancelled", code="no-statement")
