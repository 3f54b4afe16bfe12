"""A compartment's key set under custody `file`: all its named keys with their versions, sealed under one root key.

The root key (32 bytes) is handed over by descriptor and is never beside the key set.
"""

import re
from collections.abc import Callable
from typing import ClassVar

import msgspec

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import TenantId
from bulkhead.records.record import Kind, open_, seal

KEYS_MAX = 1024
SECRET_MAX = 8192  # octets
VERSION_MAX = 0xFFFFFFFF

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


class NamedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One key. name: a-z, 0-9 and '-', at most 32; version: from 1."""

    name: str
    version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"NamedKey({self.name!r}, version={self.version})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("name", self.name), ("version", self.version)]


class KeySet(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The keys of one compartment, such as `index`, `ring`, `tight`, `auth`, `binding`, `queue`."""

    revision: ClassVar[int] = 0  # it never changes
    keys: tuple[NamedKey, ...] = ()

    def __repr__(self) -> str:
        return f"KeySet({', '.join(f'{key.name}/{key.version}' for key in self.keys)})"

    def __post_init__(self) -> None:
        seen = set()
        for key in self.keys:
            if not _NAME.fullmatch(key.name) or not 1 <= key.version <= VERSION_MAX:
                raise ValueError("a key has a name of a-z, 0-9 and '-', and a version from 1")
            if not 0 < len(key.secret) <= SECRET_MAX:
                raise ValueError("a key has 1 to 8,192 octets")
            seen.add((key.name, key.version))
        if len(seen) != len(self.keys) or len(seen) > KEYS_MAX:
            raise ValueError("a key set has at most 1,024 keys, each name and version once")

    def on_change(self, callback: Callable[[], None]) -> None:
        """Nothing to call back for."""

    def get(self, name: str, version: int) -> bytes:
        """The key of that name and version. Raises Refused: it was destroyed, or never was."""
        for key in self.keys:
            if key.name == name and key.version == version:
                return key.secret
        raise Refused(f"no key {name} of version {version} is here", code="no-key")

    def current(self, name: str) -> tuple[int, bytes]:
        """(version, key) of the highest version. Raises Refused where the name has none."""
        found = max((key for key in self.keys if key.name == name), key=lambda key: key.version, default=None)
        if found is None:
            raise Refused(f"no key {name} is here", code="no-key")
        return found.version, found.secret

    def versions(self, name: str) -> tuple[int, ...]:
        """Versions of that name, ascending."""
        return tuple(sorted(key.version for key in self.keys if key.name == name))

    def with_key(self, name: str, version: int, secret: bytes) -> "KeySet":
        """This set and one key more. Raises ValueError where that version exists."""
        return KeySet((*self.keys, NamedKey(name, version, secret)))

    def without(self, name: str, version: int) -> "KeySet":
        """This set less one key. Raises Refused where it is not there."""
        self.get(name, version)
        return KeySet(tuple(key for key in self.keys if (key.name, key.version) != (name, version)))

    def seal(
        self, tenant: TenantId, compartment: str, root_version: int, root_key: bytes, *, nonce: bytes | None = None
    ) -> bytes:
        """The KEY_SET record for the compartment's key file."""
        fields = (tenant.encode("ascii"), compartment.encode("ascii"))
        return seal(Kind.KEY_SET, root_version, root_key, msgspec.msgpack.encode(self), fields, nonce=nonce)

    @classmethod
    def open(cls, record: bytes, tenant: TenantId, compartment: str, root_key: bytes) -> "KeySet":
        """The key set. Raises IntegrityError, also for another tenant's or compartment's file."""
        body = open_(record, Kind.KEY_SET, root_key, (tenant.encode("ascii"), compartment.encode("ascii")))
        try:
            return msgspec.msgpack.decode(body, type=cls)
        except msgspec.DecodeError:
            raise IntegrityError("KEY_SET record: the layout inside is not known") from None
