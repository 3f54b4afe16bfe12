"""A holder's key file: its key set, sealed under the root key that the supervisor handed over by descriptor.

A key set changes as a whole: the new file is durable under a name of its own, takes the place of the old one, and the
old one is overwritten before it is unlinked. Cut anywhere, the next start finds one of the two whole:

    keys.sealed.new    written and synced        removed by a start: nothing rests on it yet
    keys.sealed.old    the file before           taken back where keys.sealed is missing, else overwritten
    keys.sealed        the new one               synced with its directory before anything is sealed under a new key

Overwriting reaches the file's own blocks. On flash and on file systems that copy on write an earlier copy may stay
below; that is why the key set moves to another root key when one of its keys is destroyed (docs/credentials.md,
"Custody").
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bulkhead.boundary.host import Host
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.keyfile import KeySet
from bulkhead.records.record import Kind, read_header
from bulkhead.wipe import wipe

KEY_FILE = Path("keys.sealed")  # relative: the compartment's directory is its root
KEY_FILE_MAX = 1 << 20
ROOT_BYTES = 32


class KeyFile:
    """An open key file: this compartment's keys, and the way to change them. Changes block: not for the loop's thread.

    root_version: from 1; one more with each root key. revision: how often it was changed here.
    """

    def __init__(
        self, path: Path, tenant: TenantId, compartment: str, keys: KeySet, root_version: int, root: bytes
    ) -> None:
        self.keys, self.root_version, self.tenant = keys, root_version, tenant
        self.revision = 0
        self._path, self._compartment, self._root = path, compartment, root
        self._on_change: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"KeyFile({self.keys!r}, root_version={self.root_version})"

    def get(self, name: str, version: int) -> bytes:
        """As KeySet.get, of what is in force."""
        return self.keys.get(name, version)

    def current(self, name: str) -> tuple[int, bytes]:
        """As KeySet.current."""
        return self.keys.current(name)

    def versions(self, name: str) -> tuple[int, ...]:
        """As KeySet.versions."""
        return self.keys.versions(name)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back, on the writer's thread, whenever keys were made or destroyed: what was made of them goes too."""
        self._on_change.append(callback)

    def under(self, root: bytes) -> bool:
        """Whether the file is sealed under this very root key."""
        return secrets.compare_digest(root, self._root)

    def add(self, name: str, version: int) -> None:
        """Make this version of a key, durable before it is used; nothing where it exists. Raises OSError."""
        if version not in self.versions(name):
            self._replace(self.keys.with_key(name, version, secrets.token_bytes(32)), self.root_version, self._root)

    def destroy(self, name: str, version: int, root: bytes) -> None:
        """Seal the set anew under another root key, without this version; idempotent. Raises OSError.

        The file before is overwritten, and so is the key in this process, where nothing else had a copy made.
        """
        gone = [key for key in self.keys.keys if (key.name, key.version) == (name, version)]
        if not gone and self.under(root):
            _finish(self._path)  # what an earlier try could not overwrite
            return
        keys = KeySet(tuple(key for key in self.keys.keys if key not in gone))
        own = bytes(bytearray(root))  # the request's is overwritten once it is answered
        self._replace(keys, self.root_version + (not self.under(root)), own)
        for key in gone:
            wipe(key.secret)

    def _replace(self, keys: KeySet, root_version: int, root: bytes) -> None:
        record = keys.seal(self.tenant, self._compartment, root_version, root)
        _finish(self._path)  # an earlier one that the disk refused half way
        new, old = _beside(self._path)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, record)
        finally:
            os.close(descriptor)
        self._path.rename(old)
        new.rename(self._path)
        sync_folder(self._path.parent)
        self.keys, self.root_version, self._root = keys, root_version, root
        self.revision += 1
        for callback in self._on_change:
            callback()
        _scrub(old)


def open_key_file(host: Host, path: Path = KEY_FILE) -> KeyFile:
    """This compartment's keys. Raises ConfigError when there are none, IntegrityError when they do not open."""
    if host.root_key is None:
        raise ConfigError(
            f"{host.channel.compartment} was given no root key; start it with `bulkhead cell run {host.tenant}`"
        )
    home, name = path.absolute(), f"{host.channel.compartment}/{path}"
    _finish(home)
    try:
        with home.open("rb") as file:
            record = file.read(KEY_FILE_MAX)
    except OSError as error:
        advice = "let its user read it" if isinstance(error, PermissionError) else "restore it from a backup"
        raise ConfigError(f"{name}: {error.strerror}; {advice}") from None
    fault = ""
    for root in (host.root_key, host.next_root_key):
        if root is not None:
            try:
                keys = KeySet.open(record, host.tenant, host.channel.compartment, root)
            except IntegrityError as error:
                fault = fault or error.public
                continue
            version = read_header(record, Kind.KEY_SET).key_version
            return KeyFile(home, host.tenant, host.channel.compartment, keys, version, root)
    raise IntegrityError(f"{name}: {fault}; give it the root key of {host.tenant}, or restore it from a backup")


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".new"), path.with_name(path.name + ".old")


def _finish(path: Path) -> None:
    """Bring a replacement that was cut short to its end, or back to its beginning."""
    new, old = _beside(path)
    if old.exists() and not path.exists():
        old.rename(path)
        sync_folder(path.parent)
    for left in (new, old):
        if left.exists():
            _scrub(left)


def _scrub(path: Path) -> None:
    """Overwrite, sync, unlink. A second pass adds nothing: what the first one misses is not at these blocks."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
        finally:
            os.close(descriptor)
        path.unlink()
        sync_folder(path.parent)


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)
