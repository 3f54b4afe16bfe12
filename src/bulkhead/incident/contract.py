"""The contract in force, and how its promises stood when they were last measured.

The command line measures; what is kept here is its word, and every change of it is an entry of the ledger.
"""

import hashlib
import time
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_incident import (
    AdoptContract,
    ContractState,
    GiveNotice,
    RecordMeasures,
    TermRow,
)
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.witness import ledger_text

KEPT, BROKEN = 1, 2


class Contract:
    """What is agreed."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database, self._outbox = database, outbox

    def state(self) -> ContractState:
        """Text, facts and terms; empty where nothing was adopted."""
        row = self._database.first("SELECT text, adopted, checked, facts FROM contract")
        columns = "name, promised, measured, standing, entry, why, since"
        terms = self._database.read(f"SELECT {columns} FROM term ORDER BY name")  # noqa: S608  # the line above
        text, adopted, checked, facts = row or ("", 0, 0, b"")
        return ContractState(text, adopted, checked, facts, tuple(TermRow(*term) for term in terms))

    async def adopt(self, request: AdoptContract) -> Done:
        """Durable with its entry. What was learnt from the ledger stays; what was measured does not."""
        done = await self._database.mutate(request, partial(_adopt, request=request))
        self._outbox.wake()
        return done

    async def record(self, request: RecordMeasures) -> Done:
        """Durable with the entries about what changed. Raises Refused (`stale`)."""
        done = await self._database.mutate(request, partial(_record, request=request))
        self._outbox.wake()
        return done

    async def give_notice(self, request: GiveNotice) -> Done:
        """Durable, and on its way to the ledger."""
        done = await self._database.mutate(request, partial(_give_notice, request=request))
        self._outbox.wake()
        return done


def _adopt(connection: Connection, *, request: AdoptContract) -> Done:
    now = time.time_ns() // 1_000_000
    connection.execute(
        "INSERT INTO contract VALUES (1, ?, ?, 0, x'') "
        "ON CONFLICT (one) DO UPDATE SET text = excluded.text, adopted = excluded.adopted, checked = 0",
        (request.text, now),
    )
    connection.execute("DELETE FROM term")
    note(connection, "ContractAdopted", request.stamp.actor, {"sha256": _digest(request.text).hex()})
    return Done()


def _record(connection: Connection, *, request: RecordMeasures) -> Done:
    kept = connection.execute("SELECT text, checked FROM contract").fetchone()
    if kept is None or _digest(kept[0]) != request.contract:
        raise Refused("another contract is in force than the one that was measured by", code="stale")
    if request.checked < kept[1]:
        raise Refused("a newer measurement is kept already", code="stale")
    before = dict(connection.execute("SELECT name, standing FROM term").fetchall())
    since = dict(connection.execute("SELECT name, since FROM term").fetchall())
    connection.execute("DELETE FROM term")
    for term in request.terms:
        same = before.get(term.name) == term.standing
        values = (term.name, term.promised, term.measured, term.standing, term.entry, term.why)
        row = (*values, since[term.name] if same else request.checked)
        connection.execute("INSERT OR REPLACE INTO term VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if not same and (term.standing == BROKEN or before.get(term.name) == BROKEN):
            kind = "ContractBroken" if term.standing == BROKEN else "ContractKept"
            details: dict[str, str | int | bool | None] = {
                "term": ledger_text(term.name), "promised": term.promised, "measured": term.measured,
                "entry": term.entry,
            }  # fmt: skip
            note(connection, kind, request.stamp.actor, details)
    connection.execute("UPDATE contract SET checked = ?, facts = ?", (request.checked, request.facts))
    return Done()


def _give_notice(connection: Connection, *, request: GiveNotice) -> Done:
    note(connection, "NoticeGiven", request.stamp.actor, {"entry": request.entry, "text": ledger_text(request.text)})
    return Done()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
