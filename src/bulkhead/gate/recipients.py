"""What a server decides about a recipient: ours and open, ours and not, or someone else's; and the loop check."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from time import time

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_directory import BindingRow, RecipientVerdict, ResolveRecipient, Reverse
from bulkhead.boundary.messages.to_store import CheckRoom
from bulkhead.errors import IntegrityError, Refused
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import Sealer
from bulkhead.gate.forwards import Onward, Reached
from bulkhead.gate.pace import SourceRates
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address, DomainName
from bulkhead.records.forward import Forward
from bulkhead.wire.smtp_codes import Code, Reply, Status, reply
from bulkhead.wire.trace import received_field, transmission_type

HOPS_MAX = 50  # Received fields before a message is taken for a loop (RFC 5321 section 6.3)
NO_SUCH_MAILBOX = reply(Code.MAILBOX_UNAVAILABLE, Status.NO_SUCH_MAILBOX, "No such mailbox")
NO_RELAY = reply(Code.MAILBOX_UNAVAILABLE, Status.NOT_AUTHORISED, "Mail for that domain is not taken here")
CLOSED = reply(Code.MAILBOX_UNAVAILABLE, Status.MAILBOX_DISABLED, "Mailbox does not take mail")
UNVERIFIED = reply(Code.LOCAL_ERROR, Status.SYSTEM_BUSY, "Recipient cannot be verified now; try again later")
MEMBER_FULL = reply(Code.MAILBOX_BUSY, "4.2.2", "A mailbox that this address leads to is full; try again later")
LOOP = reply(Code.TRANSACTION_FAILED, "5.4.6", "Too many hops: this message goes in circles")
_VERDICTS: dict[int, Reply] = {RecipientVerdict.CLOSED: CLOSED, RecipientVerdict.NO_SUCH_ADDRESS: NO_SUCH_MAILBOX}


@dataclass(frozen=True, slots=True)
class Domestic:
    """What every SMTP session of this process shares."""

    exchange: Exchange
    sealer: Sealer
    hostname: DomainName
    clock: Callable[[], float] = field(default=time)
    rates: SourceRates = field(default_factory=SourceRates)


async def find_recipients(
    domestic: Domestic, address: Address | None, size: int, reverse: int = Reverse.OWN
) -> Reached | None:
    """The mailboxes of a local recipient, each with room and a key that keyring signed, and its forwards to other
    servers; None for another's domain.

    More than one where it is a group, or forwards: all of them have room, or the recipient is refused for now, since
    what is accepted is owed to each.
    address: None is <Postmaster> without a domain, which means ours (RFC 5321 section 4.5.1). size: octets announced.
    reverse: of Reverse.
    Raises Rejection with the reply, or Refused and TemporaryFailure from the holders.
    """
    text = "postmaster" if address is None else str(address)
    found = await domestic.exchange.to("directory").call(ResolveRecipient(text, reverse))
    if found.verdict == RecipientVerdict.NOT_OURS:
        return None
    bindings = (found.binding, *found.others) if found.binding else ()
    own = found.own
    forwards = () if own is None else tuple(Onward(text, Forward.read(text), own, address) for text in found.forwards)
    if found.verdict != RecipientVerdict.LOCAL or not (bindings or forwards):
        raise Rejection(_VERDICTS.get(found.verdict, NO_SUCH_MAILBOX))
    for binding in bindings:
        try:
            domestic.sealer.verify(binding)
        except IntegrityError:
            raise Rejection(UNVERIFIED) from None
        await _check_room(domestic, binding, size, alone=len(bindings) == 1)
    return Reached(bindings, forwards)


async def _check_room(domestic: Domestic, binding: BindingRow, size: int, *, alone: bool) -> None:
    try:
        await domestic.exchange.to("store").call(CheckRoom(binding.account, size))
    except Refused:
        if alone:
            raise
        raise Rejection(MEMBER_FULL) from None


async def require_room(domestic: Domestic, bindings: Iterable[BindingRow], size: int) -> None:
    """Passes where all have room: what is queued cannot be taken back, so this is asked before. Raises Refused."""
    for binding in bindings:
        await domestic.exchange.to("store").call(CheckRoom(binding.account, size))


def trace_of(
    domestic: Domestic,
    connection: Connection,
    *,
    hello: str,
    extended: bool,
    authenticated: bool,
    mail_id: str,
    recipient: Address | None,
    utf8: bool = False,
) -> bytes:
    """The Received field of this hop. utf8: the transaction said SMTPUTF8. A subscriber's own address is not told."""
    return received_field(
        hello=hello,
        client=None if authenticated else client_address(connection.source),
        by=domestic.hostname,
        transmission=transmission_type(
            extended=extended, tls=connection.secure, authenticated=authenticated, utf8=utf8
        ),
        queue_id=mail_id,
        date=datetime.fromtimestamp(domestic.clock(), UTC),
        recipient=recipient if recipient is None or utf8 or str(recipient).isascii() else None,
    )


def refuse_loop(header: bytes) -> None:
    """Raises Rejection for a header with more than 50 Received fields."""
    if (b"\r\n" + header.lower()).count(b"\r\nreceived:") > HOPS_MAX:
        raise Rejection(LOOP)


@lru_cache(maxsize=1024)  # a client sends more than one message
def client_address(source: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The client's address as Received tells it: an IPv4 one also where the listener is IPv6."""
    address = ipaddress.ip_address(source.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
