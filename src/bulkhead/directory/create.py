"""The keys that directory is made with. For `init` and `tenant add`."""

import secrets

from bulkhead.records.keyfile import KeySet

DECOY = "decoy"
TOMBSTONE = "tombstone"


def create_keys() -> KeySet:
    """New keys: `decoy` makes the account ids of names nobody has, `tombstone` hides purged addresses."""
    keys = KeySet().with_key(DECOY, 1, secrets.token_bytes(32))
    return keys.with_key(TOMBSTONE, 1, secrets.token_bytes(32))
