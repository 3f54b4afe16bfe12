"""First passwords on their way to print: addresses with their passwords, sealed to the partner's recovery key alone.

A stream in the form of a list of bindings (bindings.py): pages of JSON Lines, in the order of the provisioning file.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from bulkhead.exports.bindings import COMPARTMENT, pages_of
from bulkhead.identifiers import TenantId
from bulkhead.records.backup import Head, Recipients, StreamSealer
from bulkhead.records.mailbox import RecoveryKey
from bulkhead.records.recovery_file import RecoveryPrivateKey

CONTENT = "letters"


def sealer_of(tenant: TenantId, partner: RecoveryKey, created: int, build: str) -> StreamSealer:
    """A new stream. created: ms."""
    return StreamSealer(Head(tenant, COMPARTMENT, CONTENT, CONTENT, created, build), Recipients(partner, partner))


def page_of(letters: Iterable[tuple[str, str]]) -> bytes:
    """A page's JSON Lines, of (address, password)."""
    rows = ({"address": address, "password": password} for address, password in letters)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read_letters(path: Path, tenant: TenantId, key: RecoveryPrivateKey) -> Iterator[tuple[str, str]]:
    """(address, password), in order. Raises IntegrityError: another file, another key, changed octets."""
    for page in pages_of(path, tenant, key, CONTENT):
        for line in page.splitlines():
            row = json.loads(line)
            yield row["address"], row["password"]
