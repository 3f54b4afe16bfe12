"""The incident process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.host import Host, Service
from bulkhead.holder.database import Database
from bulkhead.holder.keys import open_key_file
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.standby import of_database
from bulkhead.incident.advisories import Advisories
from bulkhead.incident.automatic import Automatic
from bulkhead.incident.contract import Contract
from bulkhead.incident.create import AUTOMATIC, SEED
from bulkhead.incident.handle import HANDLERS, LEARNERS, Incident
from bulkhead.incident.schema import MIGRATIONS
from bulkhead.incident.seeds import Seeds

DATABASE = Path("incident.sqlite")


class IncidentService:
    """A started incident."""

    def __init__(self, incident: Incident) -> None:
        self.incident, self.seeds = incident, incident.seeds

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """Which stop follows a canary's right password."""
        self.incident.automatic.configure(settings)

    async def stop(self) -> None:
        """Write what waits."""
        await self.seeds.flush()
        self.seeds.outbox.stop()
        await self.incident.backups.stop()
        await self.seeds.database.close()


async def start(host: Host) -> Service:
    """Open key and list, and serve."""
    keys = open_key_file(host)
    _, key = keys.current(SEED)
    database = Database(DATABASE, MIGRATIONS, secure_delete=True)
    outbox = Outbox(database, host.exchange)
    seeds = Seeds(database, outbox, key)
    seeds.load()
    versions = keys.versions(AUTOMATIC)  # none where the installation is older
    secret = Ed25519PrivateKey.from_private_bytes(keys.current(AUTOMATIC)[1]) if versions else None
    automatic = Automatic(database, host.exchange, host.tenant, secret)
    automatic.configure(host.settings)
    contract, advisories = Contract(database, outbox), Advisories(database, outbox)
    incident = Incident(seeds, contract, advisories, automatic, of_database(host, database, keys))
    host.exchange.serve(incident, HANDLERS, LEARNERS)
    return IncidentService(incident)
