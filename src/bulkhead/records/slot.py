"""A slot: the message key of a filed message under the account's slot key. 67 bytes."""

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId, EmailId
from bulkhead.records.derive import require_key
from bulkhead.records.record import HEADER_BYTES, NONCE_BYTES, TAG_BYTES, Kind, open_, seal

SLOT_BYTES = HEADER_BYTES + NONCE_BYTES + 32 + TAG_BYTES


def seal_slot(
    slot_key: bytes,
    generation: int,
    account: AccountId,
    email_id: EmailId,
    message_key: bytes,
    *,
    nonce: bytes | None = None,
) -> bytes:
    """The slot of a message; generation is that of the seed the slot key came from."""
    return seal(Kind.SLOT, generation, slot_key, require_key(message_key), (account, email_id), nonce=nonce)


def open_slot(slot_key: bytes, account: AccountId, email_id: EmailId, record: bytes) -> bytes:
    """The message key. Raises IntegrityError."""
    key = open_(record, Kind.SLOT, slot_key, (account, email_id))
    if len(key) != 32:
        raise IntegrityError("a message key has 32 bytes")
    return key
