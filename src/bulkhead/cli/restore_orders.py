"""Orders and stops after a restore: what waited is not executed, what was closed since is closed again."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bulkhead.auth.process import DATABASE as AUTH
from bulkhead.auth.schema import MIGRATIONS as AUTH_MIGRATIONS
from bulkhead.directory.schema import DATABASE as DIRECTORY
from bulkhead.directory.schema import MIGRATIONS as DIRECTORY_MIGRATIONS
from bulkhead.holder import surfaces
from bulkhead.holder.database import Database
from bulkhead.holder.order_rows import after_restore
from bulkhead.keyring.process import DATABASE as KEYRING
from bulkhead.keyring.schema import MIGRATIONS as KEYRING_MIGRATIONS
from bulkhead.ledger.acts import Acts
from bulkhead.queue.rows import DATABASE as QUEUE
from bulkhead.queue.rows import MIGRATIONS as QUEUE_MIGRATIONS
from bulkhead.store.schema import DATABASE as STORE
from bulkhead.store.schema import MIGRATIONS as STORE_MIGRATIONS
from bulkhead.supervisor.layout import Layout

EXECUTORS: Mapping[str, tuple[str | Path, tuple[str, ...]]] = {
    "auth": (AUTH, AUTH_MIGRATIONS), "directory": (DIRECTORY, DIRECTORY_MIGRATIONS),
    "keyring": (KEYRING, KEYRING_MIGRATIONS), "queue": (QUEUE, QUEUE_MIGRATIONS), "store": (STORE, STORE_MIGRATIONS),
}  # fmt: skip


async def end_orders(layout: Layout, acts: Acts) -> None:
    """In every executor's database, offline; surfaces that were closed since are closed again there."""
    for name, (file, migrations) in EXECUTORS.items():
        database = Database(layout.home(name) / file, migrations, secure_delete=True)
        try:
            await database.write(lambda connection: after_restore(connection, acts.roster))
            stops = [
                (bit, accounts, stop.epoch, stop.closed, stop.until)
                for (compartment, bit, accounts), stop in acts.surfaces.items()
                if compartment == name
            ]
            if stops:
                await database.write(partial(surfaces.replay, stops=stops))
        finally:
            await database.close()
