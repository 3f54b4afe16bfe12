"""An officers' order for what is done where no cell runs: a restore, the promotion of a standby.

No compartment is there to verify it, so the command does, by the roster of the cell that it is making and by the log:
the roster must be the newest one that the log knows of. Where that roster refuses local powers, nothing is done without
an order; without roots pinned there is no roster, and both recovery keys are what it takes, as ever.

It binds whoever runs the program. Who holds both recovery keys and changes the program is bound by nothing
(docs/orders.md).
"""

import time
from collections.abc import Iterable
from pathlib import Path

from bulkhead.boundary.orders import OFFLINE
from bulkhead.config import Tenant
from bulkhead.config.load import read_text
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.errors import ConfigError, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.order_check import Known, check_order
from bulkhead.holder.roster import Pinned
from bulkhead.ledger.event import Event, Scalar
from bulkhead.records.order import order_hash
from bulkhead.records.roster import decode_roster, roster_hash
from bulkhead.records.signed_file import FILE_MAX, read_order_file, read_roster_file
from bulkhead.supervisor.layout import Layout

HOLDER = "directory"  # every executor has the roster; this one is the quickest to open
Details = dict[str, Scalar]


async def require_order(
    layout: Layout, tenant: Tenant, action: str, events: Iterable[Event], *, order: str, roster: str
) -> Details:
    """What the ledger is told of the order; nothing where none is needed and none was given.

    events: every one that the log has. order, roster: names of files, or empty.
    Raises Refused (`needs-order`, `old-roster`, `serial-used`, and those of check_order), ConfigError, IntegrityError.
    """
    pinned = Pinned.of(tenant.id, {"pinned": {
        "roster_roots": tenant.settings.texts("pinned.roster_roots"),
        "roster_threshold": tenant.settings.integer("pinned.roster_threshold"),
    }})  # fmt: skip
    if not pinned.roots.keys:
        if order:
            raise ConfigError(f"{tenant.id} pins no roots of a roster: nothing here can verify an order; leave it out")
        return {}
    newest, serials = _of_log(events)
    known = _given(roster, pinned) if roster else await _kept(layout)
    if known is None:
        return {}
    if newest is not None and known.hash.hex() != newest:
        raise Refused(
            "the log knows of a newer roster than the one that is here: give it with --roster", code="old-roster"
        )
    if not order:
        if known.roster.policy.local_refused:
            raise Refused(
                f"the roster refuses this without an order: officers sign one for {action}; give it with --order",
                code="needs-order",
            )
        return {}
    file = read_order_file(_read(order))
    checked = check_order(
        file.statement, file.approvals, known, tenant=tenant.id, executor=OFFLINE, now=time.time_ns() // 1_000_000
    )
    if checked.order.action != action:
        raise Refused(f"the order is for {checked.order.action}, not for {action}", code="unknown-action")
    serial = checked.order.serial.hex()
    if serial in serials:
        raise Refused("that order was executed before: have a new one signed", code="serial-used")
    return {
        "order": serial, "order_sha256": order_hash(file.statement).hex(),
        "officers": " ".join(officer.name for officer in checked.officers),
    }  # fmt: skip


def _of_log(events: Iterable[Event]) -> tuple[str | None, set[str]]:
    """Hash of the newest roster, and serials of the orders that such commands executed and brought to their end."""
    newest, version, begun, done = None, -1, "", set[str]()
    for event in events:
        kind, details = event.kind.name, event.details
        if kind == "RosterInstalled" and isinstance(details.get("version"), int) and details["version"] > version:  # type: ignore[operator]  # an integer, as was looked at
            newest, version = str(details.get("sha256")), int(details["version"])  # type: ignore[arg-type]  # as above
        elif kind == "RestoreBegun":
            begun = str(details.get("order", ""))
        elif kind == "RestoreDone" and begun:
            done.add(begun)
        elif kind == "StandbyPromoted" and details.get("order"):
            done.add(str(details["order"]))
    return newest, done


def _given(name: str, pinned: Pinned) -> Known:
    file = read_roster_file(_read(name))
    pinned.roots.check(file.statement, list(file.signatures))
    roster = decode_roster(file.statement)
    if roster.tenant != pinned.tenant:
        raise Refused(f"{name} is the roster of {roster.tenant}", code="other-tenant")
    return Known(roster, roster_hash(file.statement))


async def _kept(layout: Layout) -> Known | None:
    database = Database(layout.home(HOLDER) / DATABASE, MIGRATIONS, secure_delete=True)
    try:
        row = database.first("SELECT data, hash FROM roster")
        return None if row is None else Known(decode_roster(row[0]), row[1])
    finally:
        await database.close()


def _read(name: str) -> str:
    try:
        return read_text(Path(name), FILE_MAX)
    except (ValueError, IsADirectoryError) as error:
        raise ConfigError(f"{name}: {error}") from None
