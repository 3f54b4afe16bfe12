"""The keys of a new tenant's keyring, made offline at `tenant add`."""

import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.keyring.keys import BINDING, INDEX, QUEUE, RECOVERY_OPERATOR, RECOVERY_PARTNER, RING, TIGHT
from bulkhead.records.keyfile import KeySet, NamedKey
from bulkhead.records.mailbox import RecoveryKey


@dataclass(frozen=True, slots=True)
class NewKeyring:
    """The key set to seal into keyring's key file, and the two public halves that gates pin (32 bytes each)."""

    keys: KeySet = field(repr=False)
    binding_key: bytes  # Ed25519: pinned.binding_key
    queue_key: bytes  # X25519: pinned.queue_key


def create_keys(partner: RecoveryKey, operator: RecoveryKey) -> NewKeyring:
    """Fresh keys, version 1 each, and both recovery public keys, which lie in the set to be sealed with it."""
    binding, queue = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    keys = KeySet(
        (
            NamedKey(INDEX, 1, secrets.token_bytes(32)),
            NamedKey(RING, 1, secrets.token_bytes(32)),
            NamedKey(TIGHT, 1, secrets.token_bytes(32)),
            NamedKey(BINDING, 1, binding.private_bytes_raw()),
            NamedKey(QUEUE, 1, queue.private_bytes_raw()),
            NamedKey(RECOVERY_PARTNER, partner.version, partner.public_key.public_bytes_raw()),
            NamedKey(RECOVERY_OPERATOR, operator.version, operator.public_key.public_bytes_raw()),
        )
    )
    return NewKeyring(keys, binding.public_key().public_bytes_raw(), queue.public_key().public_bytes_raw())
