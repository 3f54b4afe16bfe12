"""Every main password of a tenant, every app password, or both, revoked by one number: an epoch in ms since 1970.

A credential keeps when it was set; one that was set at or before its epoch admits nobody. Raising an epoch narrows
reach, as a stop does: it holds in memory at once, is written with its event in one transaction, and needs no ledger.
There is no way back: whoever is to log in again gets a new password. It is one row, however many credentials there are.
A reset of some accounts, or one that can be lifted, is a stop of a surface (surfaces.py) and is asked about here too.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from bulkhead.boundary.messages.fields import Mutation, Reply
from bulkhead.boundary.messages.revocation import RevokedKind
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import note
from bulkhead.holder.stop import EPOCH_AHEAD_MS
from bulkhead.holder.surfaces import Surfaces
from bulkhead.holder.witness import ledger_text
from bulkhead.records.credential import MAIN_PASSWORD

# Clear columns: a seal round them would keep nobody out who can write the database, as the epoch itself lies beside.
SCHEMA = """
ALTER TABLE half ADD COLUMN set_at INTEGER NOT NULL DEFAULT 0; -- ms since 1970
CREATE TABLE revocation (kind INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
INSERT INTO revocation VALUES (1, 0), (2, 0)
"""
R = TypeVar("R", bound=Reply)


class Revocation:
    """The epochs of main passwords and of app passwords; in memory never lower than on disk."""

    def __init__(self, database: Database, surfaces: Surfaces) -> None:
        self._database, self._surfaces = database, surfaces
        self._epochs: dict[int, int] = dict(database.read("SELECT kind, epoch FROM revocation"))

    def covers(self, cred: int, set_at: int, account: bytes | None) -> bool:
        """Whether a credential of that account that was set then is revoked. account: None where it is not known."""
        if set_at <= self._epochs[kind_of(cred)] > 0:  # 0: never revoked; what is older than the column has set_at 0
            return True
        return self._surfaces.voids(cred, set_at, account)

    def names_accounts(self) -> bool:
        """Whether a reset of some accounts holds, so that the answer depends on whose the credential is."""
        return self._surfaces.any_closed_to_some(Surface.RESET_MAIN | Surface.RESET_APP)

    def stamp(self, cred: int) -> int:
        """When a credential that is set now is set, ms: after every revocation known here."""
        newest = max(self._epochs[kind_of(cred)], self._surfaces.newest_reset(cred))
        return max(time.time_ns() // 1_000_000, newest + 1)

    async def revoke(self, request: Mutation[R], epoch: int, kind: int, reason: str, effect: Callable[[], R]) -> R:
        """Raise the epoch of `kind`, a RevokedKind; the reply is what `effect` gives, which narrows in memory.

        Raises Refused (`bad-epoch`, `bad-kind`), TemporaryFailure where it could not be written: it holds until the
        next restart then, and the same request may come again.
        """
        earlier = await self._database.answered(request)
        if earlier is not None:
            return earlier
        if epoch > time.time() * 1000 + EPOCH_AHEAD_MS:
            raise Refused("an epoch is a time, ms since 1970, and that one is to come", code="bad-epoch")
        kinds = [one for one in (RevokedKind.MAIN, RevokedKind.APP) if kind & one]
        if not kinds or kind > RevokedKind.ALL:
            raise Refused("a revocation is of main passwords (1), app passwords (2) or both (3)", code="bad-kind")
        for one in kinds:
            self._epochs[one] = max(self._epochs[one], epoch)
        reply = effect()
        details: dict[str, str | int | bool | None] = {"reason": ledger_text(reason), "epoch": epoch, "which": kind}
        write = partial(_write, epoch=epoch, kinds=kinds, actor=request.stamp.actor, details=details, reply=reply)
        # shielded: what holds in memory comes to disk, whether or not the caller is still there
        return await asyncio.shield(self._database.mutate(request, write, urgent=True))


def kind_of(cred: int) -> int:
    """The RevokedKind of a credential."""
    return RevokedKind.MAIN if cred == MAIN_PASSWORD else RevokedKind.APP


def replay(connection: sqlite3.Connection, epochs: Mapping[int, int]) -> None:
    """After a restore: what the ledger says was revoked since then."""
    for kind, epoch in epochs.items():
        connection.execute("UPDATE revocation SET epoch = max(epoch, ?) WHERE kind = ?", (epoch, kind))


def _write(
    connection: sqlite3.Connection,
    *,
    epoch: int,
    kinds: list[int],
    actor: str,
    details: dict[str, str | int | bool | None],
    reply: R,
) -> R:
    for kind in kinds:
        connection.execute("UPDATE revocation SET epoch = max(epoch, ?) WHERE kind = ?", (epoch, kind))
    note(connection, "CredentialsRevoked", actor, details)
    return reply
