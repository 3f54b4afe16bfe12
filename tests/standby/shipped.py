"""A store that ships, a carrier in the same process, and a standby that follows."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.store.world import CLI, MX, STORE, World, copy_for, payload, stamp

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.holder.backup import Backups
from bulkhead.holder.shipping import Shipping
from bulkhead.identifiers import TenantId
from bulkhead.records.lease import LeaseAsk, StandbyKeys, grant_lease
from bulkhead.standby.follow import Follower
from bulkhead.standby.place import Place
from bulkhead.store.standby import ShippedDisk, ship

TENANT = TenantId("kddi")
PARTNER, OPERATOR = X25519PrivateKey.generate(), X25519PrivateKey.generate()
KEYS = StandbyKeys.of(bytes(range(32)), TENANT)
STREAM = "20261122T000000Z-{:08x}"


def text(key: Any) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def settings(mode: str = "async", *, warm: bool = True) -> dict[str, Any]:
    pinned = {"recovery_partner": text(PARTNER), "recovery_operator": text(OPERATOR)}
    pinned |= {"standby_witness": text(KEYS.signing), "standby_key": text(KEYS.opening) if warm else ""}
    return {"id": TENANT, "pinned": pinned, "standby": {"mode": mode, "term": 0}}


class Standby:
    """A place, and a follower of it."""

    def __init__(self, base: Path) -> None:
        self.base, self.place = base, Place(base / "place", TENANT)
        self.home, self.kept = base / "there" / "store", {}
        self.start()

    def start(self, private: Any = None) -> None:
        self.follower = Follower(
            self.place, ("store",), KEYS, lambda c: self.base / "there" / c, self.base / "state",
            self.kept.__setitem__, private,
        )  # fmt: skip

    def take(self, compartment: str = "store") -> int:
        return self.follower.take(compartment)


class ShippedStore:
    """A store of its own directory."""

    def __init__(self, standby: Standby, mode: str = "async", *, warm: bool = True) -> None:
        self.standby, self._settings = standby, settings(mode, warm=warm)
        self.home = standby.base / "here"
        self.after = self.octets = 0
        self._streams = 0
        self.account: bytes | None = None

    @asynccontextmanager
    async def running(self, *, leased: bool = True) -> AsyncIterator["ShippedStore"]:
        self.home.mkdir(exist_ok=True)
        before = Path.cwd()
        os.chdir(self.home)
        try:
            shipping = Shipping(Path("store.sqlite"))
            self.world = await World(ShippedDisk(shipping), 1 << 16).start()
            self.state, self.shipping = self.world.store.state, shipping
            host = Host(STORE, TENANT, self._settings, self.world.exchange)
            self.state.backups = Backups(host, None)  # type: ignore[arg-type]  # no backup is taken here
            ship(host, self.state, self.state.backups, shipping)
            if leased:
                await self.lease()
            try:
                yield self
            finally:
                await self.world.stop()
        finally:
            os.chdir(before)

    async def ask(self, request: Any) -> Any:
        return await self.world.peer(CLI).call(request)

    async def lease(self, seconds: int = 100) -> None:
        asked = await self.ask(to_store.RenewLease())
        ask = LeaseAsk(TENANT, 0, seconds, {"store": asked.nonce}).encode()
        await self.ask(to_store.RenewLease(ask, grant_lease(KEYS.signing, ask)))

    async def deliver(self, count: int, octets: int = 3000) -> None:
        if self.account is None:
            self.account = await self.world.account()
        for start in range(0, count, 50):
            await asyncio.gather(*(self.deliver_one(octets) for _ in range(min(50, count - start))))

    async def deliver_one(self, octets: int = 3000) -> None:
        if self.account is None:
            self.account = await self.world.account()
        copy = copy_for(self.account, sealed=(40, 60, octets))
        await self.world.peer(MX).call(to_store.DeliverMail(stamp(), (copy,)), payload(copy))

    async def begin(self, have: tuple[int, ...] = (), lineage: int = 0) -> str:
        self._streams += 1
        stream = STREAM.format(self._streams)
        begun = await self.ask(to_store.BeginStandby(stream, have, lineage))
        self.standby.place.stream("store", stream).begin(begun.lead)
        self.after = 0
        return stream

    async def ship_one(self, stream: str, wait: int = 0) -> bool:
        request = to_store.ReadStandby(stream, self.after, wait)
        reply, piece = await self.world.peer(CLI).open(request)
        if reply.number:
            self.standby.place.stream("store", stream).add(reply.number, piece)
            self.after = reply.number
            self.octets += len(piece)
        return bool(reply.number)

    async def ship(self, stream: str) -> None:
        while await self.ship_one(stream):
            pass

    async def ship_or_refused(self, stream: str) -> bool:
        try:
            return await self.ship_one(stream)
        except Refused:
            return False
