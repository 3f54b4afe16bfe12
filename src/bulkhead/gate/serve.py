"""Accepts connections and runs one session coroutine on each: limits by count, source and time, back-pressure.

A full gate stops accepting, so that clients wait in the kernel's queue instead of being refused.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.host import Load
from bulkhead.errors import Error, PeerError
from bulkhead.gate.connection import HANDSHAKE_SECONDS, Connection, ConnectionEnded, IdleTooLong

__all__ = [
    "Connection", "ConnectionEnded", "Crowd", "IdleTooLong", "Limits", "Listener", "Session", "retire", "source_key",
]  # fmt: skip

LINGER_SECONDS = 2.0
BATCH_ALONE = 64
YIELD_STEP, YIELD_MAX = 4, 3  # a ms that other workers go first for each 4 connections that this one has, 3 ms at most
BATCH_STEP = 16  # then it takes one client, and one more for each 16 that it has

_log = logging.getLogger("bulkhead.gate")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one gate process takes on.

    sessions: at once, and begun: in all, after which it accepts no more; 0 is without limit. shared: whether other
    workers accept on the same sockets.
    """

    connections: int
    connections_per_source: int
    idle_seconds: float
    sessions: int = 0
    begun: int = 0
    shared: bool = False

    @classmethod
    def of(cls, section: Mapping[str, Any], idle_seconds: float) -> "Limits":
        """From a gate's section of the settings. Where its mode is strict, a process has one session in its life."""
        if section["mode"] == "strict":
            return cls(1, 1, idle_seconds, 1, 1, shared=True)
        return cls(
            section["connections_max"], section["connections_per_source_max"], idle_seconds,
            section.get("sessions_max", 0), section["recycle_sessions"],
            section["workers"] != 1,
        )  # fmt: skip


Session = Callable[[Connection], Awaitable[None]]


class Crowd:
    """Who is connected to one process, over all its listeners. tell: given its load whenever that changes."""

    def __init__(self, limits: Limits, tell: Callable[[Load], None] = lambda _: None) -> None:
        self._limits, self._tell = limits, tell
        self._sources: dict[str, int] = {}
        self._listeners: list[Listener] = []
        self.count = self.sessions = self.begun = 0

    @property
    def limits(self) -> Limits:
        """What holds for connections from now on."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._update()

    @property
    def full(self) -> bool:
        """Whether no listener may accept."""
        limits = self._limits
        return (
            self.count >= limits.connections
            or 0 < limits.sessions <= self.sessions
            or 0 < limits.begun <= self.begun
        )  # fmt: skip

    def join(self, listener: "Listener") -> None:
        """A listener that obeys this crowd's limits."""
        self._listeners.append(listener)

    def enter(self, key: str) -> bool:
        """Count a connection in; False where its source has too many."""
        if self._sources.get(key, 0) >= self._limits.connections_per_source:
            return False
        self._sources[key] = self._sources.get(key, 0) + 1
        self.count += 1
        self._update()
        return True

    def leave(self, key: str) -> None:
        """Count a connection out."""
        self.count -= 1
        self._sources[key] -= 1
        if not self._sources[key]:
            del self._sources[key]
        self._update()

    def begin(self) -> None:
        """A session began on one of the connections."""
        self.sessions += 1
        self.begun += 1
        self._update()

    def finish(self) -> None:
        """It is over."""
        self.sessions -= 1
        self._update()

    def _update(self) -> None:
        full = self.full
        for listener in self._listeners:
            listener.update()
        self._tell(Load(self.count, self.sessions, self.begun, full))


class Listener:
    """One listening socket and the sessions on it. `tls`: a context for TLS from the first byte, else None.

    crowd: shared by the listeners of a process; without one the limits hold for this listener alone.
    full: said in clear to a client whose source has too many connections.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        session: Session,
        tls: Callable[[], ssl.SSLContext] | None,
        full: bytes = b"",
        *,
        crowd: Crowd | None = None,
    ) -> None:
        self._sock, self._session, self._tls, self._full = sock, session, tls, full
        self._crowd = crowd or Crowd(limits)
        self._crowd.join(self)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._accepting = self._started = self._starved = False
        self._yielding: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept."""
        self._loop.set_exception_handler(on_loop_fault)
        self._sock.setblocking(False)
        self._started = True
        self.update()

    @property
    def connections(self) -> int:
        """How many are open here."""
        return len(self._tasks)

    def close(self) -> None:
        """Accept no more, for good: what waits in the kernel's queue is for other workers."""
        self._started = False
        if self._yielding is not None:
            self._yielding.cancel()
            self._yielding = None
        self.update()
        self._sock.close()

    @property
    def tasks(self) -> set["asyncio.Task[None]"]:
        """Those of the open connections."""
        return self._tasks

    async def stop(self, seconds: float = 2.0) -> None:
        """Accept no more. Sessions say goodbye at their next read; those still busy at half time are cancelled."""
        self._started = False
        self.update()
        for connection in self._connections:
            connection.interrupt()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds / 2)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds / 2)
        for connection in list(self._connections):
            connection.abort()

    def update(self) -> None:
        """Accept, or leave clients in the kernel's queue, as the crowd's limits say."""
        accepting = self._started and not self._starved and not self._crowd.full and self._yielding is None
        if accepting != self._accepting:
            self._accepting = accepting
            if accepting:
                self._loop.add_reader(self._sock.fileno(), self._on_acceptable)
            else:
                self._loop.remove_reader(self._sock.fileno())

    def _on_acceptable(self) -> None:
        """All workers of a gate wake for one client. Those with many connections leave it to one with fewer."""
        if not self._crowd.limits.shared:
            self._accept(BATCH_ALONE)
            return
        delay = min(self._crowd.count // YIELD_STEP, YIELD_MAX)
        if delay:
            self._yielding = self._loop.call_later(delay / 1000, self._after_yielding)
            self.update()
        else:
            self._accept(1)

    def _after_yielding(self) -> None:
        self._yielding = None
        if self._started and not self._starved and not self._crowd.full:
            self._accept(1 + self._crowd.count // BATCH_STEP)
        self.update()

    def _accept(self, most: int) -> None:
        for _ in range(most):
            if self._crowd.full or not self._started:
                return
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # out of descriptors: let some go first
                _log.error("cannot accept: %s", error.strerror)
                self._starved = True
                self.update()
                self._loop.call_later(0.5, self._feed)
                return
            self._take(client, str(address[0]))

    def _feed(self) -> None:
        self._starved = False
        self.update()

    def _take(self, client: socket.socket, source: str) -> None:
        client.setblocking(False)
        key = source_key(source)
        if not self._crowd.enter(key):
            with contextlib.suppress(OSError):
                if self._full and self._tls is None:
                    client.send(self._full)
            client.close()
            return
        task = self._loop.create_task(self._run(client, source, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, client: socket.socket, source: str, key: str) -> None:
        lost = asyncio.Event()
        connection: Connection | None = None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local = str(client.getsockname()[0])
            connection = Connection(source, local, self._crowd.limits.idle_seconds, lost.set)
            self._connections.add(connection)
            await self._connect(connection, client)
            await self._session(connection)
        except (PeerError, OSError, asyncio.CancelledError):
            pass
        except Error as error:
            _log.warning("session from %s: %s", source, error.public)
        except Exception as error:
            _log.error("fault in a session from %s: %s", source, fault_place(error))
        finally:
            if connection is None:
                client.close()
            else:
                await self._part(connection, lost)
            self._crowd.leave(key)

    async def _connect(self, connection: Connection, client: socket.socket) -> None:
        """Hand the accepted socket to the loop, which shakes hands first where TLS comes first.

        Not by start_tls: uvloop reads before connection_made can pause it, and the client's first flight is lost.
        """
        if self._tls is None:
            await self._loop.connect_accepted_socket(lambda: connection, client)
        else:
            context = self._tls()
            try:
                await self._loop.connect_accepted_socket(
                    lambda: connection, client, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
                )
            except BaseException:
                connection.connection_lost(None)  # the loop does not tell of a connection that never became ours
                raise
            connection.secure = True
        if not connection.made:  # uvloop may call it a success where the client left during the handshake
            connection.connection_lost(None)
            raise ConnectionEnded("the connection ended")
        connection.resume()

    async def _part(self, connection: Connection, lost: asyncio.Event) -> None:
        """Close, and wait a little for the client to take what is due to it."""
        connection.close()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(lost.wait(), LINGER_SECONDS)
        connection.abort()
        self._connections.discard(connection)


async def retire(listeners: Sequence[Listener], seconds: float) -> None:
    """Accept no more, and return when the last connection has ended, or after `seconds`."""
    for listener in listeners:
        listener.close()
    tasks = [task for listener in listeners for task in listener.tasks]
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def on_loop_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a loop does with a fault that nobody awaits: clients that cannot do TLS are no news, ours are logged."""
    error = context.get("exception")
    if isinstance(error, OSError):  # ssl.SSLError too
        return
    place = fault_place(error) if isinstance(error, BaseException) else ""
    _log.error("fault in the loop: %s %s", context.get("message", ""), place)


def fault_place(error: BaseException) -> str:
    """Kind and place of a fault of ours, without its values, which may be a client's secret."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-6:])
    return f"{type(error).__name__} at {' < '.join(f'{frame.name}:{frame.lineno}' for frame in frames)}"


def source_key(source: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 /64."""
    address = ipaddress.ip_address(source)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return source
