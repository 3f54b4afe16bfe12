"""Who can write the databases, and has no key, logs in as nobody else and opens nobody else's mailbox by it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import combinations
from pathlib import Path

from tests.auth.test_app_passwords import make
from tests.credentials import second_implementation as two
from tests.keyring.two_halves import ROOT_KEY, TENANT, TwoHalves, run

from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.records.mailbox import Binding

MAIN = (b"a password of the one", b"a password of the other")
SWAPS = {  # by holder and table: columns, each alone and any together
    ("auth", "half"): ("g", "owner", "record", "set_at"),
    ("keyring", "half"): ("g", "mid", "record", "set_at"),
    ("keyring", "mailbox"): ("record", "binding"),
    ("auth", "app_password"): ("record",),
}
KEY = {"half": "bid", "mailbox": "mid", "app_password": "bid"}
Row = tuple[str, str, bytes]  # holder, table, row key


@contextmanager
def swapped(tenant: two.Tenant, pairs: Sequence[tuple[Row, Row]], columns: Sequence[str]) -> Iterator[None]:
    """Two rows have each other's columns meanwhile."""
    undo = []
    for one, other in pairs:
        holder, table, _ = one
        database = getattr(tenant, holder)
        names = ", ".join(name for name in columns if name in SWAPS[holder, table])
        if names:
            values = [_read(database, table, names, row[2]) for row in (one, other)]
            undo.append((database, table, names, (one[2], other[2]), values))
            _write(database, table, names, (one[2], other[2]), values[::-1])
    try:
        yield
    finally:
        for database, table, names, rows, values in undo:
            _write(database, table, names, rows, values)


def _read(database: sqlite3.Connection, table: str, names: str, row: bytes) -> tuple[object, ...]:
    return database.execute(f"SELECT {names} FROM {table} WHERE {KEY[table]} = ?", (row,)).fetchone()


def _write(
    database: sqlite3.Connection, table: str, names: str, rows: Sequence[bytes], values: Sequence[tuple[object, ...]]
) -> None:
    assignments = ", ".join(f"{name} = ?" for name in names.split(", "))
    for row, found in zip(rows, values, strict=True):
        database.execute(f"UPDATE {table} SET {assignments} WHERE {KEY[table]} = ?", (*found, row))
    database.commit()


def test_rows_that_were_swapped_between_accounts_admit_nobody_as_another(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await cell.add_account(password) for password in MAIN]
        apps = [await make(cell, a, Scope.IMAP, main=p) for a, p in zip(accounts, MAIN, strict=True)]
        keys = [(await cell.log_in(a, p)).metadata_key for a, p in zip(accounts, MAIN, strict=True)]
        assert keys[0] != keys[1]

        async def outcome(account: AccountId, password: bytes) -> bytes | None:
            """The mailbox that this login opens, or None."""
            try:
                session = await cell.log_in(account, password)  # from a network known to both: it is not made to wait
            except Refused:
                return None
            except TemporaryFailure as error:
                assert error.code == "fault"
                return None
            assert session.binding is not None
            try:  # the gate does this before it seals or reads anything
                Binding(session.binding.record).verify(cell.binding_key, TENANT, account)
            except IntegrityError:
                return None
            return session.metadata_key

        async def check(what: object) -> int:
            """Each logs in as himself or not at all; how many did."""
            admitted = 0
            for at in (0, 1):
                for password in (MAIN[at], apps[at]):
                    assert await outcome(accounts[1 - at], password) is None, what
                    opened = await outcome(accounts[at], password)
                    assert opened in (None, keys[at]), what
                    admitted += opened is not None
            return admitted

        with closing(two.Tenant.of(cell.root, TENANT.encode(), ROOT_KEY)) as tenant:
            row = {
                (name, at, cred): two.row_of_credential(tenant.index(name), accounts[at], cred)
                for name in ("auth", "keyring") for at in (0, 1) for cred in (0, 1)
            }  # fmt: skip
            mid = [two.row_of_account(tenant.index("keyring"), account) for account in accounts]

            def halves(name: str, one: tuple[int, int], other: tuple[int, int]) -> tuple[Row, Row]:
                return (name, "half", row[name, *one]), (name, "half", row[name, *other])

            mains = {name: halves(name, (0, 0), (1, 0)) for name in ("auth", "keyring")}
            boxes = ("keyring", "mailbox", mid[0]), ("keyring", "mailbox", mid[1])
            notes = ("auth", "app_password", row["auth", 0, 1]), ("auth", "app_password", row["auth", 1, 1])
            within = [halves(name, (0, 0), (0, 1)) for name in ("auth", "keyring")]  # main against app password
            places = {
                "auth": [mains["auth"]], "keyring": [mains["keyring"]], "both": [*mains.values()],
                "both and mailboxes": [*mains.values(), boxes], "mailboxes": [boxes], "notes": [notes],
                "app passwords of both": [halves(name, (0, 1), (1, 1)) for name in ("auth", "keyring")],
                "main and app of one, at both": within, "main and app of one, at auth": within[:1],
            }  # fmt: skip
            assert await check("nothing") == 4
            admitted = {}
            for what, pairs in places.items():
                columns = sorted({name for one, _ in pairs for name in SWAPS[one[0], one[1]]})
                every = [c for size in (1, len(columns)) for c in combinations(columns, size)]
                for some in dict.fromkeys(every):
                    with swapped(tenant, pairs, some):
                        admitted[what, some] = await check((what, some))
            assert await check("all as it was") == 4
            assert admitted["both", ("g", "mid", "owner", "record", "set_at")] == 2  # by their app passwords alone
            assert admitted["mailboxes", ("binding", "record")] == 0

    run(
        tmp_path / "cell", work, auth={"failure_seconds": 0.01, "cache_minutes": 0}, keyring={"failures_per_hour": 4000}
    )
