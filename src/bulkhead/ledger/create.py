"""Keys of a new tenant's ledger, and its empty log. Used offline, when the tenant is made."""

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.records.keyfile import KeySet

SIGNING, SUBJECT = "checkpoint", "subject"


def create_keys() -> KeySet:
    """`checkpoint`: the Ed25519 key that signs checkpoints; `subject`: names accounts without their ids."""
    private = Ed25519PrivateKey.generate().private_bytes_raw()
    return KeySet().with_key(SIGNING, 1, private).with_key(SUBJECT, 1, secrets.token_bytes(32))


def public_key(keys: KeySet) -> bytes:
    """The 32 bytes under which checkpoints verify."""
    _, private = keys.current(SIGNING)
    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
