"""Into the queue: sealed to the queue's key, whose private half is in keyring alone."""

import base64
import secrets
from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_queue import Enqueue
from bulkhead.errors import ConfigError
from bulkhead.gate.delivery import CALL_SECONDS, OCTETS_A_SECOND
from bulkhead.gate.lease import require_time
from bulkhead.gate.message import PIECE
from bulkhead.identifiers import AccountId, Address, QueueId, TenantId, new_id
from bulkhead.records.chunks import body_sealed_size
from bulkhead.records.mailbox import QUEUE_ACCOUNT, VerifiedBinding
from bulkhead.records.queued import (
    QueuedEnvelope,
    QueuedWish,
    seal_queue_body_pieces,
    seal_queue_header,
    seal_queue_key_box,
)
from bulkhead.wire.header import header_end
from bulkhead.wire.smtp_notify import Wish

QUEUE_GENERATION = 1


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
        queue_id, key = QueueId(new_id()), secrets.token_bytes(32)
        split = header_end(message, 0, len(message))
        envelope = QueuedEnvelope(
            str(sender or ""),
            tuple(str(recipient) for recipient in recipients),
            tuple(QueuedWish(int(wish.notify), wish.original) for wish in wishes),
            ret,
            envid,
            utf8,
        )
        header = seal_queue_header(key, queue_id, envelope.join(message[:split]))
        body = memoryview(message)[split:]

        def sealed() -> Iterator[bytes]:
            yield header
            pieces = (body[start : start + PIECE] for start in range(0, len(body), PIECE))
            yield from seal_queue_body_pieces(key, queue_id, pieces)

        seconds = CALL_SECONDS + len(message) / OCTETS_A_SECOND
        request = Enqueue(
            stamp=Stamp.fresh("submit", seconds),
            queue_id=queue_id,
            reverse_path=envelope.reverse_path,
            recipients=envelope.recipients,
            box=seal_queue_key_box(self._binding, queue_id, key),
            size=len(message),
            header_size=len(header),
            body_size=body_sealed_size(len(body)),
            account=account,
        )
        done = await exchange.to("queue").call(request, sealed, timeout=seconds)
        require_time(done.until)
        return queue_id
