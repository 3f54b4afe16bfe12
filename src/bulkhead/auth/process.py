"""The auth process."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from bulkhead.auth.handle import HANDLERS, Auth
from bulkhead.auth.limits import Limit
from bulkhead.auth.logins import LoginCounts, scopes_of
from bulkhead.auth.rows import Keys
from bulkhead.auth.schema import MIGRATIONS
from bulkhead.boundary.host import Host, Service
from bulkhead.errors import Error
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.consent import Codes
from bulkhead.holder.database import Database
from bulkhead.holder.desk import Desk
from bulkhead.holder.keys import open_key_file
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import note
from bulkhead.holder.provision import Files, Part
from bulkhead.holder.roster import Pinned
from bulkhead.holder.standby import of_database
from bulkhead.records.credential import StretchParameters

DATABASE = Path("auth.sqlite")
MINUTE = 60.0
_log = logging.getLogger("bulkhead.auth")


class AuthService:
    """A started auth."""

    def __init__(self, auth: Auth, files: MutableMapping[str, int]) -> None:
        self._auth, self._files = auth, files
        auth.logins.breached.take(files)
        self._noted, self._over, self._episodes = LoginCounts(), Counter[Limit](), 0  # in the ledger already
        self._warn_of_failure_seconds()
        self._task = asyncio.get_running_loop().create_task(self._every_minute())

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits, for the next login; the number of threads changes with a restart."""
        section, auth = settings["auth"], self._auth
        auth.logins.failure_seconds = section["failure_seconds"]
        auth.logins.limits.set(settings)
        auth.accesses.configure(settings)
        auth.logins.caching = section["cache_minutes"] > 0
        auth.logins.main_scopes = scopes_of(section["main_password"])
        auth.stretching.queue_max = section["argon2_queue_max"]
        auth.logins.breached.refusing = section["breached"] == "refuse"
        auth.logins.breached.take(self._files)
        self._warn_of_failure_seconds()

    async def stop(self) -> None:
        """End what runs; what is committed is durable, what is between steps is finished at the next start."""
        self._task.cancel()
        self._auth.passwords.stop()
        self._auth.orders.stop()
        self._auth.surfaces.end()
        self._auth.outbox.stop()
        self._auth.rotation.stop()
        await self._auth.backups.stop()
        self._auth.stretching.stop()
        await self._flush_known()
        await self._auth.accesses.close()
        await self._auth.database.close()
        self._auth.logins.breached.close()

    async def note_logins(self) -> None:
        """Write how many logins there were since the last time into the outbox, unless there were none."""
        counts, limits, noted = replace(self._auth.logins.counts), self._auth.logins.limits, self._noted
        if (counts.granted, counts.refused) == (noted.granted, noted.refused):
            return
        over, episodes = limits.refused.copy(), limits.spread.episodes
        details: dict[str, str | int | bool | None] = {
            "granted": counts.granted - noted.granted,
            "refused": counts.refused - noted.refused,
        }
        if counts.breached > noted.breached:
            details["breached"] = counts.breached - noted.breached
        details |= self._auth.accesses.root_details() | {
            limit.value: over[limit] - self._over[limit] for limit in over if over[limit] > self._over[limit]
        }

        def write(connection: Connection) -> None:
            note(connection, "LoginsCounted", "auth", details)
            if episodes > self._episodes:
                note(connection, "Stuffing", "auth", {"accounts_per_minute": limits.spread.ceiling})

        await self._auth.database.write(write)
        self._noted, self._over, self._episodes = (
            counts,
            over,
            episodes,
        )  # after the write: a failed one loses no minute
        self._auth.outbox.wake()

    def _warn_of_failure_seconds(self) -> None:
        """What is answered too soon tells by its time which scheme a password has: then the floor holds."""
        logins, floor = self._auth.logins, self._auth.logins.failure_floor()
        if logins.failure_seconds < floor:
            _log.warning(
                "auth.failure_seconds = %g: failures are answered at %g s while imported digests take as long",
                logins.failure_seconds,
                floor,
            )

    async def _flush_known(self) -> None:
        try:
            await self._auth.known.flush()
        except Error as error:
            _log.warning("the networks of the last minute's logins are forgotten: %s", error.public)

    async def _every_minute(self) -> None:
        while True:
            await asyncio.sleep(MINUTE)
            try:
                await self.note_logins()
                await self._auth.known.flush()
            except Error as error:
                _log.error("the minute's counts were not written: %s", error.public)


async def start(host: Host, *, parameters: StretchParameters | None = None) -> Service:
    """Open keys and database, and serve. parameters: for tests; no setting makes passwords cheaper to guess."""
    keys = Keys.of(host.tenant, open_key_file(host))
    database = Database(DATABASE, MIGRATIONS, secure_delete=True, reserve=True)
    auth = Auth.opened(database, keys, host.exchange, host.settings, parameters or StretchParameters())
    auth.backups = of_database(host, database, keys.keys, auth.rotation.needed, auth.passwords.hold)
    auth.accesses = Accesses.of(host, database, keys.keys)
    auth.orders = Orders(Pinned.of(host.tenant, host.settings), database, auth.outbox, host.exchange)
    auth.desk = Desk(auth, Codes(host.tenant, keys.index), host.exchange)
    part = Part(keys.accounts, auth.rows.owner, first=auth.passwords.set_first)
    auth.files = Files(database, host.exchange, auth.orders, host.tenant, part)
    auth.orders.serve(auth, HANDLERS)
    return AuthService(auth, host.files)
