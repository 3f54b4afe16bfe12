"""The mx process: faces the network on port 25, holds nothing."""

from bulkhead.boundary.host import Host, Service
from bulkhead.gate.connection import Connection
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.gate.recipients import Domestic
from bulkhead.gate.smtp_service import SmtpService
from bulkhead.mx.policy import MxPolicy
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_states import Role


async def start(host: Host) -> Service:
    """Accept on the mx listener; STARTTLS is offered and not required (RFC 3207 section 4)."""
    outbound = OutboundSealer(host.tenant, host.settings["pinned"]["queue_key"])

    def policy(domestic: Domestic, connection: Connection) -> MxPolicy:
        return MxPolicy(domestic, connection, outbound)

    return SmtpService(host, "mx", _receiver, policy, frozenset())


def _receiver(domestic: Domestic, limits: Limits, implicit: bool) -> SmtpReceiver:
    return SmtpReceiver(domestic.hostname, Role.MX, tls_active=implicit, tls_offered=True, limits=limits)
