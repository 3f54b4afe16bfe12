"""Orders that this machine signs itself: a stop that lapses, where a canary was used with its right password.

Off unless the tenant's settings name one. What signs is a key of incident, which officers must have put into the roster
under the role `automatic`; executors verify such an order like any other, take no other action from that key, none
beyond an hour, and few a day. So whoever has this process can stop outbound mail or logins for so long, and no more.
The entry is the executor's, before this machine says anything of it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_keyring, to_queue
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.to_incident import AutomaticKey, LearnRoster
from bulkhead.boundary.orders import AUTOMATIC_MS, ORDERS
from bulkhead.errors import Error
from bulkhead.holder.database import Database
from bulkhead.identifiers import TenantId, new_id
from bulkhead.records.officer import KeyType, OfficerKey
from bulkhead.records.order import Order, sign_order

MARGIN_MS = 60_000  # between this clock and an executor's
MINUTE_MS = 60_000
OFF = "off"
SUBMIT_SECONDS = 60.0
_log = logging.getLogger("bulkhead.incident")


class Automatic:
    """key: of the role `automatic`, None where the installation was made without one. Within a running loop."""

    def __init__(self, database: Database, exchange: Exchange, tenant: TenantId, key: Ed25519PrivateKey | None) -> None:
        self._database, self._exchange, self._tenant, self._key = database, exchange, tenant, key
        self._action, self._life = OFF, 0
        self._until = 0  # ms, of the newest order: while it holds there is no second
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take `incident.automatic` and its minutes; off where there is no such section."""
        section = settings.get("incident", {})
        self._action = section.get("automatic", OFF)
        self._life = min(section.get("automatic_minutes", 0) * MINUTE_MS, AUTOMATIC_MS - MARGIN_MS)

    def public(self) -> AutomaticKey:
        """Its public key, and under which roster and name it signs."""
        version, _, officer = self._database.first("SELECT version, hash, officer FROM automatic")
        return AutomaticKey(b"" if self._key is None else self._key.public_key().public_bytes_raw(), version, officer)

    async def learn(self, request: LearnRoster) -> AutomaticKey:
        """What an order has to name. It is not verified here: executors do, and a false one makes orders of no use."""
        mine = None if self._key is None else self._officer_key(self._key).id
        name = next((officer.name for officer in request.officers if officer.key == mine), "")

        def work(connection: Connection) -> None:
            connection.execute(
                "UPDATE automatic SET version = ?, hash = ?, officer = ?", (request.version, request.hash, name)
            )

        await self._database.write(work)
        return self.public()

    def strike(self, why: str) -> None:
        """Order the stop, unless one of ours holds. Returns at once."""
        now = time.time_ns() // 1_000_000
        version, digest, officer = self._database.first("SELECT version, hash, officer FROM automatic")
        if self._action == OFF or self._key is None or not officer or now < self._until:
            return
        self._until = now + self._life
        row = ORDERS[self._action]
        order = Order(
            self._tenant, tuple(sorted(row.executors)), row.action, {"until": self._until}, new_id(), why, now,
            self._until, version, digest,
        ).encode()  # fmt: skip
        approval = sign_order(order, officer, self._key)
        signed = (SignedApproval(approval.officer, approval.key, approval.signature),)
        requests = {
            "keyring": to_keyring.SubmitOrder(Stamp.fresh("incident"), order, signed),
            "queue": to_queue.SubmitOrder(Stamp.fresh("incident"), order, signed),
        }
        for name, request in requests.items():
            if name in row.executors:
                task = asyncio.get_running_loop().create_task(self._submit(name, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _submit(self, executor: str, request: Any) -> None:
        try:
            await self._exchange.to(executor).call(request, timeout=SUBMIT_SECONDS)
        except Error as error:
            _log.error("%s does not take the automatic %s: %s", executor, self._action, error.public)

    @staticmethod
    def _officer_key(key: Ed25519PrivateKey) -> OfficerKey:
        return OfficerKey(KeyType.ED25519, key.public_key().public_bytes_raw())
