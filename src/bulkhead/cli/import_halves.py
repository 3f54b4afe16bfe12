"""Credentials and mailbox keys of an export, sealed anew under the keys of the cell that takes them over.

Row keys are HMACs under index keys that are new here, so every row of an account that directory knows is found by its
old row key and written under its new one. What lies inside is not made anew: passwords, app passwords and mailbox seeds
stay as they are. A wrap names tenant, account, credential and g, and the tag is under K_tight, which comes along.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.auth import rows as auth_rows
from bulkhead.auth import schema as auth_schema
from bulkhead.cli.secret_file import write_secret
from bulkhead.directory.schema import DATABASE as DIRECTORY
from bulkhead.directory.schema import MIGRATIONS as DIRECTORY_MIGRATIONS
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.surfaces import carry_resets
from bulkhead.identifiers import AccountId
from bulkhead.keyring import keys as keyring_keys
from bulkhead.keyring import schema as keyring_schema
from bulkhead.records.credential import MAIN_PASSWORD
from bulkhead.records.mailbox import Binding, resign_binding

BATCH = 500  # accounts of one transaction
EPOCHS = "UPDATE revocation SET epoch = ? WHERE kind = ?"


@dataclass(frozen=True, slots=True)
class Move:
    """From where to where one holder's records go. old: a database that was exported, with its keys."""

    home: Path
    old: Path
    old_keys: KeyFile
    new_keys: KeyFile


def write_database(path: Path, pieces: Iterable[bytes]) -> None:
    """An exported database as a file of its own."""
    write_secret(path, b"", mode=0o600)
    with path.open("r+b") as file:
        for piece in pieces:
            file.write(piece)


async def move_auth(move: Move, accounts: Sequence[AccountId]) -> dict[AccountId, tuple[int, ...]]:
    """auth's halves; the credentials of each account. Raises IntegrityError where a record does not open."""
    tenant = move.new_keys.tenant
    old, new = (auth_rows.Keys.of(tenant, keys) for keys in (move.old_keys, move.new_keys))
    before = Database(move.old, auth_schema.MIGRATIONS)
    after = Database(move.home / "auth.sqlite", auth_schema.MIGRATIONS, secure_delete=True)
    creds: dict[AccountId, tuple[int, ...]] = {}

    def one(connection: sqlite3.Connection, account: AccountId) -> None:
        owner, owner_now = old.rows.mailbox(account), new.rows.mailbox(account)
        for (state,) in before.read("SELECT state FROM account WHERE owner = ?", (owner,)):
            connection.execute("INSERT INTO account VALUES (?, ?)", (owner_now, state))
        noted = dict(before.read("SELECT cred, record FROM app_password WHERE owner = ?", (owner,)))
        creds[account] = (MAIN_PASSWORD, *sorted(noted))
        for cred in creds[account]:
            bid, bid_now = old.rows.credential(account, cred), new.rows.credential(account, cred)
            found = before.first("SELECT g, record, set_at, digest_ms FROM half WHERE bid = ?", (bid,))
            if found is None:
                continue
            g, record, set_at, digest_ms = found
            sealed = new.seal(old.open(record, bid, g), bid_now, g)
            connection.execute(
                "INSERT INTO half (bid, g, owner, record, set_at, digest_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (bid_now, g, owner_now, sealed, set_at, digest_ms),
            )
            if cred in noted:
                note = new.seal_note(old.open_note(noted[cred], bid), bid_now)
                connection.execute("INSERT INTO app_password VALUES (?, ?, ?, ?)", (bid_now, owner_now, cred, note))
        for (last,) in before.read("SELECT last FROM app_password_number WHERE owner = ?", (owner,)):
            connection.execute("INSERT INTO app_password_number VALUES (?, ?)", (owner_now, last))

    try:
        await _in_batches(after, accounts, one)
        epochs = before.read("SELECT epoch, kind FROM revocation")
        await after.write(lambda connection: connection.executemany(EPOCHS, epochs))
        await after.write(carry_resets(before))
    finally:
        await before.close()
        await after.truncate_wal()
        await after.close()
    return creds


async def move_keyring(
    move: Move, creds: Mapping[AccountId, Sequence[int]], pinned: Ed25519PublicKey
) -> dict[AccountId, Binding]:
    """keyring's halves and mailbox keys; each account's newest binding, signed anew. pinned: who signed the old ones.

    Raises IntegrityError where a record does not open or a binding is not genuine.
    """
    tenant = move.new_keys.tenant
    old, new = (keyring_keys.Keys.of(tenant, keys) for keys in (move.old_keys, move.new_keys))
    before = Database(move.old, keyring_schema.MIGRATIONS)
    after = Database(move.home / "keyring.sqlite", keyring_schema.MIGRATIONS, secure_delete=True)
    newest: dict[AccountId, Binding] = {}

    def one(connection: sqlite3.Connection, account: AccountId) -> None:
        mid, mid_now = old.mid(account), new.mid(account)
        for (state,) in before.read("SELECT state FROM account WHERE mid = ?", (mid,)):
            connection.execute("INSERT INTO account VALUES (?, ?)", (mid_now, state))
        for generation, record, binding, renewal in before.read(
            "SELECT generation, record, binding, renewal FROM mailbox WHERE mid = ? ORDER BY generation", (mid,)
        ):
            verified = Binding(binding).verify(pinned, tenant, account)
            signed = resign_binding(verified, new.binding, key_version=new.binding_version)
            sealed = old.open_mailbox(record, mid, generation).seal(tenant, mid_now, generation, *new.current_ring())
            connection.execute(
                "INSERT INTO mailbox (mid, generation, record, binding, renewal) VALUES (?, ?, ?, ?, ?)",
                (mid_now, generation, sealed, signed.record, renewal),
            )
            newest[account] = signed
        for cred in creds[account]:
            bid, bid_now = old.bid(account, cred), new.bid(account, cred)
            for g, record, set_at in before.read("SELECT g, record, set_at FROM half WHERE bid = ?", (bid,)):
                sealed = new.seal_half(old.open_half(record, bid, g), bid_now, g)
                connection.execute(
                    "INSERT INTO half (bid, g, mid, record, set_at) VALUES (?, ?, ?, ?, ?)",
                    (bid_now, g, mid_now, sealed, set_at),
                )

    try:
        await _in_batches(after, list(creds), one)
        epochs = before.read("SELECT epoch, kind FROM revocation")
        order = before.first("SELECT number, ordered_at FROM renewal")
        await after.write(lambda connection: connection.executemany(EPOCHS, epochs))
        await after.write(carry_resets(before))
        await after.write(lambda c: c.execute("UPDATE renewal SET number = ?, ordered_at = ?", order).rowcount)
    finally:
        await before.close()
        await after.truncate_wal()
        await after.close()
    return newest


async def take_directory(home: Path) -> list[tuple[AccountId, int, int]]:
    """The exported database in its new home; id, status and quota of every account.

    What was under way goes, and so does the roster: it names the old cell's keys, and no other holder here has one.
    """
    database = Database(home / DIRECTORY, DIRECTORY_MIGRATIONS, secure_delete=True)

    def work(connection: sqlite3.Connection) -> list[tuple[AccountId, int, int]]:
        for table in ("receipt", "outbox", "roster", "officer_order", "order_wait", "passkey_counter"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  names of ours
        return connection.execute("SELECT id, status, quota FROM account ORDER BY number").fetchall()

    try:
        return await database.write(work)
    finally:
        await database.close()


async def put_bindings(home: Path, bindings: Mapping[AccountId, Binding]) -> None:
    """Have directory show the bindings that this cell's keyring signed."""
    database = Database(home / DIRECTORY, DIRECTORY_MIGRATIONS, secure_delete=True)
    rows = [(binding.record, account) for account, binding in bindings.items()]
    try:
        for start in range(0, len(rows), BATCH * 10):
            some = rows[start : start + BATCH * 10]
            await database.write(
                lambda connection, some=some: (
                    connection.executemany(  # type: ignore[misc]  # bound at once
                        "UPDATE account SET binding = ? WHERE id = ? AND binding IS NOT NULL", some
                    ).rowcount
                )
            )
        await database.truncate_wal()
    finally:
        await database.close()


async def _in_batches(
    database: Database, accounts: Sequence[AccountId], one: Callable[[sqlite3.Connection, AccountId], None]
) -> None:
    for start in range(0, len(accounts), BATCH):
        batch = accounts[start : start + BATCH]

        def work(connection: sqlite3.Connection, batch: Sequence[AccountId] = batch) -> None:
            for account in batch:
                one(connection, account)

        await database.write(work)
