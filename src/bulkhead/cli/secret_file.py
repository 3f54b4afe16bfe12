"""Files that hold a key: readable by their owner alone from the first byte on, and durable when written."""

import os
from pathlib import Path

from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError

SECRET_MODE = 0o400
FOLDER_MODE = 0o700


def make_private_folder(path: Path) -> None:
    """Make a directory that only its owner enters, and its parents likewise where they are missing."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE)


def write_secret(path: Path, content: bytes, *, mode: int = SECRET_MODE) -> None:
    """Write a new file durably. Raises ConfigError where it exists: a key is never overwritten."""
    make_private_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; it is left as it is") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def read_secret(path: Path, limit: int) -> str:
    """The text of a key file of at most `limit` octets. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ConfigError(f"{path} is larger than {limit} octets: not a key file")
        return content.decode("ascii")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; name the file's right place") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no key file: name the file's right place") from None
