"""Where one transaction's mail goes: mailboxes here, and forwards to other servers that directory let go.

docs/decisions/0013. A forward is queued before mailboxes have the message, and 250 is said when all of it is durable.
What queue does not take stays in the account's own mailbox: over a limit or in a circle no mail is lost.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_directory import FORWARDS_MAX, BindingRow
from bulkhead.boundary.messages.to_store import COPIES_MAX
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.gate.message import run_aside
from bulkhead.gate.outbound import OutboundSealer
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address
from bulkhead.records.forward import Forward
from bulkhead.wire.header import scan_fields, unfold
from bulkhead.wire.smtp_codes import TOO_MANY_RECIPIENTS

FORWARDS_AT_ONCE = FORWARDS_MAX  # of one transaction: each is a message of its own in the queue
DELIVERED_TO_MAX = 5  # fields of one message that was forwarded as often already, wherever that was
_log = logging.getLogger("bulkhead.gate")


@dataclass(frozen=True, slots=True)
class Onward:
    """A forward to another server. own: the account's mailbox. address: under which the message came to it."""

    statement: bytes
    said: Forward
    own: BindingRow
    address: Address | None


@dataclass(frozen=True, slots=True)
class Reached:
    """What one recipient leads to."""

    bindings: tuple[BindingRow, ...]
    forwards: tuple[Onward, ...] = ()


@dataclass(slots=True)
class Destinations:
    """What all recipients of a transaction lead to: each mailbox once, each forward once."""

    mailboxes: dict[bytes, BindingRow] = field(default_factory=dict)
    forwards: dict[tuple[bytes, str], Onward] = field(default_factory=dict)

    def add(self, reached: Reached) -> None:
        """Take them in. Raises Rejection where one delivery does not take so many, kept copies counted."""
        mailboxes = self.mailboxes | {binding.account: binding for binding in reached.bindings}
        forwards = {(onward.own.account, onward.said.target): onward for onward in reached.forwards} | self.forwards
        kept = {account for account, _ in forwards}
        if len(mailboxes.keys() | kept) > COPIES_MAX or len(forwards) > FORWARDS_AT_ONCE:
            raise Rejection(TOO_MANY_RECIPIENTS)
        self.mailboxes, self.forwards = mailboxes, forwards

    async def send_on(
        self,
        exchange: Exchange,
        outbound: OutboundSealer,
        message: bytes,
        header: bytes,
        *,
        actor: str,
        utf8: bool,
        queued: bool = False,
    ) -> None:
        """Queue every forward; the mailboxes of those that are not taken are added. message: as the next hop gets it.

        queued: whether the queue has something of this transaction already. Raises TemporaryFailure where queue is
        away and has nothing yet; once it has one, the others stay here instead: a sender who tries again would send
        that one a second copy.
        """
        passed = delivered_to(header)
        for onward in self.forwards.values():
            try:
                if len(passed) > DELIVERED_TO_MAX or str(onward.address).lower() in passed:
                    raise Refused("the message was here before", code="loop")
                whole = await _under(onward.address, message)
                await outbound.forward(exchange, onward.statement, whole, actor=actor, utf8=utf8)
                queued = True
                continue
            except Refused as refused:
                _log.info("a forward stays here: %s (%s)", refused.public, refused.code)
            except TemporaryFailure as failure:
                if not queued:
                    raise
                _log.warning("a forward stays here: %s (%s)", failure.public, failure.code)
            self.mailboxes.setdefault(onward.own.account, onward.own)


async def _under(address: Address | None, message: bytes) -> bytes:
    """The message with a field that tells this hop from others, for when it comes here again."""
    if address is None:
        return message
    parts = (f"Delivered-To: {address}\r\n".encode(), message)
    return await run_aside(len(message), lambda: b"".join(parts))


def delivered_to(header: bytes) -> Sequence[str]:
    """Addresses in Delivered-To fields (RFC 9228), in lower case: where a message was forwarded before."""
    return [
        unfold(header[value:end]).decode("utf-8", "replace").strip("<>").lower()
        for name, _, value, end in scan_fields(header, 0, len(header))
        if name == b"delivered-to"
    ]
