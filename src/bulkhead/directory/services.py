"""What an account may use: services switched off, its quota, its class of service. On the writer's connection."""

import re
import sqlite3

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import (
    CLASSES_MAX,
    AccountRow,
    ClassRow,
    DefineClass,
    Service,
    SetClass,
    SetQuota,
    SetServices,
)
from bulkhead.directory.book import DirectoryBook, find_account, find_living, now_ms
from bulkhead.errors import Refused
from bulkhead.holder import outbox
from bulkhead.holder.database import Database
from bulkhead.holder.staff import STAFF_ACTOR

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def set_services(_: DirectoryBook, connection: sqlite3.Connection, request: SetServices) -> AccountRow:
    """Off and on. Raises Refused."""
    if request.closed & ~Service.ALL:
        raise Refused("there are three services: 1 login, 2 receive, 4 send", code="no-such-status")
    if "@" in request.reason:
        raise Refused("a reason goes into the ledger, which takes no address: leave out the @", code="bad-reason")
    account, number = find_living(connection, request.address)
    _require_order(request.stamp.actor, account.closed, request.closed)
    if account.closed != request.closed:
        _set(connection, number, closed=request.closed)
        details = {**_said(request.closed), "reason": request.reason}
        outbox.note(connection, "ServicesChanged", request.stamp.actor, details, account.account)
    return find_account(connection, request.address)[0]


def set_quota(_: DirectoryBook, connection: sqlite3.Connection, request: SetQuota) -> AccountRow:
    """What is shown, and what a repeated OpenAccount tells store. Raises Refused."""
    account, number = find_living(connection, request.address)
    if account.quota_bytes != request.quota_bytes:
        _set(connection, number, quota=request.quota_bytes)
        details: dict[str, str | int | bool | None] = {"octets": min(request.quota_bytes, 2**53 - 1)}
        outbox.note(connection, "QuotaChanged", request.stamp.actor, details, account.account)
    return find_account(connection, request.address)[0]


def define_class(_: DirectoryBook, connection: sqlite3.Connection, request: DefineClass) -> Done:
    """Make it or change it. Raises Refused."""
    row = request.row
    if not _NAME.fullmatch(row.name) or row.closed & ~Service.ALL:
        raise Refused("a class's name is 1 to 32 of a-z, 0-9 and dash; three services can be off", code="bad-class")
    (classes,) = connection.execute("SELECT count(*) FROM class WHERE name <> ?", (row.name,)).fetchone()
    if classes >= CLASSES_MAX:
        raise Refused(f"a tenant has {CLASSES_MAX} classes at most", code="full")
    elsewhere = row.elsewhere
    if request.stamp.actor.startswith(STAFF_ACTOR):  # by the console no more mail leaves than before
        known = connection.execute("SELECT elsewhere FROM class WHERE name = ?", (row.name,)).fetchone()
        elsewhere = 0 if known is None else known[0]
    connection.execute(
        "INSERT INTO class VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET quota = excluded.quota, "
        "closed = excluded.closed, aliases = excluded.aliases, forwards = excluded.forwards, "
        "elsewhere = excluded.elsewhere",
        (row.name, row.quota_bytes, row.closed, row.aliases, row.forwards, elsewhere),
    )
    outbox.note(connection, "ClassDefined", request.stamp.actor, {"class": row.name, **_said(row.closed)})
    return Done()


def set_class(_: DirectoryBook, connection: sqlite3.Connection, request: SetClass) -> AccountRow:
    """Quota and switches as the class has them now. Raises Refused."""
    account, number = find_living(connection, request.address)
    row = connection.execute("SELECT quota, closed FROM class WHERE name = ?", (request.class_name,)).fetchone()
    if row is None:
        raise Refused(f"there is no class {request.class_name!r}", code="no-such-class")
    _require_order(request.stamp.actor, account.closed, row[1])
    if (account.class_name, account.quota_bytes, account.closed) != (request.class_name, *row):
        _set(connection, number, quota=row[0], closed=row[1], class_name=request.class_name)
        details = {"class": request.class_name, **_said(row[1])}
        outbox.note(connection, "ServicesChanged", request.stamp.actor, details, account.account)
    return find_account(connection, request.address)[0]


def classes(database: Database) -> tuple[ClassRow, ...]:
    """All of them."""
    rows = database.read(
        "SELECT name, quota, closed, aliases, forwards, (SELECT count(*) FROM account WHERE class = name), elsewhere "
        "FROM class ORDER BY name"
    )
    return tuple(ClassRow(*row) for row in rows)


def _set(
    connection: sqlite3.Connection,
    number: int,
    *,
    quota: int | None = None,
    closed: int | None = None,
    class_name: str | None = None,
) -> None:
    connection.execute(
        "UPDATE account SET quota = COALESCE(?, quota), closed = COALESCE(?, closed), class = COALESCE(?, class), "
        "changed = ? WHERE number = ?",
        (quota, closed, class_name, now_ms(), number),
    )


def _require_order(actor: str, before: int, after: int) -> None:
    """Keyring and auth have their part in ending and opening logins, and take orders for it, account by account.

    Raises Refused (`order-required`) for a session of staff.
    """
    if actor.startswith(STAFF_ACTOR) and (before ^ after) & Service.LOGIN:
        raise Refused(
            "logins are ended and opened by an officer's signed order, not by a session", code="order-required"
        )


def _said(closed: int) -> dict[str, str | int | bool | None]:
    return {
        "login": not closed & Service.LOGIN, "receive": not closed & Service.RECEIVE, "send": not closed & Service.SEND
    }  # fmt: skip
