"""A holder's part in a warm standby: it ships what it changes, and answers changes only under the standby's lease.

Off, there is no Standby, and nothing here runs. With `standby.mode = "sync"` an answer also waits until the standby has
what it speaks of.
"""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.standby import (
    BeginStandbyBase,
    LeaseAsked,
    ReadStandbyBase,
    RenewLeaseBase,
    StandbyBegun,
    StandbyPiece,
)
from bulkhead.boundary.terms import Answer, Channel
from bulkhead.errors import ConfigError, Refused, TemporaryFailure
from bulkhead.holder.backup import Backups, DatabaseSource, Source, no_wait
from bulkhead.holder.backup import of_database as of_one_database
from bulkhead.holder.database import Database
from bulkhead.holder.keys import KeyFile
from bulkhead.holder.lease import Lease
from bulkhead.holder.shipping import Shipping
from bulkhead.holder.snapshot import remove_copy
from bulkhead.records.hpke import load_public_key
from bulkhead.records.standby import STANDBY, Keys, Op, Write, begin_stream

MODES = ("off", "async", "sync")
COPY = Path("standby.copy")
STOP_SECONDS = 1.0


class Standby:
    """What the handlers work on.

    take: starts the gathering and gives the base, fixed at a later moment; what it does not carry stands in `kept`.
    """

    def __init__(
        self,
        host: Host,
        backups: Backups,
        shipping: Shipping,
        take: Callable[[BeginStandbyBase], Awaitable[Source]],
        keys: KeyFile | None = None,
        kept: Callable[[Source], Iterator[Op]] = lambda _: iter(()),
    ) -> None:
        settings, pinned = host.settings["standby"], host.settings.get("pinned", {})
        self.mode = MODES.index(settings["mode"])
        self._term = int(settings["term"])
        witness = str(pinned.get("standby_witness", ""))
        if not witness:
            raise ConfigError("standby.mode needs pinned.standby_witness: see `bulkhead standby key`")
        self._opening = str(pinned.get("standby_key", ""))
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(witness))
        self.lease = Lease(host.tenant, host.channel.compartment, self._term, public)
        self.shipping, self._backups, self._take, self._kept = shipping, backups, take, kept
        self._source: Source | None = None
        self._loop = asyncio.get_running_loop()
        if keys is not None:
            keys.on_change(self._ship_keys)
        remove_copy(COPY)

    async def begin(self, request: BeginStandbyBase) -> StandbyBegun:
        """Begin a stream."""
        recipients = self._backups.recipients()
        opening = load_public_key(base64.b64decode(self._opening)) if self._opening else None
        await self.shipping.drop("another stream was begun")
        self._close_source()
        source = self._source = await self._take(request)
        head = self._backups.head(request.stream, STANDBY, {**source.notes, "term": self._term})
        lead, key = begin_stream(head, recipients, opening)
        self.shipping.begin(head, key, lead, self._base(source))
        return StandbyBegun(lead)

    async def read(self, request: ReadStandbyBase) -> Answer:
        """The next piece."""
        piece = await self.shipping.next(request.stream, request.after, request.wait / 1000)
        lag = self.shipping.lag()
        reply = StandbyPiece(request.after + 1 if piece else 0, lag.octets, int(lag.seconds * 1000))
        return Answer(reply, piece)

    def renew(self, request: RenewLeaseBase) -> LeaseAsked:
        """Take a lease where one is given, and ask for the next."""
        if request.end:
            self.lease.end()
            self.shipping.end()
        elif request.grant:
            self.lease.take(request.ask, request.grant)
        lag = self.shipping.lag()
        return LeaseAsked(
            self.lease.ask(), int(self.lease.left * 1000), self.mode, self.shipping.stream,
            self.shipping.broken[:200], lag.octets, int(lag.seconds * 1000),
        )  # fmt: skip

    def answer(self, give: Callable[[TemporaryFailure | None], None]) -> None:
        """Give an answer to changes that are committed: at once, or once the standby has them."""
        if MODES[self.mode] == "sync":
            self.shipping.when_shipped(lambda shipped: give(self.lease.failure() if shipped else _not_shipped()))
        else:
            give(self.lease.failure())

    async def stop(self) -> None:
        """Ship no more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.shipping.drop("it was stopped")
        self._close_source()
        self.shipping.close()

    def _base(self, source: Source) -> Iterator[Op]:
        """In a thread."""
        try:
            yield Keys(self._sealed_keys())
            source.prepare()
            yield from self._kept(source)
            self._loop.call_soon_threadsafe(source.prepared)
            for part in source.parts():
                offset = 0
                for piece in part.pieces():
                    yield Write(part.name, offset, piece)
                    offset += len(piece)
                if not offset:
                    yield Write(part.name, 0, b"")
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and so has everything
                self._loop.call_soon_threadsafe(source.close)

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _ship_keys(self) -> None:
        """On the writer's thread, before anything is sealed under a new key."""
        if self.shipping.active:
            self.shipping.change(Keys(self._sealed_keys()))

    def _sealed_keys(self) -> bytes:
        return self._backups.escrow(datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")).stream


def _not_shipped() -> TemporaryFailure:
    return TemporaryFailure("the standby does not have this; try again later", code="no-standby")


def is_wanted(host: Host) -> bool:
    """Whether the tenant has a standby."""
    return str(host.settings.get("standby", {}).get("mode", MODES[0])) != MODES[0]


def of_database(
    host: Host,
    database: Database,
    keys: KeyFile | None = None,
    needs: Callable[[], Mapping[str, tuple[int, ...]]] = dict,
    barrier: Callable[[], Awaitable[Callable[[], bool]]] = no_wait,
) -> Backups:
    """The backups of a compartment that has a database and nothing beside it, and its standby where there is one."""
    backups = of_one_database(host, database, keys, needs, barrier)
    if not is_wanted(host):
        return backups
    shipping = Shipping(database.path)

    async def take(request: BeginStandbyBase) -> Source:
        await start(database, shipping)
        source = DatabaseSource(database, BeginBackupBase(request.stream), COPY)
        await settle(database)
        return source

    attach(Standby(host, backups, shipping, take, keys), backups, database)
    return backups


def attach(standby: Standby, backups: Backups, database: Database | None) -> None:
    """Have a compartment ship, and answer under its lease."""
    backups.standby = standby
    if database is not None:
        database.watch(standby.shipping, standby)


async def start(database: Database, shipping: Shipping) -> None:
    """Gather what is committed from here on."""
    await database.write(lambda _: None, after=lambda _: shipping.start())


async def settle(database: Database) -> None:
    """On return all that a snapshot taken before has seen was gathered."""
    await database.write(lambda _: None)


def handlers(
    begin: type[BeginStandbyBase], read: type[ReadStandbyBase], renew: type[RenewLeaseBase]
) -> Mapping[type[Request[Any]], Handler]:
    """The handlers of a compartment whose state has the attribute `backups`."""

    async def begin_standby(state: Any, _: Channel, request: BeginStandbyBase, __: BodyReader | None) -> StandbyBegun:
        """Begin a stream."""
        return await _of(state).begin(request)

    async def read_standby(state: Any, _: Channel, request: ReadStandbyBase, __: BodyReader | None) -> Answer:
        """Hand out its next piece."""
        return await _of(state).read(request)

    def renew_lease(state: Any, _: Channel, request: RenewLeaseBase, __: BodyReader | None) -> LeaseAsked:
        """Take a lease, and ask for the next."""
        return _of(state).renew(request)

    return {begin: begin_standby, read: read_standby, renew: renew_lease}


def _of(state: Any) -> Standby:
    standby = state.backups.standby
    if not isinstance(standby, Standby):
        raise Refused("standby.mode is off; set it, and start the cell again", code="no-standby")
    return standby
