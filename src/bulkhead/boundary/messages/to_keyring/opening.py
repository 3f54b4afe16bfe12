"""From access and courier: message, page and name keys, opened for a session and counted."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U32, EmailId, Handle, Key32, QueueId, Reply, Request
from bulkhead.boundary.messages.to_keyring.values import KeyBox, Secret, Slot

BATCH_MAX = 256  # messages of one opening


class ArrivedKey(Reply, frozen=True):
    """A message whose key is still in its HPKE box."""

    email: EmailId
    box: KeyBox


class OpenedKey(Secret, frozen=True):
    """A message key, and the slot to file it under."""

    key: Key32
    slot: Slot


class OpenedKeys(Secret, frozen=True):
    """In the order asked. An item that does not open is None: counted, reported, never guessed."""

    keys: Annotated[tuple[OpenedKey | None, ...], Meta(max_length=BATCH_MAX)]


class OpenArrived(Request[OpenedKeys], frozen=True, tag=12):
    """Open the HPKE boxes of arrived mail of the session's account. Refused: `no-session`."""

    handle: Handle
    items: Annotated[tuple[ArrivedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class SlottedKey(Reply, frozen=True):
    """A filed message's slot."""

    email: EmailId
    slot: Slot


class MessageKeys(Secret, frozen=True):
    """Message keys in the order asked, None where a slot does not open."""

    keys: Annotated[tuple[Key32 | None, ...], Meta(max_length=BATCH_MAX)]


class OpenSlots(Request[MessageKeys], frozen=True, tag=13):
    """Open slots of filed mail of the session's account."""

    handle: Handle
    items: Annotated[tuple[SlottedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class PageKeys(Secret, frozen=True):
    """Page keys in the order asked."""

    keys: Annotated[tuple[Key32, ...], Meta(max_length=1024)]


class OpenPages(Request[PageKeys], frozen=True, tag=14):
    """Keys of summary pages under a generation (0: the newest). Handing one out counts as 256 messages.

    Refused: `no-such-generation`.
    """

    handle: Handle
    pages: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=1024)]
    generation: U32 = 0


class NameKey(Secret, frozen=True):
    """The metadata key of a generation."""

    key: Key32


class OpenNames(Request[NameKey], frozen=True, tag=15):
    """What opens folder names and keywords of an older generation, so that they can be sealed under the newest."""

    handle: Handle
    generation: U32


class ResealedSlots(Reply, frozen=True):
    """Slots under the newest generation in the order asked, None where the old one does not open."""

    slots: Annotated[tuple[Slot | None, ...], Meta(max_length=BATCH_MAX)]


class ResealSlots(Request[ResealedSlots], frozen=True, tag=16):
    """Slots of filed mail for those under an older generation; no message key leaves."""

    handle: Handle
    items: Annotated[tuple[SlottedKey, ...], Meta(min_length=1, max_length=BATCH_MAX)]


class QueuedKey(Secret, frozen=True):
    """The key of one queued message."""

    key: Key32


class OpenQueued(Request[QueuedKey], frozen=True, tag=20):
    """Open one queued message for one delivery attempt; counted."""

    queue_id: QueueId
    box: KeyBox
