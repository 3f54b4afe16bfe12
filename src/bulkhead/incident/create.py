"""The key that incident is made with. For `init` and `tenant add`."""

import secrets

from bulkhead.records.keyfile import KeySet

SEED = "seed"


def create_keys() -> KeySet:
    """A new key: `seed` hides which account ids are canaries."""
    return KeySet().with_key(SEED, 1, secrets.token_bytes(32))
