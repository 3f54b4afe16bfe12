"""The auth process."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulkhead.auth.handle import HANDLERS, Auth
from bulkhead.auth.logins import scopes_of
from bulkhead.auth.rows import Keys
from bulkhead.auth.schema import MIGRATIONS
from bulkhead.boundary.host import Host, Service
from bulkhead.errors import Error
from bulkhead.holder.database import Database
from bulkhead.holder.keys import load_keys
from bulkhead.holder.outbox import note
from bulkhead.records.credential import StretchParameters

DATABASE = Path("auth.sqlite")
MINUTE = 60.0
_log = logging.getLogger("bulkhead.auth")


class AuthService:
    """A started auth."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._task = asyncio.get_running_loop().create_task(self._every_minute())

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits, for the next login; the number of threads changes with a restart."""
        section, auth = settings["auth"], self._auth
        auth.logins.failure_seconds = section["failure_seconds"]
        auth.logins.by_account.limit = section["attempts_per_minute"]
        auth.logins.by_source.limit = section["attempts_per_source_minute"]
        auth.logins.caching = section["cache_minutes"] > 0
        auth.logins.main_scopes = scopes_of(section["main_password"])
        auth.stretching.queue_max = section["argon2_queue_max"]

    async def stop(self) -> None:
        """End what runs; what is committed is durable, what is between steps is finished at the next start."""
        self._task.cancel()
        self._auth.passwords.stop()
        self._auth.outbox.stop()
        self._auth.stretching.stop()
        await self._auth.database.close()

    async def note_logins(self) -> None:
        """Write how many logins there were since the last time into the outbox, unless there were none."""
        counts = self._auth.logins.counts
        if not counts.granted and not counts.refused:
            return
        granted, refused = counts.granted, counts.refused
        details = {"granted": granted, "refused": refused}
        await self._auth.database.write(lambda c: note(c, "LoginsCounted", "auth", details))
        counts.granted -= granted  # after the write, so that a failed one loses no minute; logins went on meanwhile
        counts.refused -= refused
        self._auth.outbox.wake()

    async def _every_minute(self) -> None:
        while True:
            await asyncio.sleep(MINUTE)
            try:
                await self.note_logins()
            except Error as error:
                _log.error("the minute's counts were not written: %s", error.public)


async def start(host: Host, *, parameters: StretchParameters | None = None) -> Service:
    """Open keys and database, and serve. parameters: for tests; no setting makes passwords cheaper to guess."""
    keys = Keys.of(host.tenant, load_keys(host))
    database = Database(DATABASE, MIGRATIONS, secure_delete=True)
    auth = Auth.opened(database, keys, host.exchange, host.settings["auth"], parameters or StretchParameters())
    host.exchange.serve(auth, HANDLERS)
    return AuthService(auth)
