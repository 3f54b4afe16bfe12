"""The keys of a new tenant's auth, made offline at `tenant add`."""

import secrets

from bulkhead.auth.rows import AUTH, INDEX
from bulkhead.records.keyfile import KeySet, NamedKey


def create_keys() -> KeySet:
    """Fresh keys, version 1 each, to seal into auth's key file."""
    return KeySet((NamedKey(AUTH, 1, secrets.token_bytes(32)), NamedKey(INDEX, 1, secrets.token_bytes(32))))
