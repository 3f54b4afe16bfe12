"""The console process: faces the partner's staff on 443, holds nothing."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.console.api import Api, problem_answer
from bulkhead.console.http import HttpError, HttpReceiver
from bulkhead.gate.serve import Connection, Crowd, Limits, Listener, retire
from bulkhead.gate.tls import TlsKeeper

_ALWAYS = (
    ("cache-control", "no-store"), ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("strict-transport-security", "max-age=31536000"), ("referrer-policy", "no-referrer"),
)  # fmt: skip


class ConsoleService:
    """A started console."""

    def __init__(self, host: Host) -> None:
        """Raises OSError or ssl.SSLError without a certificate."""
        self._tls = TlsKeeper()
        self._settings: Mapping[str, Any] = host.settings["console"]
        self._crowd = Crowd(Limits.of(self._settings, self._settings["idle_seconds"]), host.tell_load)
        self._api = Api(host.exchange, host.tenant, host.settings["names"]["console"])
        self._listeners = [
            Listener(sock, self._crowd.limits, self._serve, self._context, crowd=self._crowd)
            for sock in host.listeners.values()
        ]
        host.exchange.serve(self, {})

    def start(self) -> None:
        """Accept."""
        for listener in self._listeners:
            listener.start()

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits, and a new certificate, for new connections."""
        self._tls.load()
        self._settings = settings["console"]
        self._crowd.limits = Limits.of(self._settings, self._settings["idle_seconds"])

    async def retire(self, seconds: float) -> None:
        """Make way for another worker."""
        await retire(self._listeners, seconds)

    async def stop(self) -> None:
        """What is being answered is."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    def _context(self) -> ssl.SSLContext:
        return self._tls.context

    async def _serve(self, connection: Connection) -> None:
        """Requests of one connection, one at a time; each must come whole within its time."""
        self._crowd.begin()
        try:
            receiver = HttpReceiver()
            connection.keep_pace()
            for left in reversed(range(self._settings["requests_per_connection_max"])):
                connection.touch()
                connection.set_lifetime(self._settings["idle_seconds"] + self._settings["request_seconds"])
                if not await self._exchange_one(connection, receiver, last=not left) or not receiver.begin_next():
                    return
        finally:
            self._crowd.finish()

    async def _exchange_one(self, connection: Connection, receiver: HttpReceiver, *, last: bool) -> bool:
        """One request and its answer; False where there is none any more."""
        try:
            while (request := receiver.next_event()) is None:
                if receiver.wants_continue():
                    connection.write(receiver.go_on())
                data = await connection.read()
                if not data:
                    return False
                receiver.receive_data(data)
            connection.set_lifetime(None)
            answer = await self._api.answer(request, connection.local_address)
        except HttpError as error:
            answer = problem_answer(error)
        connection.write(receiver.answer(answer.status, (*answer.fields, *_ALWAYS), answer.body, last=last))
        await connection.drain()
        return True


async def start(host: Host) -> Service:
    """Accept on the console listener."""
    service = ConsoleService(host)
    service.start()
    return service
