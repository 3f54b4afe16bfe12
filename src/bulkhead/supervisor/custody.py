"""Custody of root keys: 32 octets a holder, handed to it by descriptor, whatever keeps them.

A compartment's root key changes when one of its version keys is destroyed, so that no copy of an earlier key file opens
under the new one. `next` is durable before the compartment has it, and becomes `root` after the key file is under it:

    root               the key file is under it
    root, next         under one of the two: the compartment is given both, and takes the one that fits
    next as root       the old one was destroyed first, in its own way

`file`: the file is the key. `pkcs11`: the file is the key wrapped under a key of the token, made for it alone, which
never leaves the token and is destroyed with it. A file says itself which it is, so that a change of mode takes effect
with the next root key. Another mode (a key service) is another Keeper. Standard library only.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bulkhead.config.load import Tenant
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError
from bulkhead.supervisor.control import ROOT_KEY_BYTES
from bulkhead.supervisor.layout import Layout

TOKEN_SECONDS = 20.0
LOCK_POLL_SECONDS = 0.05
WRAPPED = "bulkhead-pkcs11/1"  # first line of a wrapped root key; then the label, then the wrapped key in hex
FILE_MAX = 4096


class Keeper(Protocol):
    """What a mode does."""

    @property
    def name(self) -> str:
        """The mode, as settings and the ledger name it."""

    @property
    def unproven(self) -> tuple[str, ...]:
        """What it cannot prove, each a clause with `that`."""

    def wrap(self, label: str, key: bytes) -> bytes:
        """What the file of this root key holds. Raises ConfigError."""

    def unwrap(self, content: bytes) -> bytes:
        """The root key of a file of this mode. Raises ConfigError."""

    def destroy(self, content: bytes) -> None:
        """Destroy whatever but the file opens it; idempotent. Raises ConfigError."""


class FileKeeper:
    """The file is the key."""

    name = "file"
    unproven = (
        "that no copy of a destroyed root key exists: a backup, a snapshot, a thief's",
        "that overwriting reached the medium: flash and file systems that copy on write may keep the old blocks",
    )

    def wrap(self, _: str, key: bytes) -> bytes:
        """The key."""
        return key

    def unwrap(self, content: bytes) -> bytes:
        """The content."""
        return content

    def destroy(self, _: bytes) -> None:
        """Nothing but the file."""


@dataclass(frozen=True, slots=True)
class TokenKeeper:
    """A token behind PKCS#11. module: path of its library. pin_file: holds the user's PIN."""

    module: str
    token: str
    pin_file: str
    name: str = "pkcs11"
    unproven: tuple[str, ...] = (
        "that no copy of a root key exists that was in force under custody `file` before",
        "that nobody copied a root key from the memory of its compartment, which has it while it runs",
        "that the token keeps its word: CKA_NEVER_EXTRACTABLE is the token's own statement, and of a token in software "
        "(SoftHSM) and of a token's own backups it proves nothing",
    )

    def wrap(self, label: str, key: bytes) -> bytes:
        """The key under a new key of the token."""
        return f"{WRAPPED}\n{label}\n{self._act('wrap', label, key).hex()}\n".encode("ascii")

    def unwrap(self, content: bytes) -> bytes:
        """The key, by the token."""
        return self._act("unwrap", *_wrapped(content))

    def destroy(self, content: bytes) -> None:
        """The token's key: what was wrapped under it is lost with every copy of the file."""
        self._act("destroy", *_wrapped(content))

    def _act(self, act: str, label: str, content: bytes) -> bytes:
        order = {
            "act": act, "module": self.module, "token": self.token, "pin_file": self.pin_file, "label": label,
            "content": content.hex(),
        }  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name in {"LANG", "SOFTHSM2_CONF"}}
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-B", "-m", "bulkhead.custody.loader"], input=json.dumps(order), text=True,
                capture_output=True, timeout=TOKEN_SECONDS, check=False, env=environment, cwd="/",
            )  # fmt: skip
            if done.returncode:
                raise ConfigError(f"custody pkcs11: {label}: {done.stderr.strip()[-500:]}")
            return bytes.fromhex(done.stdout.strip())
        except subprocess.TimeoutExpired:
            raise ConfigError(f"custody pkcs11: {label}: the token did not answer within {TOKEN_SECONDS} s") from None
        except ValueError:
            raise ConfigError(f"custody pkcs11: {label}: the token's answer is not readable") from None


class Custody:
    """The root keys of one tenant."""

    def __init__(self, layout: Layout, tenant: Tenant) -> None:
        settings = tenant.settings
        self._layout = layout
        self._token = TokenKeeper(
            settings.text("custody.module"), settings.text("custody.token"), settings.text("custody.pin_file")
        )
        self.keeper: Keeper = self._token if settings.text("custody.mode") == "pkcs11" else FileKeeper()

    def read(self, compartment: str) -> list[bytes]:
        """The root key, and the next one where a change is under way. Raises ConfigError."""
        root, following = self._layout.root_key(compartment), self._layout.next_root_key(compartment)
        if not following.exists():
            return [self._open(root)]
        found: list[bytes] = []
        with contextlib.suppress(ConfigError):  # it may be destroyed already
            found.append(self._open(root))
        return [*found, self._open(following)]

    def mode_of(self, compartment: str) -> str:
        """How the root key in force is kept, whatever the setting says by now. Raises ConfigError."""
        return self._keeper_of(_read(self._layout.root_key(compartment))).name

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Nobody else changes a root key of this tenant meanwhile; waits for whoever does. Raises ConfigError.

        Two commands that each prepare a key would have the compartment under one of them, and keep the other.
        """
        folder = self._layout.root_key("").parent
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}; run as the user who runs the cell, or root") from None
        try:
            while not _lock(descriptor):
                await asyncio.sleep(LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def prepare(self, compartment: str) -> bytes:
        """The root key to change to, durable: a new one, or the one of a change cut short. Raises ConfigError.

        Within `changing`, which also has to hold until `adopt`.
        """
        path = self._layout.next_root_key(compartment)
        if path.exists():
            return self._open(path)
        key, made = secrets.token_bytes(ROOT_KEY_BYTES), path.with_suffix(".made")
        label = f"bulkhead/{self._layout.tenant}/{compartment}/{secrets.token_hex(8)}"
        content = self.keeper.wrap(label, key)
        try:
            made.unlink(missing_ok=True)
            _write(made, os.O_CREAT | os.O_EXCL, content)
            made.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; run as the user who runs the cell, or root") from None
        return key

    def adopt(self, compartment: str) -> None:
        """The next root key takes the place of the old one, which is destroyed; nothing where there is none.

        To be called once the compartment's key file is under it. Raises ConfigError.
        """
        following, root = self._layout.next_root_key(compartment), self._layout.root_key(compartment)
        if not following.exists():
            return
        try:
            if root.exists():
                content = _read(root)
                self._keeper_of(content).destroy(content)
                root.chmod(0o600)
                if not content.startswith(WRAPPED.encode()):  # a wrapped one opens no more; it names what is gone
                    _write(root, 0, secrets.token_bytes(len(content)))
            following.rename(root)
            sync_folder(root.parent)
        except OSError as error:
            raise ConfigError(f"{root}: {error.strerror}; run as the user who runs the cell, or root") from None

    def _open(self, path: Path) -> bytes:
        content = _read(path)
        key = self._keeper_of(content).unwrap(content)
        if len(key) != ROOT_KEY_BYTES:
            raise ConfigError(f"{path} is no root key of {ROOT_KEY_BYTES} bytes; restore it from custody")
        return key

    def _keeper_of(self, content: bytes) -> Keeper:
        return self._token if content.startswith(WRAPPED.encode()) else FileKeeper()


def _lock(descriptor: int) -> bool:
    """Whether the lock is ours; it ends with the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wrapped(content: bytes) -> tuple[str, bytes]:
    """(label, wrapped key) of a file of custody pkcs11. Raises ConfigError."""
    try:
        _, label, wrapped = content.decode("ascii").split("\n", 2)
        return label, bytes.fromhex(wrapped.strip())
    except ValueError:
        raise ConfigError("a wrapped root key is not of the form this version writes; restore it from a copy") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; restore it from your custody copy") from None


def _write(path: Path, flags: int, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o400)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError("it could not be written whole")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
