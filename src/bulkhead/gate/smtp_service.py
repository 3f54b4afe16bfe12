"""A started SMTP gate: listeners, certificate, limits. mx and submit differ in receiver and policy only."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bulkhead.boundary.host import Host
from bulkhead.gate.budget import Budget
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import Sealer
from bulkhead.gate.message import worker
from bulkhead.gate.recipients import Domestic
from bulkhead.gate.serve import Crowd, Limits, Listener, retire, source_key
from bulkhead.gate.smtp import Policy, SmtpSession
from bulkhead.gate.tls import TlsKeeper
from bulkhead.identifiers import parse_domain
from bulkhead.wire import smtp_codes
from bulkhead.wire.smtp import SmtpReceiver

MESSAGES_IN_MEMORY = 256 << 20  # octets of messages under way in one worker

TOO_FAST = smtp_codes.reply(
    smtp_codes.Code.UNAVAILABLE, smtp_codes.Status.SHUTTING_DOWN, "Too many connections from you; try again later"
)
TEXT_LINE_MAX = 1 << 20  # octets: real mail breaks the 998 of RFC 5321 section 4.5.3.1.6, and is delivered whole

MakePolicy = Callable[[Domestic, Connection], Policy]
MakeReceiver = Callable[[Domestic, smtp_codes.Limits, bool], SmtpReceiver]


class SmtpService:
    """section: the gate's section of the settings and the name of its host name. implicit: listeners with TLS first."""

    def __init__(
        self, host: Host, section: str, receiver: MakeReceiver, policy: MakePolicy, implicit: frozenset[str]
    ) -> None:
        self._section, self._make_receiver, self._make_policy = section, receiver, policy
        self._tls = TlsKeeper()
        self._budget = Budget(MESSAGES_IN_MEMORY)
        self._crowd = Crowd(_limits(host.settings[section]), host.tell_load)
        sealer = Sealer(host.tenant, host.settings["pinned"]["binding_key"])
        self._domestic = Domestic(host.exchange, sealer, parse_domain(host.settings["names"][section]))
        self._apply(host.settings)
        busy = smtp_codes.reply(
            smtp_codes.Code.UNAVAILABLE, smtp_codes.Status.SHUTTING_DOWN, "Too many connections from you"
        ).render()
        self._listeners = [
            Listener(
                sock,
                self._crowd.limits,
                self._session(name in implicit),
                self._context if name in implicit else None,
                busy,
                crowd=self._crowd,
            )
            for name, sock in host.listeners.items()
        ]
        worker()
        for listener in self._listeners:
            listener.start()

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New limits and a new certificate, both for new connections; connections that live keep theirs."""
        self._tls.load()
        self._crowd.limits = _limits(settings[self._section])
        self._apply(settings)

    async def retire(self, seconds: float) -> None:
        """Make way for another worker."""
        await retire(self._listeners, seconds)

    async def stop(self) -> None:
        """Sessions are told 421."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    def _context(self) -> Any:
        return self._tls.context

    def _apply(self, settings: Mapping[str, Any]) -> None:
        own = settings[self._section]
        self._limits = smtp_codes.Limits(
            message_bytes=own["message_bytes_max"],
            recipients=own["recipients_max"],
            transactions=own.get("messages_per_connection_max", 0),
            bad_commands=own["errors_max"],
            text_line=TEXT_LINE_MAX,
        )
        self._domestic.rates.configure(own)
        self._preauth_seconds = float(own.get("preauth_seconds", 0))

    def _session(self, implicit: bool) -> Callable[[Connection], Any]:
        async def run(connection: Connection) -> None:
            if self._preauth_seconds:
                connection.set_lifetime(self._preauth_seconds)
            receiver = self._make_receiver(self._domestic, self._limits, implicit)
            if not self._domestic.rates.connections.take(source_key(connection.source)):
                receiver.close(TOO_FAST)
            policy = self._make_policy(self._domestic, connection)
            self._crowd.begin()
            try:
                await SmtpSession(connection, receiver, policy, self._tls, self._budget).run()
            finally:
                self._crowd.finish()

        return run


def _limits(own: Mapping[str, Any]) -> Limits:
    return Limits.of(own, own["idle_seconds"])
