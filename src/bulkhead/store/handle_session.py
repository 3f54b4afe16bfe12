"""What sessions exist: GrantSessions and RevokeSessions from keyring."""

import sqlite3
from collections.abc import Awaitable, Mapping

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_store import EndGenerations, GenerationsEnded, GrantSessions, RevokeSessions
from bulkhead.boundary.terms import Channel
from bulkhead.errors import Refused
from bulkhead.store.changes import Effects
from bulkhead.store.retention import release_older
from bulkhead.store.state import State, now_ms

EPOCH_AHEAD_MS = 60_000  # how far in the future an epoch, which is a time, may lie


def grant_sessions(
    state: State, peer: Channel, request: GrantSessions, body: BodyReader | None
) -> Done | Awaitable[Done]:
    """Serve these from now on. A higher epoch than known ends every session of the older one first."""
    newer = _require_epoch(state, request.epoch)
    if newer:
        _drop_everything(state)
    state.grants.give(peer, request.grants, request.complete, now_ms())
    return _raise_epoch(state, request.epoch) if newer else Done()


def revoke_sessions(
    state: State, peer: Channel, request: RevokeSessions, body: BodyReader | None
) -> Done | Awaitable[Done]:
    """Serve these no more: at once, and only then is the epoch made durable."""
    newer = _require_epoch(state, request.epoch)
    if request.everything or newer:
        _drop_everything(state)
    for handle in request.handles:
        state.grants.revoke(handle)
        state.watchers.unwatch(handle)
    return _raise_epoch(state, request.epoch) if newer else Done()


def _require_epoch(state: State, epoch: int) -> bool:
    """Whether the epoch is higher than the one known. Raises Refused: `old-epoch` where it is lower, `bad-epoch` where
    it lies in the future: a compromised keyring would end all sessions for ever, and its successor could not mend it.
    """
    if epoch > now_ms() + EPOCH_AHEAD_MS:
        raise Refused("an epoch is a time, ms since 1970, and that one is not yet", code="bad-epoch")
    (known,) = state.database.first("SELECT value FROM meta WHERE name = 'epoch'")
    if epoch < known:
        raise Refused("that epoch is over", code="old-epoch")
    return bool(epoch > known)


def _drop_everything(state: State) -> None:
    for handle in state.grants.drop_all():
        state.watchers.unwatch(handle)


async def _raise_epoch(state: State, epoch: int) -> Done:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'epoch'", (epoch,))

    await state.database.write(work)
    return Done()


async def end_generations(
    state: State, peer: Channel, request: EndGenerations, body: BodyReader | None
) -> GenerationsEnded:
    """Whether names, pages or arrived mail are under an older generation; if none is, none is taken in any more.

    Not before something is under this one: keyring alone shuts out nobody's mail by a generation that never was.
    """

    def work(connection: sqlite3.Connection, effects: Effects) -> bool:
        row = connection.execute("SELECT seq FROM account WHERE account = ?", (request.account,)).fetchone()
        if row is None:
            return False
        values = {"account": row[0], "below": request.below, "octets": request.below.to_bytes(4, "big")}
        if _any(connection, "<", values) or not _any(connection, ">=", values):
            return True
        release_older(connection, effects, row[0], values["octets"])
        connection.execute("UPDATE account SET generation = max(generation, ?) WHERE seq = ?", (request.below, row[0]))
        return False

    return GenerationsEnded(await state.commit_step(work))


def _any(connection: sqlite3.Connection, compared: str, values: Mapping[str, object]) -> bool:
    """Whether anything of the account is under a generation that compares so."""
    return any(connection.execute(query.format(compared), values).fetchone() for query in _UNDER)


# A header has the generation in its octets 3 to 6; the tag of a mailbox's name, 16 octets, lies before its record.
_UNDER = (
    "SELECT 1 FROM page WHERE account = :account AND generation {} :below LIMIT 1",
    "SELECT 1 FROM mailbox WHERE account = :account AND tag IS NOT NULL AND substr(sealed_name, 20, 4) {} :octets",
    "SELECT 1 FROM keyword WHERE account = :account AND substr(sealed_name, 4, 4) {} :octets",
    "SELECT 1 FROM subscription WHERE account = :account AND substr(sealed_name, 4, 4) {} :octets",
    "SELECT 1 FROM email e WHERE account = :account AND page = 0 AND substr(sealed_key, 4, 4) {} :octets"
    " AND refs > (SELECT count(*) FROM deleted d WHERE d.email = e.seq) LIMIT 1",  # what is only kept holds up no key
)
