"""Sets of accounts that stops name: read from a file of ids, known by their digest, staged at who guards a surface."""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.surfaces import ID_BYTES, SET_ACCOUNTS_MAX, AccountsStaged
from bulkhead.cli.output import say
from bulkhead.cli.road import Road, stamp
from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import parse_id

STAGE_SECONDS = 120.0
GUARDS: dict[str, Any] = {"keyring": to_keyring, "auth": to_auth, "queue": to_queue, "store": to_store}


def read_accounts(path: Path) -> bytes:
    """A file of account ids, one a line, as the sorted set of their octets. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return set_of(parse_id("acc", line) if line.startswith("acc_") else bytes.fromhex(line) for line in lines)
    except (ValueError, PeerError) as error:
        raise ConfigError(f"{path}: {error}; it has one account id a line (acc_... or 32 hexadecimal digits)") from None


def set_of(ids: Iterable[bytes]) -> bytes:
    """Ids, sorted and each once. Raises ValueError."""
    found = sorted(set(ids))
    if not found or len(found) > SET_ACCOUNTS_MAX or any(len(one) != ID_BYTES for one in found):
        raise ValueError(f"a set has 1 to {SET_ACCOUNTS_MAX:,} ids of {ID_BYTES} octets")
    return b"".join(found)


async def stage(road: Road, compartments: Iterable[str], ids: bytes) -> bytes:
    """The digest of a set that these compartments now know; empty for everybody. Raises as they answer."""
    if not ids:
        return b""
    digest = hashlib.sha256(ids).digest()

    async def at(name: str) -> AccountsStaged:
        request = GUARDS[name].StageAccounts(stamp(STAGE_SECONDS), digest)
        staged: AccountsStaged = await road.send(name, request, ids, timeout=STAGE_SECONDS)
        return staged

    for name, staged in zip(compartments, await asyncio.gather(*map(at, compartments)), strict=True):
        if not staged.durable:
            say(f"{name}: the set of accounts is in memory alone: the disk refused it")
    return digest
