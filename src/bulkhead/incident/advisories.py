"""Known flaws of components that this cell's compartments load, and when they were last looked for.

The command line compares; what is kept here is its word, and every change of it is an entry of the ledger.
"""

import time
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_incident import (
    ADVISORIES_MAX,
    SEVERITIES,
    AdvisoryRow,
    ComponentState,
    RecordComponents,
)
from bulkhead.errors import Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.holder.witness import ledger_text

AGAIN_MS = 20 * 3_600_000  # how long until the ledger hears again that nothing changed: of one comparison a day, each
CLOSED_MAX = 500  # that are kept
_COLUMNS = "advisory, component, version, severity, published, came, record, compartments, opened, closed, why"
_Scalars = dict[str, str | int | bool | None]


class Advisories:
    """What is known."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database, self._outbox = database, outbox

    def state(self) -> ComponentState:
        """Open ones, then the newest closed ones."""
        row = self._database.first(
            "SELECT checked, components, inventory, records, newest, unsure, beyond FROM compared"
        )
        found = self._database.read(
            f"SELECT {_COLUMNS} FROM advisory ORDER BY closed > 0, closed DESC, published LIMIT ?",  # noqa: S608  # above
            (2 * ADVISORIES_MAX,),
        )
        checked, count, inventory, records, newest, unsure, beyond = row or (0, 0, bytes(32), 0, 0, 0, 0)
        rows = tuple(AdvisoryRow(*one) for one in found)
        return ComponentState(checked, count, inventory, records, newest, unsure, beyond, rows)

    async def record(self, request: RecordComponents) -> Done:
        """Durable with the entries about what changed. Raises Refused (`stale`)."""
        done = await self._database.mutate(request, partial(_record, request=request))
        self._outbox.wake()
        return done


def _record(connection: Connection, *, request: RecordComponents) -> Done:
    kept = connection.execute("SELECT checked, inventory, records, unsure, beyond, told FROM compared").fetchone()
    if kept is not None and request.checked < kept[0] <= time.time_ns() // 1_000_000:  # else the clock was set back
        raise Refused("a newer comparison is kept already", code="stale")
    known = {(row[0], row[1]): AdvisoryRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM advisory")}  # noqa: S608  # columns named above
    open_ = {(row.advisory, row.component): row for row in request.rows if not row.why}
    reasons = {(row.advisory, row.component): row.why for row in request.rows if row.why}
    changed = False
    for key, row in open_.items():
        before = known.get(key)
        if before is None or before.closed or _said(before) != _said(row):
            _open(connection, request, row, before)
            changed = True
    for key, before in known.items():
        if not before.closed and key not in open_:
            _close(connection, request, before, reasons.get(key, ""))
            changed = True
    connection.execute(
        "DELETE FROM advisory WHERE closed > 0 AND closed <= "
        "(SELECT closed FROM advisory WHERE closed > 0 ORDER BY closed DESC LIMIT 1 OFFSET ?)",
        (CLOSED_MAX,),
    )
    numbers = (request.inventory, request.records, request.unsure, request.left)
    tell = changed or kept is None or kept[1:5] != numbers or abs(request.checked - kept[5]) >= AGAIN_MS
    values = (request.checked, request.components, request.inventory, request.records, request.newest,
              request.unsure, request.left, request.checked if tell else kept[5])  # fmt: skip
    connection.execute("INSERT OR REPLACE INTO compared VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    if tell:
        details: _Scalars = {
            "components": request.components, "inventory": request.inventory.hex(), "records": request.records,
            "newest": request.newest, "unsure": request.unsure, "open": len(open_) + request.left,
            "left": request.left,
        }  # fmt: skip
        note(connection, "ComponentsChecked", request.stamp.actor, details)
    return Done()


def _said(row: AdvisoryRow) -> tuple[str, int, int]:
    """What the ledger is told anew when it changes."""
    return row.version, row.severity, row.published


def _open(connection: Connection, request: RecordComponents, row: AdvisoryRow, before: AdvisoryRow | None) -> None:
    since = before.opened if before is not None and not before.closed else request.checked
    connection.execute(
        "INSERT OR REPLACE INTO advisory VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')",
        (row.advisory, row.component, row.version, row.severity, row.published, row.came, row.record,
         row.compartments, since),
    )  # fmt: skip
    details: _Scalars = {
        "advisory": ledger_text(row.advisory), "component": ledger_text(row.component),
        "version": ledger_text(row.version), "severity": SEVERITIES[row.severity], "published": row.published,
        "came": row.came, "sha256": row.record.hex(), "compartments": ledger_text(row.compartments),
    }  # fmt: skip
    note(connection, "AdvisoryOpened", request.stamp.actor, details)


def _close(connection: Connection, request: RecordComponents, row: AdvisoryRow, why: str) -> None:
    connection.execute(
        "UPDATE advisory SET closed = ?, why = ? WHERE advisory = ? AND component = ?",
        (max(request.checked, 1), why, row.advisory, row.component),
    )
    details: _Scalars = {
        "advisory": ledger_text(row.advisory), "component": ledger_text(row.component),
        "version": ledger_text(row.version), "why": ledger_text(why),
    }  # fmt: skip
    note(connection, "AdvisoryClosed", request.stamp.actor, details)
