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
from pathlib import Path
from types import ModuleType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages import to_auth, to_directory, to_incident, to_keyring, to_ledger, to_queue, to_store
from bulkhead.boundary.messages.standby import BeginStandbyBase, LeaseAsked, ReadStandbyBase, RenewLeaseBase
from bulkhead.boundary.messages.to_ledger import RecordStandby
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import say, size_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.config import Tenant
from bulkhead.config.load import read_text
from bulkhead.config.schema import FILE_BYTES_MAX
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure
from bulkhead.records.lease import LeaseAsk, read_grant
from bulkhead.records.standby import ENDED, read_lead, read_piece
from bulkhead.standby.place import Place, StreamFolder

SETTINGS = "tenant.toml"
WAIT_MS = 5000
READ_SECONDS = 30.0
AGAIN_SECONDS = 1.0
POLL_SECONDS = 0.02  # how often a grant is looked for
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
        place = Place(Path(options.to).absolute(), road.tenant.id)
        carrier = Carrier(road, place)
        settings = road.installation.directory / road.tenant.file
        place.write(SETTINGS, read_text(settings, FILE_BYTES_MAX).encode())
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
    """One tenant's streams and leases."""

    def __init__(self, road: Road, place: Place) -> None:
        self._road, self._place, self._tenant = road, place, road.tenant
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

    async def _carry(self, compartment: str) -> None:
        folder: StreamFolder | None = None
        number = 0
        while True:
            try:
                if folder is None:
                    folder, number = await self._go_on(compartment)
                request: ReadStandbyBase = MESSAGES[compartment].ReadStandby(folder.path.name, number, WAIT_MS)
                reply, body = await self._road.open(compartment, request, timeout=READ_SECONDS)
                piece = await body.read_all()
                if reply.number:
                    await asyncio.to_thread(folder.add, reply.number, piece)
                    self._require_own_term()  # else a promotion may have passed this piece by, and it is not shipped
                    number = reply.number
                    self._say(compartment, "")
                    if read_piece(piece)[1] & ENDED:
                        await asyncio.sleep(AGAIN_SECONDS / 10)
                        return
            except Refused as refused:
                if refused.code != "no-stream":
                    raise
                folder = None
                self._say(compartment, refused.public)
                await asyncio.sleep(AGAIN_SECONDS / 10)
            except (TemporaryFailure, OSError) as failure:
                self._say(compartment, str(failure))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _go_on(self, compartment: str) -> tuple[StreamFolder, int]:
        """The stream that is under way and whose last piece is in the place; else a new one."""
        messages = MESSAGES[compartment]
        state: LeaseAsked = await self._road.ask(compartment, messages.RenewLease())
        if state.stream in self._place.streams(compartment):
            folder = self._place.stream(compartment, state.stream)
            if numbers := folder.numbers():
                return folder, numbers[-1]
        moment = datetime.now(UTC)
        stream = f"{moment:%Y%m%dT%H%M%SZ}-{moment.microsecond // 1000:03x}{secrets.token_hex(3)[1:]}"
        lineage, have = self._place.have() if compartment == "store" else (0, ())
        request: BeginStandbyBase = messages.BeginStandby(stream, have, lineage)
        lead = (await self._road.ask(compartment, request)).lead
        head = read_lead(lead).head
        if (head.tenant, head.compartment, head.backup) != (self._tenant.id, compartment, stream):
            raise IntegrityError(f"{compartment} began another stream")
        folder = self._place.stream(compartment, stream)
        await asyncio.to_thread(folder.begin, lead)
        digest = hashlib.sha256(lead).digest()
        await self._road.ask("ledger", RecordStandby(stamp(), compartment, stream, digest))
        say(f"{self._tenant.id}: {compartment}: a new base, {stream}")
        return folder, 0

    async def _renew(self) -> None:
        settings = self._tenant.settings
        seconds, term = settings.integer("standby.lease_seconds"), settings.integer("standby.term")
        while True:
            ends = time.monotonic() + seconds / 3
            self._require_own_term()
            try:
                await self._ask_and_give(LeaseAsk(self._tenant.id, term, seconds, await self._nonces()).encode(), ends)
                self._say("lease", "")
            except (TemporaryFailure, Refused, OSError) as failure:
                self._say("lease", str(failure))
            await asyncio.sleep(max(POLL_SECONDS, ends - time.monotonic()))

    def _require_own_term(self) -> None:
        """Raises Superseded where a standby took over."""
        newer = self._place.superseded(self._witness)
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
        await asyncio.to_thread(self._place.write, "ask", ask)
        digest = hashlib.sha256(ask).digest()
        while time.monotonic() < ends:
            content = self._place.read("grant")
            if content[:32] == digest:
                grant = content[32:]
                try:
                    read_grant(self._witness, ask, grant)
                except IntegrityError as error:
                    raise TemporaryFailure(error.public, code="no-lease") from None
                for compartment, messages in MESSAGES.items():
                    await self._road.ask(compartment, messages.RenewLease(ask, grant))
                return
            await asyncio.sleep(POLL_SECONDS)
        raise TemporaryFailure("the standby grants no lease: is `standby follow` running?", code="no-lease")

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
