"""Messages to `dialer`, which connects and hands over the connected socket. It reads no byte of it."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U16, U32, Reply, Request

IpText = Annotated[str, Meta(max_length=64)]


class Dialed(Reply, frozen=True):
    """Connected; the descriptor comes with this reply."""

    local_address: IpText


class DialTcp(Request[Dialed], frozen=True, tag=1):
    """Connect. Refused (`not-allowed`): not global and in no allowed network, or a port not configured.

    TemporaryFailure: refused by the peer, unreachable, or no answer in `timeout_ms`.
    """

    address: IpText
    port: U16
    timeout_ms: U32


class DialUdp(Request[Dialed], frozen=True, tag=2):
    """A connected UDP socket to a configured name server; from `resolver` only."""

    address: IpText
    port: U16
