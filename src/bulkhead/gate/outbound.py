"""Into the queue: sealed to the queue's key, whose private half is in keyring alone."""

import base64
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_queue import Enqueue, EnqueueForward
from bulkhead.errors import ConfigError
from bulkhead.gate.delivery import CALL_SECONDS, OCTETS_A_SECOND
from bulkhead.gate.lease import require_time
from bulkhead.gate.message import PIECE
from bulkhead.identifiers import AccountId, Address, QueueId, TenantId, new_id
from bulkhead.records.chunks import body_sealed_size
from bulkhead.records.forward import Forward
from bulkhead.records.mailbox import QUEUE_ACCOUNT, VerifiedBinding
from bulkhead.records.queued import (
    QueuedEnvelope,
    QueuedWish,
    seal_queue_body_pieces,
    seal_queue_header,
    seal_queue_key_box,
)
from bulkhead.wire.header import header_end
from bulkhead.wire.smtp_notify import Notify, Return, Wish

QUEUE_GENERATION = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A message for the queue: its header sealed, its body sealed each time it is sent."""

    queue_id: QueueId
    key: bytes = field(repr=False)
    box: bytes = field(repr=False)
    header: bytes = field(repr=False)
    body: memoryview = field(repr=False)

    def pieces(self) -> Iterator[bytes]:
        """The sealed parts in order."""
        yield self.header
        cut = (self.body[start : start + PIECE] for start in range(0, len(self.body), PIECE))
        yield from seal_queue_body_pieces(self.key, self.queue_id, cut)


class OutboundSealer:
    """Seals to one tenant's queue key. Raises ConfigError when that is missing or no key."""

    def __init__(self, tenant: TenantId, pinned_key: str) -> None:
        try:
            key = X25519PublicKey.from_public_bytes(base64.b64decode(pinned_key, validate=True))
        except ValueError:
            raise ConfigError("pinned.queue_key is missing or no key; `bulkhead tenant add` writes it") from None
        self._binding = VerifiedBinding(tenant, AccountId(QUEUE_ACCOUNT), QUEUE_GENERATION, key)

    async def enqueue(
        self,
        exchange: Exchange,
        sender: Address | None,
        recipients: Sequence[Address],
        message: bytes,
        *,
        account: AccountId | None = None,
        wishes: Sequence[Wish] = (),
        ret: str = "",
        envid: str = "",
        utf8: bool = False,
    ) -> QueueId:
        """Durable in the queue on return. sender: None for `<>`.   account: whose it is.

        wishes: one a recipient, or none (RFC 3461). Raises Refused (`queue-full`, `sent-too-much`), TemporaryFailure.
        """
        envelope = QueuedEnvelope(
            str(sender or ""),
            tuple(str(recipient) for recipient in recipients),
            tuple(QueuedWish(int(wish.notify), wish.original) for wish in wishes),
            ret,
            envid,
            utf8,
        )
        queue_id = QueueId(new_id())
        sealed = self._seal(queue_id, envelope, message)
        seconds = CALL_SECONDS + len(message) / OCTETS_A_SECOND
        request = Enqueue(
            stamp=Stamp.fresh("submit", seconds),
            queue_id=queue_id,
            reverse_path=envelope.reverse_path,
            recipients=envelope.recipients,
            box=sealed.box,
            size=len(message),
            header_size=len(sealed.header),
            body_size=body_sealed_size(len(sealed.body)),
            account=account,
        )
        done = await exchange.to("queue").call(request, sealed.pieces, timeout=seconds)
        require_time(done.until)
        return queue_id

    async def forward(self, exchange: Exchange, statement: bytes, message: bytes, *, actor: str, utf8: bool) -> None:
        """Durable in the queue on return: to whom and under which reverse-path, directory's statement says.

        A failure is told to the account, with the whole message, so that none is lost; a delay is told to nobody.
        Raises Refused (`no-statement`, `expired`, `used`, `queue-full`, `sent-too-much`), TemporaryFailure,
        IntegrityError on what is no statement.
        """
        said = Forward.read(statement)
        wish = QueuedWish(int(Notify.FAILURE))
        envelope = QueuedEnvelope(said.return_path, (said.target,), (wish,), Return.FULL.value, "", utf8)
        sealed = self._seal(said.id, envelope, message)
        seconds = CALL_SECONDS + len(message) / OCTETS_A_SECOND
        request = EnqueueForward(
            Stamp.fresh(actor, seconds), statement, sealed.box, len(message), len(sealed.header),
            body_sealed_size(len(sealed.body)),
        )  # fmt: skip
        done = await exchange.to("queue").call(request, sealed.pieces, timeout=seconds)
        require_time(done.until)

    def _seal(self, queue_id: QueueId, envelope: QueuedEnvelope, message: bytes) -> "Sealed":
        key = secrets.token_bytes(32)
        split = header_end(message, 0, len(message))
        header = seal_queue_header(key, queue_id, envelope.join(message[:split]))
        box = seal_queue_key_box(self._binding, queue_id, key)
        return Sealed(queue_id, key, box, header, memoryview(message)[split:])
