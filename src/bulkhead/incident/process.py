"""The incident process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.holder.database import Database
from bulkhead.holder.keys import load_keys
from bulkhead.holder.outbox import Outbox
from bulkhead.incident.create import SEED
from bulkhead.incident.handle import HANDLERS, LEARNERS
from bulkhead.incident.schema import MIGRATIONS
from bulkhead.incident.seeds import Seeds

DATABASE = Path("incident.sqlite")


class IncidentService:
    """A started incident."""

    def __init__(self, seeds: Seeds) -> None:
        self.seeds = seeds

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """It has no settings."""

    async def stop(self) -> None:
        """Write what waits."""
        await self.seeds.flush()
        self.seeds.outbox.stop()
        await self.seeds.database.close()


async def start(host: Host) -> Service:
    """Open key and list, and serve."""
    _, key = load_keys(host).current(SEED)
    database = Database(DATABASE, MIGRATIONS, secure_delete=True)
    seeds = Seeds(database, Outbox(database, host.exchange), key)
    seeds.load()
    host.exchange.serve(seeds, HANDLERS, LEARNERS)
    return IncidentService(seeds)
