"""Accounts that are being made: one small file each, so that a command that was cut short can be run again.

States of an account on its way, each safe to be cut off in:
  no file                  nothing was begun, or all of it is done
  file, address unknown    keys and mailbox may exist under the id in the file, and nobody can reach them: they are
                           destroyed, and the account is made afresh under a new id
  file, address known      directory has the account under that id: done, but for the file
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from bulkhead.cli.secret_file import make_private_folder, write_secret
from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import AccountId, Address, format_id, parse_id
from bulkhead.supervisor.layout import Layout

FOLDER = "pending"
_MODE = 0o600
_TEXT_MAX = 64
LOCK_POLL_SECONDS = 0.05


class PendingAccount:
    """The note of one address. The file's name is a digest: an address in it would outlive the account."""

    def __init__(self, layout: Layout, address: Address) -> None:
        name = hashlib.sha256(address.key.encode()).hexdigest()[:32]
        self._path: Path = _folder(layout) / name

    @property
    def name(self) -> str:
        """The name of its file: 32 hexadecimal digits."""
        return self._path.name

    def beside(self, suffix: str) -> Path:
        """Another note of the same address."""
        return self._path.with_suffix(suffix)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """No other command makes or unmakes the account of this address meanwhile; waits for whoever does.

        One that took the note of another for its own, cut off, would destroy what that is just making.
        """
        path = self.beside(".lock")
        make_private_folder(path.parent)
        while (descriptor := _locked(path)) is None:
            await asyncio.sleep(LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def read(self) -> AccountId | None:
        """The id under which it was begun, or None. Raises ConfigError on a file that is none of ours."""
        try:
            text = self._path.read_text("ascii")[:_TEXT_MAX].strip()
        except FileNotFoundError:
            return None
        if not text:  # cut off before its first byte: nothing was begun under it
            return None
        try:
            return AccountId(parse_id("acc", text))
        except (PeerError, UnicodeDecodeError):
            raise ConfigError(f"{self._path} is no note of an account; remove it") from None

    def write(self, account: AccountId) -> None:
        """Note that this account is begun, durably."""
        self.clear()
        write_secret(self._path, format_id("acc", account).encode("ascii") + b"\n", mode=_MODE)

    def clear(self) -> None:
        """All of it is done."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock, or None where another has it, or has just removed the file that was locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    os.close(descriptor)
    return None


def clear_note(layout: Layout, name: str) -> None:
    """Clear the note of that name. Raises ValueError for what is no name of one."""
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise ValueError("no name of a note")
    (_folder(layout) / name).unlink(missing_ok=True)


def _folder(layout: Layout) -> Path:
    return layout.socket.parent / FOLDER / layout.tenant
