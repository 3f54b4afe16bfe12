"""Root keys under custody `file`: 32 bytes beside the installation, handed to their compartment by descriptor.

A compartment's root key changes when one of its version keys is destroyed, so that no copy of an earlier key file opens
under the new one. `next` is durable before the compartment has it, and becomes `root` after the key file is under it:

    root               the key file is under it
    root, next         under one of the two: the compartment is given both, and takes the one that fits
    next as root       the old one was overwritten first

Standard library only.
"""

import os
import secrets
from pathlib import Path

from bulkhead.errors import ConfigError
from bulkhead.supervisor.control import ROOT_KEY_BYTES
from bulkhead.supervisor.layout import Layout


def read_roots(layout: Layout, compartment: str) -> list[bytes]:
    """The root key, and the next one where a change is under way. Raises ConfigError."""
    roots = [_read(layout.root_key(compartment))]
    following = layout.next_root_key(compartment)
    if following.exists():
        roots.append(_read(following))
    return roots


def prepare_root(layout: Layout, compartment: str) -> bytes:
    """The root key to change to, durable: a new one, or the one of a change that was cut short. Raises ConfigError."""
    path = layout.next_root_key(compartment)
    if path.exists():
        return _read(path)
    key, made = secrets.token_bytes(ROOT_KEY_BYTES), path.with_suffix(".made")
    try:
        made.unlink(missing_ok=True)
        _write(made, os.O_CREAT | os.O_EXCL, key)
        made.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; run as the user who runs the cell, or root") from None
    return key


def adopt_root(layout: Layout, compartment: str) -> None:
    """The next root key takes the place of the old one, which is overwritten; nothing where there is none.

    To be called once the compartment's key file is under it. Raises ConfigError.
    """
    following, root = layout.next_root_key(compartment), layout.root_key(compartment)
    if not following.exists():
        return
    try:
        if root.exists():
            root.chmod(0o600)
            _write(root, 0, secrets.token_bytes(ROOT_KEY_BYTES))
        following.rename(root)
        _sync_folder(root.parent)
    except OSError as error:
        raise ConfigError(f"{root}: {error.strerror}; run as the user who runs the cell, or root") from None


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; restore it from your custody copy") from None
    if len(key) != ROOT_KEY_BYTES:
        raise ConfigError(f"{path} is no root key of {ROOT_KEY_BYTES} bytes; restore it from custody")
    return key


def _write(path: Path, flags: int, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o400)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError("it could not be written whole")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
