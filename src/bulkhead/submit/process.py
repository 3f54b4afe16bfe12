"""The submit process: faces subscribers on ports 465 and 587, holds nothing."""

from bulkhead.boundary.host import Host, Service
from bulkhead.gate.connection import Connection
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.gate.recipients import Domestic
from bulkhead.gate.smtp_service import SmtpService
from bulkhead.submit.policy import SubmitPolicy
from bulkhead.submit.sessions import Logins
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_states import Role


async def start(host: Host) -> Service:
    """Accept on `submissions` (TLS first, RFC 8314 section 3.3) and `submission` (STARTTLS required)."""
    outbound = OutboundSealer(host.tenant, host.settings["pinned"]["queue_key"])
    logins = Logins(host.exchange)

    def policy(domestic: Domestic, connection: Connection) -> SubmitPolicy:
        return SubmitPolicy(domestic, connection, outbound, logins)

    return SmtpService(host, "submit", _receiver, policy, frozenset({"submissions"}))


def _receiver(domestic: Domestic, limits: Limits, implicit: bool) -> SmtpReceiver:
    return SmtpReceiver(
        domestic.hostname,
        Role.SUBMISSION,
        tls_active=implicit,
        tls_offered=not implicit,
        mechanisms=("PLAIN", "LOGIN"),
        dsn=True,
        limits=limits,
    )
