"""What several messages to `keyring` carry: sealed message keys, replies that no log may show."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import Reply

KeyBox = Annotated[bytes, Meta(max_length=256)]  # a message key sealed by HPKE
Slot = Annotated[bytes, Meta(max_length=256)]  # a message key under the account's slot key


class Secret(Reply, frozen=True):
    """A reply that is not to be shown."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"
