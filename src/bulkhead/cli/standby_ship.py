"""`standby ship|hand-over`: carries each holder's sealed pieces to the place, and the standby's leases back.

This process sees ciphertext only. It runs as long as the cell does; where it is away, the holders keep a backlog, and
once the lease has run out they answer no change.
"""

import argparse
import asyncio
import base64
import hashlib
import secrets
import time
from datetime import UTC, datetime
from types import ModuleType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages import to_auth, to_directory, to_incident, to_keyring, to_ledger, to_queue, to_store
from bulkhead.boundary.messages.standby import BeginStandbyBase, LeaseAsked, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.to_ledger import RecordStandby
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import say, size_text
from bulkhead.cli.pace import Pace
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.standby_link import way_to
from bulkhead.config import Tenant
from bulkhead.config.load import read_text
from bulkhead.config.schema import FILE_BYTES_MAX
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure
from bulkhead.records.lease import LeaseAsk, read_grant
from bulkhead.records.standby import ENDED, WHOLE, read_lead, read_piece
from bulkhead.standby.place import read_term
from bulkhead.standby.way import Way

WAIT_MS = 5000
READ_SECONDS = 30.0
AGAIN_SECONDS = 1.0
REFUSALS_MAX = 3  # of one stream, before another is begun
MESSAGES: dict[str, ModuleType] = {
    "directory": to_directory,
    "auth": to_auth,
    "keyring": to_keyring,
    "store": to_store,
    "queue": to_queue,
    "incident": to_incident,
    "ledger": to_ledger,
}
"""Each holder's messages; those for a standby have the same names and fields."""


class Superseded(Exception):
    """The standby took over under this term."""

    def __init__(self, term: int) -> None:
        super().__init__(term)
        self.term = term


def ship(options: argparse.Namespace) -> int:
    """Ship a tenant's cell until it is handed over, or its standby took over."""
    return wait_for(_ship(options))


async def _ship(options: argparse.Namespace) -> int:
    async with open_road(options.directory, options.tenant) as road:
        road.check_running()
        settings = road.installation.directory / road.tenant.file
        carrier = Carrier(road, way_to(options, road.tenant.id), read_text(settings, FILE_BYTES_MAX).encode())
        try:
            await carrier.run()
        except Superseded as news:
            await _tell_unshipped(road)
            await end_leases(road)
            road.layout.superseded.write_text(f"{news.term}\n", encoding="ascii")
            say(f"{road.tenant.id}: the standby took over (term {news.term}): stop this cell, and let nobody start it")
            return ExitCode.REFUSED
    say(f"{road.tenant.id}: handed over; everything that was answered is at the standby")
    return ExitCode.OK


async def _tell_unshipped(road: Road) -> None:
    """Say what this primary has and its standby has not: what was answered of it is here alone."""
    for compartment, messages in MESSAGES.items():
        asked: LeaseAsked = await road.ask(compartment, messages.RenewLease())
        if asked.octets:
            say(f"{road.tenant.id}: {compartment}: {size_text(asked.octets)} of changes were never shipped: keep it")


def hand_over(options: argparse.Namespace) -> int:
    """Answer no change any more, and ship the rest."""
    wait_for(_hand_over(options))
    return ExitCode.OK


async def _hand_over(options: argparse.Namespace) -> None:
    async with open_road(options.directory, options.tenant) as road:
        await end_leases(road)
    say(f"{options.tenant}: no change is answered any more; `standby ship` ends once all of it is at the standby")


async def end_leases(road: Road) -> None:
    """Have every holder lay its lease down: ledger last, so that it has what the others noted."""
    for compartment, messages in MESSAGES.items():
        await road.ask(compartment, messages.RenewLease(end=True))


class Carrier:
    """One tenant's streams and leases. content: of the tenant's settings."""

    def __init__(self, road: Road, way: Way, content: bytes) -> None:
        self._road, self._way, self._tenant, self._content = road, way, road.tenant, content
        self._pace = Pace(road.tenant.settings.integer("standby.bytes_per_second"))
        self._witness = witness_key(road.tenant)
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Carry until every stream has ended. Raises Superseded."""
        leases = asyncio.create_task(self._renew())
        streams = [asyncio.create_task(self._carry(compartment)) for compartment in MESSAGES]
        waiting: set[asyncio.Task[None]] = {leases, *streams}
        try:
            while not all(task.done() for task in streams):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in waiting:
                task.cancel()
            await self._way.close()

    async def _carry(self, compartment: str) -> None:
        stream, number, whole, refusals = "", 0, False, 0
        while True:
            try:
                if not stream:
                    stream, number = await self._go_on(compartment, anew=refusals > REFUSALS_MAX)
                    whole = False
                request: ReadStandbyBase = MESSAGES[compartment].ReadStandby(stream, number, WAIT_MS)
                reply, body = await self._road.open(compartment, request, timeout=READ_SECONDS)
                piece = await body.read_all()
                if reply.number:
                    # A promotion may have passed this piece by, and then it is not shipped: the term is looked at.
                    self._require_own_term(await self._way.add(compartment, stream, reply.number, piece))
                    number, refusals = reply.number, 0
                    self._say(compartment, "")
                    flags = read_piece(piece)[1]
                    if flags & ENDED:
                        await asyncio.sleep(AGAIN_SECONDS / 10)
                        return
                    whole = whole or bool(flags & WHOLE)
                    if not whole:  # a base, which can wait
                        await self._pace.spend(len(piece))
            except Refused as refused:
                if refused.code != "no-stream":
                    raise
                stream, refusals = "", refusals + 1
                self._say(compartment, refused.public)
                await asyncio.sleep(AGAIN_SECONDS / 10)
            except (TemporaryFailure, OSError) as failure:
                self._say(compartment, str(failure))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _go_on(self, compartment: str, *, anew: bool) -> tuple[str, int]:
        """The stream that is under way and whose last piece is at the standby; else, or anew, a new one."""
        messages = MESSAGES[compartment]
        state: LeaseAsked = await self._road.ask(compartment, messages.RenewLease())
        if not anew and (last := await self._way.last(compartment, state.stream)):
            return state.stream, last
        moment = datetime.now(UTC)
        stream = f"{moment:%Y%m%dT%H%M%SZ}-{moment.microsecond // 1000:03x}{secrets.token_hex(3)[1:]}"
        lineage, have = await self._way.have() if compartment == "store" else (0, ())
        request: BeginStandbyBase = messages.BeginStandby(stream, have, lineage)
        lead = (await self._road.ask(compartment, request)).lead
        head = read_lead(lead).head
        if (head.tenant, head.compartment, head.backup) != (self._tenant.id, compartment, stream):
            raise IntegrityError(f"{compartment} began another stream")
        await self._way.begin(compartment, stream, lead)
        digest = hashlib.sha256(lead).digest()
        await self._road.ask("ledger", RecordStandby(stamp(), compartment, stream, digest))
        say(f"{self._tenant.id}: {compartment}: a new base, {stream}")
        return stream, 0

    async def _renew(self) -> None:
        settings = self._tenant.settings
        seconds, term = settings.integer("standby.lease_seconds"), settings.integer("standby.term")
        settled = False
        while True:
            ends = time.monotonic() + seconds / 3
            try:
                if not settled:
                    await self._way.settle(self._content)
                    settled = True
                self._require_own_term(await self._way.term())
                await self._ask_and_give(LeaseAsk(self._tenant.id, term, seconds, await self._nonces()).encode(), ends)
                self._say("lease", "")
            except (TemporaryFailure, Refused, OSError) as failure:
                self._say("lease", str(failure))
            await asyncio.sleep(max(AGAIN_SECONDS / 10, ends - time.monotonic()))

    def _require_own_term(self, signed: bytes) -> None:
        """Raises Superseded where a standby took over."""
        newer = read_term(self._witness, self._tenant.id, signed)
        if newer > self._tenant.settings.integer("standby.term"):
            raise Superseded(newer)

    async def _nonces(self) -> dict[str, bytes]:
        found = {}
        for compartment, messages in MESSAGES.items():
            request: RenewLeaseBase = messages.RenewLease()
            found[compartment] = (await self._road.ask(compartment, request)).nonce
        return found

    async def _ask_and_give(self, ask: bytes, ends: float) -> None:
        """Ask, and give each holder what was granted until then. Raises TemporaryFailure where nothing was."""
        grant = await self._way.granted(ask, ends)
        if not grant:
            raise TemporaryFailure("the standby grants no lease: is `standby follow` running?", code="no-lease")
        try:
            read_grant(self._witness, ask, grant)
        except IntegrityError as error:
            raise TemporaryFailure(error.public, code="no-lease") from None
        for compartment, messages in MESSAGES.items():
            await self._road.ask(compartment, messages.RenewLease(ask, grant))

    def _say(self, what: str, text: str) -> None:
        """Say what is wrong once, and that it is over."""
        before = self._said.get(what, "")
        if before != text:
            self._said[what] = text
            say(f"{self._tenant.id}: {what}: {text or 'goes on'}")


def witness_key(tenant: Tenant) -> Ed25519PublicKey:
    """The key under which the tenant's standby grants leases. Raises ConfigError."""
    text = tenant.settings.text("pinned.standby_witness")
    if not text or tenant.settings.text("standby.mode") == "off":
        raise ConfigError(f"{tenant.id} has no standby: see `bulkhead standby key`, then set standby.mode")
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))
