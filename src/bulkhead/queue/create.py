"""The keys that queue is made with: none. What it holds is sealed to keyring's key."""

from bulkhead.records.keyfile import KeySet


def create_keys() -> KeySet:
    """An empty key set."""
    return KeySet()
