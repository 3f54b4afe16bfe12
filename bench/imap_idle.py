"""Many idle sessions over TLS: what each costs in memory, and how soon each hears of new mail."""

import asyncio
import statistics
import time
from dataclasses import dataclass

from bench.figures import tree_pss
from bench.imap_client import tls_context
from bench.server import DOMAIN, PASSWORD, Server
from bench.smtp_load import SmtpLoad

LOGINS_AT_ONCE = 16
SETTLE_SECONDS = 8.0  # longer than Dovecot waits before it hibernates a session
NOTICE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class IdleFigures:
    """bytes_each: of memory, all processes of the server; latency from the 250 of the message to its EXISTS."""

    connections: int
    bytes_each: float
    notified: int
    expected: int
    latency_p50_ms: float
    latency_p99_ms: float


class _Idler(asyncio.Protocol):
    """Logs in, selects INBOX, idles; remembers when EXISTS came."""

    def __init__(self, user: str) -> None:
        loop = asyncio.get_running_loop()
        self.idling: asyncio.Future[None] = loop.create_future()
        self.heard: float | None = None
        self._steps = iter((f'LOGIN {user}@{DOMAIN} "{PASSWORD}"', "SELECT INBOX", "IDLE"))
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # TLS over TCP gives this one

    def data_received(self, data: bytes) -> None:
        *lines, self._left = (self._left + data).split(b"\r\n")
        for line in lines:
            if line.startswith(b"+"):
                self.idling.set_result(None)
            elif self.idling.done():
                if line.endswith(b" EXISTS"):
                    self.heard = time.perf_counter()
            elif line.startswith((b"* OK Ready", b"* OK [CAPABILITY", b"a OK")) and b"PERMANENTFLAGS" not in line:
                self._next()
            elif line.startswith((b"a NO", b"a BAD", b"* BYE")):
                self.idling.set_exception(OSError(line.decode("latin-1")))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.idling.done():
            self.idling.set_exception(error or OSError("the server closed the connection"))

    def _next(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self.transport.write(f"a {step}\r\n".encode())


async def idle(server: Server, users: list[str], connections: int, port: int, hello: bytes) -> IdleFigures:
    """Open `connections` in turn for `users`, let them rest, deliver one message to each user (over SMTP or LMTP)."""
    loop, context, turns = asyncio.get_running_loop(), tls_context(), asyncio.Semaphore(LOGINS_AT_ONCE)
    before = tree_pss(server)

    async def begin(user: str) -> _Idler:
        async with turns:
            _, idler = await loop.create_connection(lambda: _Idler(user), server.address, server.imaps, ssl=context)
            await asyncio.wait_for(idler.idling, 120)
            return idler

    idlers = await asyncio.gather(*(begin(users[number % len(users)]) for number in range(connections)))
    await asyncio.sleep(SETTLE_SECONDS)
    for idler in idlers:
        idler.heard = None
    bytes_each = (tree_pss(server) - before) / connections
    latencies: list[float] = []
    for number, user in enumerate(users):
        load = SmtpLoad(lambda _: b"Subject: new\r\n\r\nNew.\r\n", lambda _, to=user: f"{to}@{DOMAIN}", range(1), hello)
        await load.run(server.address, port, 1)
        answered = time.perf_counter()
        waiting = idlers[number :: len(users)]
        ends = answered + NOTICE_SECONDS
        while any(idler.heard is None for idler in waiting) and time.perf_counter() < ends:
            await asyncio.sleep(0.002)
        latencies += [max(0.0, idler.heard - answered) for idler in waiting if idler.heard is not None]
    for idler in idlers:
        idler.transport.abort()
    ordered = sorted(latencies)
    return IdleFigures(
        connections, round(bytes_each), len(latencies), connections,
        round(statistics.median(ordered) * 1000, 2), round(ordered[len(ordered) * 99 // 100] * 1000, 2),
    )  # fmt: skip
