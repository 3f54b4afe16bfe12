"""The keyring process."""

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.errors import Error
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.database import Database
from bulkhead.holder.keys import open_key_file
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import note
from bulkhead.holder.provision import Files, Part
from bulkhead.holder.roster import Pinned
from bulkhead.holder.standby import of_database
from bulkhead.keyring.cache import LoginCache
from bulkhead.keyring.handle import HANDLERS, Keyring
from bulkhead.keyring.keys import Keys
from bulkhead.keyring.mailboxes import promise
from bulkhead.keyring.openings import Opened
from bulkhead.keyring.schema import MIGRATIONS
from bulkhead.keyring.sessions import Session
from bulkhead.records.access import Act, Outcome

DATABASE = Path("keyring.sqlite")
MINUTE = 60.0
_log = logging.getLogger("bulkhead.keyring")


class KeyringService:
    """A started keyring."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._noted = Opened()
        keyring.sessions.ended = self._record_end
        self._task = asyncio.get_running_loop().create_task(self._every_minute())

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits, for the next login."""
        section = settings["keyring"]
        self._keyring.failures.limit = section["failures_per_hour"]
        self._keyring.failures.accounts_max = section["failing_accounts_per_hour"]
        self._keyring.session_seconds = section["session_seconds"]
        self._keyring.openings.rate.set(section)
        cache = self._keyring.logins.cache
        cache.seconds = settings["auth"]["cache_minutes"] * MINUTE
        cache.end_old()
        self._keyring.accesses.configure(settings)

    async def stop(self) -> None:
        """End what runs; what is committed is durable."""
        self._task.cancel()
        self._keyring.grants.stop()
        self._keyring.orders.stop()
        self._keyring.surfaces.end()
        self._keyring.outbox.stop()
        self._keyring.rotation.stop()
        self._keyring.renewal.stop()
        await self._keyring.backups.stop()
        await self._keyring.accesses.close()
        await self._keyring.database.close()

    async def note_openings(self) -> None:
        """Write how many keys were opened since the last time into the outbox, unless none were."""
        now, before = dataclasses.replace(self._keyring.openings.opened), self._noted
        details: dict[str, str | int | bool | None] = {
            "messages": now.messages - before.messages,
            "pages": now.pages - before.pages,
            "queued": now.queued - before.queued,
            "failed": now.failed - before.failed,
            "old_boxes": now.old_boxes - before.old_boxes,
            "old_pages": now.old_pages - before.old_pages,
        }
        for session in self._keyring.sessions.all():
            self._record_keys(session)
        if any(details.values()):
            details |= self._keyring.accesses.root_details()
            await self._keyring.database.write(lambda c: note(c, "KeyOpeningsCounted", "keyring", details))
            self._noted = now
            self._keyring.outbox.wake()

    def _record_keys(self, session: Session) -> None:
        if session.keys:
            self._keyring.accesses.of_session(Act.KEYS_OPENED, session.account, session.channel, session.keys)
            session.keys = 0

    def _record_end(self, session: Session, reason: str) -> None:
        outcome = Outcome.ENDED if reason else Outcome.DONE
        self._record_keys(session)
        self._keyring.accesses.of_session(Act.SESSION_ENDED, session.account, session.channel, session.scope, outcome)

    async def _every_minute(self) -> None:
        while True:
            await asyncio.sleep(MINUTE)
            self._keyring.sessions.end_expired()
            self._keyring.logins.cache.end_old()
            try:
                await self._keyring.failures.forget_old()
                await self.note_openings()
            except Error as error:
                _log.error("the minute's counts were not written: %s", error.public)


async def start(host: Host) -> Service:
    """Open keys and database, and serve."""
    keys = Keys.of(host.tenant, open_key_file(host))
    database = Database(DATABASE, MIGRATIONS, secure_delete=True, reserve=True)
    cache = LoginCache(host.settings["auth"]["cache_minutes"] * MINUTE)
    keyring = Keyring.opened(database, keys, host.exchange, host.settings["keyring"], cache)
    keyring.backups = of_database(host, database, keys.ring, keyring.rotation.needed)
    keyring.accesses = Accesses.of(host, database, keys.ring)
    keyring.orders = Orders(Pinned.of(host.tenant, host.settings), database, keyring.outbox, host.exchange)
    part = Part(keys.accounts, keys.mid, partial(promise, keys), closed=keyring.close)
    keyring.files = Files(database, host.exchange, keyring.orders, host.tenant, part)
    keyring.orders.serve(keyring, HANDLERS)
    return KeyringService(keyring)
