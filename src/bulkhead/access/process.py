"""The access process: faces the network on 993 and 995, where wanted on 143 and 110, holds nothing at rest."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from bulkhead.access.imap_session import ImapSession
from bulkhead.access.pop3_session import Pop3Session
from bulkhead.access.worker import Settings, Worker
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.host import Host, Service
from bulkhead.boundary.messages.facts import MailboxChanged, SessionEnded
from bulkhead.gate.delivery import Sealer
from bulkhead.gate.serve import Connection, Crowd, Limits, Listener, retire
from bulkhead.gate.tls import TlsKeeper

SESSIONS: Mapping[str, type[ImapSession] | type[Pop3Session]] = {
    "imaps": ImapSession, "pop3s": Pop3Session, "imap": ImapSession, "pop3": Pop3Session,
}  # fmt: skip
IMPLICIT = frozenset({"imaps", "pop3s"})
"""Listeners with TLS from the first octet; on the others a client asks for it before it can log in (RFC 2595)."""


def _limits(settings: Mapping[str, Any]) -> Limits:
    return Limits.of(settings["access"], settings["access"]["preauth_seconds"])


class AccessService:
    """A started access."""

    def __init__(self, host: Host) -> None:
        """Raises ConfigError without a pinned binding key, OSError or ssl.SSLError without a certificate."""
        self._tls = TlsKeeper()
        settings = host.settings
        sealer = Sealer(host.tenant, settings["pinned"]["binding_key"])
        self._crowd = Crowd(_limits(settings), host.tell_load)
        self.worker = Worker(host.exchange, sealer, Settings.of(settings), self._crowd)
        self._listeners = [
            Listener(
                sock,
                self._crowd.limits,
                self._serve(name),
                self._context if name in IMPLICIT else None,
                crowd=self._crowd,
            )
            for name, sock in host.listeners.items()
        ]
        host.exchange.serve(
            self.worker,
            {},
            {
                MailboxChanged: lambda worker, _, fact: worker.changed(fact.handle),
                SessionEnded: lambda worker, _, fact: worker.ended(fact.handle, "The session was ended"),
            },
        )
        host.exchange.on_departure(self._on_departure)

    def start(self) -> None:
        """Accept."""
        for listener in self._listeners:
            listener.start()

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits, and a new certificate, for new connections."""
        self._tls.load()
        self.worker.settings = Settings.of(settings)
        self._crowd.limits = _limits(settings)

    async def retire(self, seconds: float) -> None:
        """Make way for another worker."""
        await retire(self._listeners, seconds)

    async def stop(self) -> None:
        """Sessions are told BYE."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    def _context(self) -> ssl.SSLContext:
        return self._tls.context

    def _serve(self, name: str) -> Any:
        session, context = SESSIONS[name], None if name in IMPLICIT else self._context

        async def serve(connection: Connection) -> None:
            await session(connection, self.worker, context).run()

        return serve

    def _on_departure(self, channel: Channel) -> None:
        if channel.compartment == "keyring":  # its sessions went with it
            self.worker.all_ended("The session has ended; log in again")
        elif channel.compartment == "store":
            self.worker.store_departed()


async def start(host: Host) -> Service:
    """Accept on every listener of SESSIONS that is open."""
    service = AccessService(host)
    service.start()
    return service
