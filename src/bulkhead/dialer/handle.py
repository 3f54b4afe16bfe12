"""One function per message to dialer."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.body import BodyReader
from bulkhead.boundary.edge import Channel, Handed
from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_dialer import Dialed, DialTcp, DialUdp
from bulkhead.dialer.routes import IpAddress, Routes
from bulkhead.errors import Refused, TemporaryFailure

SECONDS_MAX = 300.0


class Dialer:
    """The rules now in force."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes


async def dial_tcp(dialer: Dialer, peer: Channel, request: DialTcp, _: BodyReader | None) -> Handed:
    """A connected TCP socket."""
    check = dialer.routes.for_mail if peer.compartment == "courier" else dialer.routes.for_names
    address = check(request.address, request.port)
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.wait_for(
            asyncio.get_running_loop().sock_connect(sock, (str(address), request.port)),
            min(request.timeout_ms / 1000, SECONDS_MAX),
        )
        local = str(sock.getsockname()[0])
    except TimeoutError:
        sock.close()
        raise TemporaryFailure("no answer in time", code="timeout") from None
    except OSError as error:
        sock.close()
        raise TemporaryFailure(error.strerror or "cannot connect", code="unreachable") from None
    except BaseException:
        sock.close()
        raise
    return Handed(Dialed(local), sock)


def dial_udp(dialer: Dialer, peer: Channel, request: DialUdp, _: BodyReader | None) -> Handed:
    """A connected UDP socket to a name server."""
    if peer.compartment != "resolver":
        raise Refused("only resolver asks name servers", code="not-allowed")
    address = dialer.routes.for_names(request.address, request.port)
    sock = socket.socket(_family(address), socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect((str(address), request.port))
        local = str(sock.getsockname()[0])
    except OSError as error:
        sock.close()
        raise TemporaryFailure(error.strerror or "cannot connect", code="unreachable") from None
    return Handed(Dialed(local), sock)


def _family(address: IpAddress) -> socket.AddressFamily:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


HANDLERS: Mapping[type[Request[Any]], Handler] = {DialTcp: dial_tcp, DialUdp: dial_udp}
