"""Into local mailboxes: summarise once, seal a copy for each recipient, hand all of them to store in one transaction.

A mailbox key is believed only when its binding verifies under the key pinned at start, so a lying directory can
misdeliver but cannot substitute keys.
"""

import asyncio
import base64
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import structs

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import CHUNK_MAX, Stamp
from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.boundary.messages.to_store import COPIES_MAX, Copy, DeliverMail
from bulkhead.errors import ConfigError, TemporaryFailure
from bulkhead.gate.lease import require_time
from bulkhead.gate.message import INLINE_MAX, PIECE, run_aside
from bulkhead.identifiers import AccountId, EmailId, RequestId, TenantId, new_id
from bulkhead.records.mailbox import Binding, VerifiedBinding
from bulkhead.records.message import body_sealed_size, seal_body, seal_body_pieces, seal_head, seal_key_box
from bulkhead.wire.summary import Section, Summary, summarize

BINDINGS_KEPT = 10_000
SUMMARY_BYTES_MAX = 512 * 1024
CALL_SECONDS = 30.0  # for store's answer, and for the sealed octets besides:
OCTETS_A_SECOND = 10_000_000  # what store can be expected to write
PATIENCE_SECONDS = 60.0  # how long a store that is away is waited for once the queue has the message
PATIENCE_STEP_SECONDS = 1.0
CALL_SECONDS_MAX = 300.0  # clients wait 600 for the answer to the final dot (RFC 5321 section 4.5.3.2.6)


@dataclass(frozen=True, slots=True)
class SealedCopy:
    """One account's copy: its row, and its sealed parts, made again each time they are sent."""

    row: Copy
    key: bytes
    summary: bytes
    header: bytes
    body: memoryview

    def __repr__(self) -> str:
        return f"SealedCopy({self.row.size} octets)"

    def pieces(self) -> Iterator[bytes]:
        """The sealed parts in order."""
        account, email = AccountId(self.row.account), EmailId(self.row.email)
        head = seal_head(self.key, account, email, self.summary, self.header)
        if len(self.body) <= INLINE_MAX:
            yield b"".join((*head, *seal_body(self.key, account, email, self.body)))
            return
        yield b"".join(head)
        cut = (self.body[start : start + PIECE] for start in range(0, len(self.body), PIECE))
        yield from seal_body_pieces(self.key, account, email, cut)


class Sealer:
    """Seals for accounts of one tenant. Verified bindings are kept, because most mail goes to few accounts."""

    def __init__(self, tenant: TenantId, pinned_key: str) -> None:
        """pinned_key: base64 of the binding key's 32 bytes, from the configuration. Raises ConfigError."""
        try:
            self._pinned = Ed25519PublicKey.from_public_bytes(base64.b64decode(pinned_key, validate=True))
        except ValueError:
            raise ConfigError("pinned.binding_key is missing or no key; `bulkhead tenant add` writes it") from None
        self._tenant = tenant
        self._verified: OrderedDict[bytes, VerifiedBinding] = OrderedDict()

    def verify(self, binding: BindingRow) -> VerifiedBinding:
        """The key to seal to. Raises IntegrityError unless keyring signed it for this very account."""
        found = self._verified.get(binding.record)
        if found is None or found.account != binding.account:
            found = Binding(binding.record).verify(self._pinned, self._tenant, AccountId(binding.account))
            self._verified[binding.record] = found
            if len(self._verified) > BINDINGS_KEPT:
                self._verified.popitem(last=False)
        return found

    async def summarize(self, message: bytes) -> Summary:
        """The message's summary; of a large one on another thread, so that the loop goes on."""
        return await run_aside(len(message), lambda: bounded(message, summarize(message)))

    def seal_copy(self, binding: VerifiedBinding, message: bytes, summary: Summary, date: int) -> SealedCopy:
        """A copy for one account, under a new message key. date: INTERNALDATE, seconds."""
        email, key = EmailId(new_id()), secrets.token_bytes(32)
        plain_summary = summary.encode()
        view = memoryview(message)
        header, body = bytes(view[: summary.header_size]), view[summary.header_size :]
        row = Copy(
            account=binding.account,
            email=email,
            box=seal_key_box(binding, email, key),
            size=len(message),
            summary_size=sealed_size(len(plain_summary)),
            header_size=sealed_size(len(header)),
            body_size=body_sealed_size(len(body)),
            date=date,
        )
        return SealedCopy(row, key, plain_summary, header, body)


def bounded(message: bytes, summary: Summary) -> Summary:
    """`summary`, or where a hostile structure made it too large, that of one text part with the same header size.

    The message itself is delivered and fetched whole either way.
    """
    if len(summary.encode()) <= SUMMARY_BYTES_MAX:
        return summary
    plain = summarize(b"\r\n")
    lines = message.count(b"\n", summary.header_size)
    size = len(message) - summary.header_size
    body = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" %d %d' % (size, lines)
    whole = Section("1", summary.header_size, summary.header_size, len(message), media="text/plain", encoding="7bit")
    return structs.replace(
        plain,
        size=len(message),
        header_size=summary.header_size,
        body=body + b")",
        bodystructure=body + b" NIL NIL NIL NIL)",
        sections=(whole,),
        date=summary.date,
        date_offset=summary.date_offset,
    )


def sealed_size(plain: int) -> int:
    """Bytes of a sealed summary or header of `plain` octets: record header, nonce and tag besides."""
    return plain + _OVERHEAD


_OVERHEAD = len(seal_head(bytes(32), AccountId(bytes(16)), EmailId(bytes(16)), b"", b"")[0])


async def deliver(
    exchange: Exchange,
    sealer: Sealer,
    bindings: Sequence[BindingRow],
    message: bytes,
    date: int,
    *,
    actor: str,
    request_id: bytes | None = None,
) -> None:
    """Put `message` into every account's INBOX, all or none; durable on return. At most 100 accounts.

    request_id: where a retry of the same delivery must be known as one. Raises Refused (`over-quota`, ...),
    TemporaryFailure, IntegrityError.
    """
    if not 0 < len(bindings) <= COPIES_MAX:
        raise ValueError(f"{len(bindings)} recipients in one delivery")
    verified = [sealer.verify(binding) for binding in bindings]
    summary = await sealer.summarize(message)
    copies: list[SealedCopy] = []
    for binding in verified:
        copies.append(sealer.seal_copy(binding, message, summary, date))
        if len(copies) % 16 == 0:
            await asyncio.sleep(0)  # a key box takes 56 us

    def body() -> Iterator[bytes]:
        for copy in copies:
            yield from copy.pieces()

    octets = len(copies) * len(message)
    seconds = min(CALL_SECONDS + octets / OCTETS_A_SECOND, CALL_SECONDS_MAX)
    stamp = Stamp.fresh(actor, seconds, None if request_id is None else RequestId(request_id))
    request = DeliverMail(stamp, tuple(copy.row for copy in copies))
    small = octets <= CHUNK_MAX
    done = await exchange.to("store").call(request, b"".join(body()) if small else body, timeout=seconds)
    require_time(done.until)


async def deliver_patiently(
    exchange: Exchange,
    sealer: Sealer,
    bindings: Sequence[BindingRow],
    message: bytes,
    date: int,
    *,
    actor: str,
    queued: bool,
) -> None:
    """As deliver. Where the queue has the message already, a store that is away is waited for: who is told to try
    again would send the queue's recipients a second copy.
    """
    request_id, until = new_id(), monotonic() + (PATIENCE_SECONDS if queued else 0.0)
    while True:
        try:
            return await deliver(exchange, sealer, bindings, message, date, actor=actor, request_id=request_id)
        except TemporaryFailure:
            if monotonic() >= until:
                raise
        await asyncio.sleep(PATIENCE_STEP_SECONDS)
