"""Keys of a mailbox: one 32-byte seed per generation, everything else derived from it.

seed -> message key pair (X25519) · slot key · page keys · metadata key · search key · key of the previous seed
"""

import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.identifiers import AccountId, TenantId
from bulkhead.records.derive import derive, require_key, u32


def new_secret() -> bytes:
    """32 random bytes: a seed, a release, a share or a message key."""
    return secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class MailboxSeed:
    """The seed of one generation of one account, and its tree.

    account: 16 bytes, or `QUEUE_ACCOUNT` for the tenant's outbound queue. Raises ValueError: a seed has 32 bytes.
    """

    tenant: TenantId
    account: AccountId
    generation: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_key(self.secret)

    def _derive(self, label: str, *more: bytes) -> bytes:
        place = (self.tenant.encode("ascii"), self.account, u32(self.generation))
        return derive(self.secret, label, *place, *more)

    def message_private_key(self) -> X25519PrivateKey:
        """Opens key boxes; its public half is in the binding."""
        return X25519PrivateKey.from_private_bytes(self._derive("message"))

    def message_public_key(self) -> bytes:
        """32 bytes for the binding."""
        return self.message_private_key().public_key().public_bytes_raw()

    def slot_key(self) -> bytes:
        """Opens every slot of the account; it never leaves `keyring`."""
        return self._derive("slot")

    def page_key(self, page: int) -> bytes:
        """Opens one page of summaries, whatever its version, and nothing else."""
        return self._derive("page", u32(page))

    def metadata_key(self) -> bytes:
        """Opens folder names and keywords."""
        return self._derive("metadata")

    def search_key(self) -> bytes:
        """Makes the search tokens of the account."""
        return self._derive("search")

    def previous_seed_key(self) -> bytes:
        """Opens the seed of the generation before."""
        return self._derive("previous-seed")


@dataclass(frozen=True, slots=True)
class OpenSeed:
    """A seed with what opens messages by it, derived once."""

    seed: MailboxSeed = field(repr=False)
    private_key: X25519PrivateKey = field(repr=False)
    slot_key: bytes = field(repr=False)

    @classmethod
    def of(cls, seed: MailboxSeed) -> "OpenSeed":
        """The keys of this seed."""
        return cls(seed, seed.message_private_key(), seed.slot_key())
