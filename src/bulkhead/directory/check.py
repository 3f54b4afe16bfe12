"""What `fsck` looks for in the directory: the database's own soundness, and rows that contradict each other."""

import sqlite3
from pathlib import Path

from bulkhead.boundary.messages.to_directory import DirectoryReport
from bulkhead.directory.transitions import Status
from bulkhead.errors import PeerError
from bulkhead.holder.database_file import connect
from bulkhead.identifiers import format_id, parse_address

PROBLEMS_MAX = 100
PROBLEM_CHARACTERS = 1000

_CONTRADICTIONS = (
    ("SELECT 'domain ' || name || ' counts ' || accounts || ' addresses and has ' || "
     "(SELECT COUNT(*) FROM address WHERE domain = name) FROM domain "
     "WHERE accounts <> (SELECT COUNT(*) FROM address WHERE domain = name)"),
    ("SELECT 'status ' || s.status || ' is counted wrongly' FROM "
     "(SELECT status, COUNT(*) AS n FROM account GROUP BY status "
     " UNION SELECT status, 0 FROM tally WHERE status NOT IN (SELECT status FROM account)) AS s "
     "WHERE s.n <> COALESCE((SELECT accounts FROM tally WHERE status = s.status), 0)"),
    ("SELECT 'an address of ' || domain || ' belongs to no account' FROM address "
     "WHERE account NOT IN (SELECT number FROM account)"),
    "SELECT 'group ' || shown || ' has the address of an account' FROM team WHERE key IN (SELECT key FROM address)",
    ("SELECT 'an account that is cancelled is in a group, or forwards' FROM account WHERE status >= 5 AND "
     "(forwards <> 0 OR number IN (SELECT account FROM member) OR number IN (SELECT account FROM forward))"),
    ("SELECT 'an account forwards and has no target, or has one and does not' FROM account "
     "WHERE (forwards <> 0) <> (number IN (SELECT account FROM forward))"),
)  # fmt: skip


def check_directory(path: Path) -> DirectoryReport:
    """The report on the database at `path`, read through a connection of its own."""
    connection = connect(path, secure_delete=False)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("BEGIN")
        problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(50)") if row[0] != "ok"]
        problems += [
            f"table {row[0]}: a row points at nothing" for row in connection.execute("PRAGMA foreign_key_check")
        ]
        for query in _CONTRADICTIONS:
            problems += [str(row[0]) for row in connection.execute(query)]
        problems += _accounts(connection)
        (accounts,) = connection.execute("SELECT COUNT(*) FROM account").fetchone()
    finally:
        connection.close()
    shown = tuple(problem[:PROBLEM_CHARACTERS] for problem in problems[:PROBLEMS_MAX])
    return DirectoryReport(accounts, shown)


def _accounts(connection: sqlite3.Connection) -> list[str]:
    problems: list[str] = []
    rows = connection.execute(
        "SELECT account.id, account.status, account.binding, address.key, address.shown "
        "FROM account LEFT JOIN address ON address.account = account.number AND address.kind = 1"
    )
    for account, status, binding, key, shown in rows:
        name = format_id("acc", account)
        if len(problems) >= PROBLEMS_MAX:
            break
        if status not in set(Status):
            problems.append(f"{name} has the unknown status {status}")
        elif (binding is None) != (status >= Status.CANCELLED):
            problems.append(
                f"{name} is {Status(status).name.lower()} and {'lacks' if binding is None else 'has'} a key"
            )
        elif (key is None) != (status == Status.PURGED):
            problems.append(
                f"{name} is {Status(status).name.lower()} and {'lacks' if key is None else 'has'} an address"
            )
        if key is not None and not _folded(key, shown):
            problems.append(f"{name} is found under another address than it shows")
    return problems


def _folded(key: str, shown: str) -> bool:
    try:
        return parse_address(shown).key == key
    except PeerError:
        return False
