"""The key that incident is made with. For `init` and `tenant add`."""

import secrets

from bulkhead.records.keyfile import KeySet

SEED = "seed"
AUTOMATIC = "automatic"


def create_keys() -> KeySet:
    """`seed` hides which account ids are canaries; `automatic` (Ed25519) signs orders where a roster has it."""
    return KeySet().with_key(SEED, 1, secrets.token_bytes(32)).with_key(AUTOMATIC, 1, secrets.token_bytes(32))
