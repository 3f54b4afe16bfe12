"""The road: this process at one end of an edge, one compartment of a live cell at the other.

The cell's supervisor hands over the socket and parses nothing of what crosses it. Where a compartment restarts
meanwhile, the supervisor is asked for a new edge, and a request that was under way is sent again under its id.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import CALL_SECONDS, Caller, Exchange
from bulkhead.boundary.messages.fields import Reply, Request, Stamp
from bulkhead.boundary.peers import between
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES
from bulkhead.config import Installation, Tenant, load_installation
from bulkhead.errors import BoundaryViolation, IntegrityError, TemporaryFailure
from bulkhead.supervisor.door import Ask, ask_status, knock
from bulkhead.supervisor.layout import Layout

KNOCK_SECONDS = 10.0  # how long a compartment that restarts is waited for
KNOCK_PAUSE = 0.1
R = TypeVar("R", bound=Reply)
T = TypeVar("T")


class Road:
    """Edges to the compartments of one running cell, made when first needed. Use as `async with Road(...)`."""

    def __init__(self, installation: Installation, tenant: Tenant) -> None:
        self.installation, self.tenant = installation, tenant
        self.layout = Layout(installation.directory.absolute(), tenant.id)
        self._exchanges: dict[str, Exchange] = {}
        self._knocking: dict[str, asyncio.Lock] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> "Road":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for task in self._returning:
            task.cancel()
        for exchange in self._exchanges.values():
            exchange.close()

    def check_running(self) -> None:
        """Raises TemporaryFailure (`not-running`) when nobody answers the cell's door."""
        try:
            ask_status(str(self.layout.socket))
        except TemporaryFailure as failure:
            raise self._not_running(failure) from None

    async def ask(self, compartment: str, request: Request[R], *, timeout: float = CALL_SECONDS) -> R:
        """The reply. Raises as the compartment answered; TemporaryFailure (`not-running`) when it is not there.

        Raises ValueError for a compartment that PEERS gives the command line no edge to: our bug.
        """
        return await self._again(compartment, lambda caller: caller.call(request, timeout=timeout))

    async def send(self, compartment: str, request: Request[R], body: bytes, *, timeout: float = CALL_SECONDS) -> R:
        """The reply to a request with a body. Raises as ask."""
        return await self._again(compartment, lambda caller: caller.call(request, body, timeout=timeout))

    async def open(
        self, compartment: str, request: Request[R], *, timeout: float = CALL_SECONDS
    ) -> tuple[R, BodyReader]:
        """The reply and the reader of its body; close it when you stop early. Raises as ask."""
        return await self._again(compartment, lambda caller: caller.open(request, timeout=timeout))

    async def _again(self, compartment: str, call: Callable[[Caller], Awaitable[T]]) -> T:
        """What the call gives, made anew while the compartment restarts."""
        if between(OPERATOR_CONSOLE, compartment) is None:
            raise ValueError(f"no edge between {OPERATOR_CONSOLE} and {compartment} in PEERS")
        ends = time.monotonic() + KNOCK_SECONDS
        while True:
            await self._attach(compartment)
            try:
                return await call(self._exchanges[compartment].to(compartment))
            except TemporaryFailure as failure:
                if failure.code != "edge-ended" or time.monotonic() > ends:
                    raise
            await asyncio.sleep(KNOCK_PAUSE)

    async def _attach(self, compartment: str) -> None:
        """See that there is a live edge to the compartment."""
        async with self._knocking.setdefault(compartment, asyncio.Lock()):
            exchange = self._exchanges.get(compartment)
            if exchange is not None and exchange.edge_to(compartment) is not None:
                return
            number, end = await self._knock(compartment)
            if exchange is None:
                exchange = self._exchanges[compartment] = Exchange(
                    Channel(OPERATOR_CONSOLE, 0, number), self._on_violation
                )
                exchange.on_departure(lambda _: self._return_to(compartment))
            exchange.attach(end, Channel(compartment, 0, 0), number)

    async def _knock(self, compartment: str) -> tuple[int, socket.socket]:
        """A new edge's number and our end of it; a compartment that is restarting is waited for."""
        deadline = time.monotonic() + KNOCK_SECONDS
        while True:
            try:
                number, descriptor = knock(str(self.layout.socket), Ask.EDGE, PROCESSES[compartment].slot)
                break
            except TemporaryFailure as failure:
                if failure.code == "not-running":
                    raise self._not_running(failure) from None
                if time.monotonic() > deadline:
                    raise TemporaryFailure(
                        f"{self.tenant.id}: {compartment} is not running: {failure.public}; see {self.layout.log}",
                        code="not-running",
                    ) from None
                await asyncio.sleep(KNOCK_PAUSE)
        if descriptor is None:
            raise TemporaryFailure(f"{self.tenant.id}: the cell gave no edge to {compartment}", code="not-running")
        return number, socket.socket(fileno=descriptor)

    def _return_to(self, compartment: str) -> None:
        """An edge has ended: get a new one, on which what was under way is asked again."""
        if not self._closed:
            task = asyncio.get_running_loop().create_task(self._attach_again(compartment))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _attach_again(self, compartment: str) -> None:
        await asyncio.sleep(KNOCK_PAUSE)  # the supervisor may not yet know that the compartment is gone
        with contextlib.suppress(TemporaryFailure):  # who waits for the edge learns that it did not come
            await self._attach(compartment)

    def _not_running(self, failure: TemporaryFailure) -> TemporaryFailure:
        directory = self.installation.directory
        why = f"{self.tenant.id}: {failure.public}; start it: bulkhead run -C {directory}"
        if not os.access(self.layout.socket.parent, os.X_OK) and self.layout.socket.parent.exists():
            why = (
                f"{self.tenant.id}: {self.layout.socket} cannot be reached; run as the user who runs the cell, or root"
            )
        return TemporaryFailure(why, code="not-running")

    @staticmethod
    def _on_violation(peer: Channel, _: int, violation: BoundaryViolation) -> None:
        raise IntegrityError(f"{peer.compartment} sent what the boundary forbids: {violation.public}")


def open_road(directory: str, tenant: str) -> Road:
    """The road to a tenant's cell. Raises ConfigError."""
    installation = load_installation(Path(directory))
    return Road(installation, installation.tenant(tenant))


def stamp(seconds: float = 30.0, actor: str = OPERATOR_CONSOLE) -> Stamp:
    """A stamp for a change that the command line asks for. actor: as the ledger is to name who did it."""
    return Stamp.fresh(actor, seconds)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)
