"""Aliases, groups and forwards: the other ways by which mail reaches an account.

An address belongs to one account or one group for ever: an alias that is removed stays its account's, and a group's
address is buried. Members are accounts of this tenant; what leads on from a target is not followed. Targets at other
servers are elsewhere.py's to allow. Changes run on the writer's connection.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import (
    ALIASES_MAX,
    FORWARDS_MAX,
    GROUPS_SHOWN,
    MEMBERS_MAX,
    AccountRow,
    AddAlias,
    AddGroup,
    GroupRow,
    Members,
    NoticeKind,
    RemoveAlias,
    RemoveGroup,
    Routes,
    SetForward,
    SetMember,
)
from bulkhead.directory import notices
from bulkhead.directory.book import (
    DirectoryBook,
    add_address,
    check_hosted,
    find_account,
    find_living,
    fitting,
    key_behind,
    now_ms,
)
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.reach import BY_KEY
from bulkhead.directory.schema import AddressKind, Forwarding
from bulkhead.directory.transitions import Status
from bulkhead.errors import Refused
from bulkhead.holder import outbox
from bulkhead.holder.database import Database
from bulkhead.holder.staff import STAFF_ACTOR, masked_address
from bulkhead.identifiers import parse_address

Details = dict[str, str | int | bool | None]
_KINDS = "SELECT shown FROM address WHERE account = ? AND kind = ? ORDER BY key LIMIT ?"


def add_alias(book: DirectoryBook, connection: sqlite3.Connection, request: AddAlias) -> Done:
    """Another address of an account; one that it has stays. Raises PeerError, Refused."""
    alias = parse_address(request.alias)
    account, number = find_living(connection, request.address)
    check_hosted(connection, alias.domain)
    known = connection.execute(BY_KEY, (alias.key,)).fetchone()
    if known is not None and known[6] == number and known[7] != AddressKind.RETIRED:
        return Done()
    _check_room(connection, account, number)
    if known is not None and known[6] == number:
        values = (AddressKind.ALIAS, str(alias), alias.key)
        connection.execute("UPDATE address SET kind = ?, shown = ? WHERE key = ?", values)
    else:
        book.check_free(connection, alias)
        add_address(connection, alias, number, AddressKind.ALIAS)
    notices.put(connection, account.account, NoticeKind.ALIAS_ADDED, str(alias), now_ms())
    outbox.note(connection, "AddressAdded", request.stamp.actor, _said(book, alias.key), account.account)
    return Done()


def remove_alias(book: DirectoryBook, connection: sqlite3.Connection, request: RemoveAlias) -> Done:
    """It reaches nobody, and stays reserved. Raises Refused (`no-such-address`)."""
    alias = parse_address(request.alias)
    known = connection.execute(BY_KEY, (alias.key,)).fetchone()
    if known is None or known[7] == AddressKind.MAIN:
        raise Refused(f"{request.alias} is no alias", code="no-such-address")
    if known[7] == AddressKind.ALIAS:
        retire(connection, alias.key)
        notices.put(connection, known[0], NoticeKind.ALIAS_REMOVED, str(alias), now_ms())
        outbox.note(connection, "AddressRetired", request.stamp.actor, _said(book, alias.key), known[0])
    return Done()


def retire(connection: sqlite3.Connection, key: str) -> None:
    """An alias reaches nobody any more, and nothing is forwarded to it."""
    connection.execute("UPDATE address SET kind = ? WHERE key = ?", (AddressKind.RETIRED, key))
    givers = connection.execute("SELECT account FROM forward WHERE key = ?", (key,)).fetchall()
    connection.execute("DELETE FROM forward WHERE key = ?", (key,))
    connection.executemany(  # of those alone: a walk over all accounts would hold up every change
        "UPDATE account SET forwards = 0 WHERE number = ? AND number NOT IN (SELECT account FROM forward)", givers
    )


def remove_team(book: DirectoryBook, connection: sqlite3.Connection, key: str) -> None:
    """A group's members are out, and nobody has its address again."""
    connection.execute("DELETE FROM team WHERE key = ?", (key,))
    book.bury_address(connection, key)


class Target(NamedTuple):
    """Where a forward leads. elsewhere: to another server."""

    shown: str
    elsewhere: bool


Targets = Mapping[str, Target]  # by key


def check_forward(
    database: Database, elsewhere: Elsewhere, request: SetForward, *, staff: bool = False
) -> tuple[AccountRow, Targets]:
    """The account and its targets by key, before the ledger is told. Raises PeerError, Refused.

    A member of staff at the console sets none that lead to other servers. staff: one brought it in a file of his own.
    """
    addresses = {address.key: address for address in map(parse_address, request.targets)}
    account, number = find_living(database, request.address)
    row = database.first("SELECT forwards, elsewhere FROM class WHERE name = ?", (account.class_name,))
    most, most_elsewhere = (FORWARDS_MAX, FORWARDS_MAX) if row is None else row
    if len(addresses) > most:
        raise Refused(f"the account may forward to {most} addresses", code="full")
    others = []
    for key, address in addresses.items():
        if database.first("SELECT 1 FROM domain WHERE name = ?", (address.domain,)) is None:
            others.append(address)
            continue
        target = database.first(BY_KEY, (key,))
        if target is None or target[7] == AddressKind.RETIRED or target[1] >= Status.CANCELLED:
            raise Refused(f"{address} is no account of this tenant", code="not-ours")
        if target[6] == number:
            raise Refused(f"{address} is the account itself", code="not-ours")
    if others:
        elsewhere.check(others, most_elsewhere, parse_address(account.address))
        if staff or request.stamp.actor.startswith(STAFF_ACTOR):
            raise Refused(
                "forwards to other servers are set on the command line of the host or by a signed file",
                code="not-staff",
            )
    return account, {key: Target(str(address), address in others) for key, address in addresses.items()}


def forward_digest(book: DirectoryBook, keys: Iterable[str]) -> str:
    """Of whom an account's mail goes on to."""
    return book.digest("\n".join(sorted(keys))).hex()


def forward_details(book: DirectoryBook, request: SetForward, targets: Targets) -> Details:
    """What the ledger hears before a forward takes effect."""
    others = sum(target.elsewhere for target in targets.values())
    digest = forward_digest(book, targets)
    return {"targets": len(targets), "elsewhere": others, "keep": request.keep, "digest": digest}


def set_forward(_: DirectoryBook, connection: sqlite3.Connection, request: SetForward, targets: Targets) -> Done:
    """The targets that check_forward gave."""
    account, number = find_living(connection, request.address)
    before = connection.execute("SELECT key FROM forward WHERE account = ?", (number,)).fetchall()
    if {key for (key,) in before} != set(targets):
        kind = NoticeKind.FORWARD_SET if targets else NoticeKind.FORWARD_ENDED
        about = ", ".join(masked_address(target.shown) for target in targets.values())
        notices.put(connection, account.account, kind, about[:1024], now_ms())
    connection.execute("DELETE FROM forward WHERE account = ?", (number,))
    rows = [(number, key, target.shown, target.elsewhere) for key, target in targets.items()]
    connection.executemany("INSERT INTO forward (account, key, shown, elsewhere) VALUES (?, ?, ?, ?)", rows)
    how = Forwarding.NONE if not targets else Forwarding.WITH_COPY if request.keep else Forwarding.WITHOUT_COPY
    connection.execute("UPDATE account SET forwards = ?, changed = ? WHERE number = ?", (how, now_ms(), number))
    return Done()


def add_group(book: DirectoryBook, connection: sqlite3.Connection, request: AddGroup) -> Done:
    """An address with no member yet; one that is there stays. Raises PeerError, Refused."""
    address = parse_address(request.address)
    check_hosted(connection, address.domain)
    if connection.execute("SELECT 1 FROM team WHERE key = ?", (address.key,)).fetchone() is not None:
        return Done()
    book.check_free(connection, address)
    connection.execute("INSERT INTO team VALUES (?, ?, ?, ?)", (address.key, str(address), address.domain, now_ms()))
    outbox.note(connection, "GroupChanged", request.stamp.actor, {**_said(book, address.key), "what": "added"})
    return Done()


def set_member(book: DirectoryBook, connection: sqlite3.Connection, request: SetMember) -> Done:
    """In or out. Raises PeerError, Refused."""
    key = _group(connection, request.group)
    account, number = find_living(connection, request.address)
    if not request.member:
        changed = connection.execute("DELETE FROM member WHERE team = ? AND account = ?", (key, number))
    else:
        (members,) = connection.execute(
            "SELECT count(*) FROM member WHERE team = ? AND account <> ?", (key, number)
        ).fetchone()
        if members >= MEMBERS_MAX:
            raise Refused(f"a group has {MEMBERS_MAX} members at most; larger ones are for a list server", code="full")
        changed = connection.execute("INSERT OR IGNORE INTO member VALUES (?, ?)", (key, number))
    if changed.rowcount:
        what = "joined" if request.member else "left"
        details = {**_said(book, key), "what": what}
        outbox.note(connection, "GroupChanged", request.stamp.actor, details, account.account)
    return Done()


def remove_group(book: DirectoryBook, connection: sqlite3.Connection, request: RemoveGroup) -> Done:
    """Its members are out, and nobody has its address again. Raises PeerError, Refused."""
    key = _group(connection, request.address)
    remove_team(book, connection, key)
    details = {**_said(book, key), "what": "removed"}
    outbox.note(connection, "GroupChanged", request.stamp.actor, details)
    return Done()


def groups(database: Database, after: str, limit: int) -> tuple[GroupRow, ...]:
    """Rows of one page."""
    rows = database.read(
        "SELECT shown, (SELECT count(*) FROM member WHERE team = team.key), created FROM team "
        "WHERE key > ? ORDER BY key LIMIT ?",
        (key_behind(after), limit),
    )
    return fitting([GroupRow(*row) for row in rows], [len(row[0].encode()) for row in rows])


def members(database: Database, text: str) -> Members:
    """Addresses of a group's members. Raises Refused (`no-such-group`)."""
    rows = database.read(
        "SELECT address.shown FROM member JOIN address ON address.account = member.account AND address.kind = 1 "
        "WHERE member.team = ? ORDER BY address.key",
        (_group(database, text),),
    )
    return Members(tuple(shown for (shown,) in rows))


def routes(database: Database, text: str) -> Routes:
    """Every way to an account and from it. Raises Refused (`no-such-address`)."""
    _, number = find_account(database, text)
    in_groups = database.read(
        "SELECT team.shown FROM member JOIN team ON team.key = member.team WHERE member.account = ? "
        "ORDER BY team.key LIMIT ?",
        (number, GROUPS_SHOWN),
    )
    targets = database.read("SELECT shown FROM forward WHERE account = ? ORDER BY key", (number,))
    (how,) = database.first("SELECT forwards FROM account WHERE number = ?", (number,))
    aliases, retired = (
        database.read(_KINDS, (number, kind, ALIASES_MAX)) for kind in (AddressKind.ALIAS, AddressKind.RETIRED)
    )
    return Routes(_texts(aliases), _texts(retired), _texts(in_groups), _texts(targets), how != Forwarding.WITHOUT_COPY)


def _texts(rows: Sequence[tuple[str]]) -> tuple[str, ...]:
    return tuple(text for (text,) in rows)


def _group(where: sqlite3.Connection | Database, text: str) -> str:
    key = parse_address(text).key
    found = where.first if isinstance(where, Database) else lambda *query: where.execute(*query).fetchone()
    if found("SELECT 1 FROM team WHERE key = ?", (key,)) is None:
        raise Refused(f"{text} is no group", code="no-such-group")
    return key


def _check_room(connection: sqlite3.Connection, account: AccountRow, number: int) -> None:
    row = connection.execute("SELECT aliases FROM class WHERE name = ?", (account.class_name,)).fetchone()
    most = ALIASES_MAX if row is None else row[0]
    (has,) = connection.execute("SELECT count(*) FROM address WHERE account = ? AND kind <> 1", (number,)).fetchone()
    if has >= most:
        raise Refused(f"the account has {has} aliases, removed ones counted; {most} is the most", code="full")


def _said(book: DirectoryBook, key: str) -> dict[str, str | int | bool | None]:
    """What the ledger hears of an address: its domain, and a digest that directory alone makes, for a restore."""
    return {"domain": key.rpartition("@")[2], "digest": book.digest(key).hex()}
