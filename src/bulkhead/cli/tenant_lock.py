"""One command at a time for a tenant, where two would undo each other's work: a lock that ends with its process."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

from bulkhead.cli.output import say
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.supervisor.layout import Layout

BACKUP = "backup"
"""Held by whatever makes or removes a backup, has holders take snapshots, or backs up before it destroys."""
WAITS = "waits for a backup, an export or a rotation that is under way"
POLL_SECONDS = 0.1
_MODE = 0o600


def escrow_lock(compartment: str) -> str:
    """Held while a compartment's sealed keys are asked for and written, or destroyed with a version: seconds."""
    return f"escrow-{compartment}"


@contextlib.asynccontextmanager
async def alone(layout: Layout, work: str, waits: str = "") -> AsyncIterator[None]:
    """No other command does this for the tenant meanwhile; waits for whoever does. waits: says so, in words."""
    path = layout.lock.with_suffix(f".{work}.lock")
    make_private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        while not _locked(descriptor):
            if waits:
                say(f"{layout.tenant}: {waits}")
                waits = ""
            await asyncio.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
