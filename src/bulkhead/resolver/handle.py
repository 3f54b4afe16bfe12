"""One function per message to resolver."""

from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_resolver import FindMailHosts, MailHosts, MailHostsVerdict
from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain
from bulkhead.resolver.lookup import Lookup
from bulkhead.resolver.mail_hosts import find_mail_hosts


class Resolver:
    """What is asked now; a reload puts another in its place."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup


async def find(resolver: Resolver, _: Channel, request: FindMailHosts, __: BodyReader | None) -> MailHosts:
    """Where mail for the domain goes. A text that is no domain does not exist."""
    try:
        domain = parse_domain(request.domain)
    except PeerError:
        return MailHosts(MailHostsVerdict.NO_SUCH_DOMAIN, (), 0)
    return await find_mail_hosts(resolver.lookup, domain)


HANDLERS: Mapping[type[Request[Any]], Handler] = {FindMailHosts: find}
