"""The directory between primary and standby: files that appear whole, and go when the standby has no more need of them.

    PLACE/TENANT/<compartment>/<stream>/lead                what the stream begins with
    PLACE/TENANT/<compartment>/<stream>/<number>.piece      numbers from 1, without a gap
    PLACE/TENANT/tenant.toml                                the primary's settings of the tenant
    PLACE/TENANT/have                                       segments of store that the standby has for good; by it
    PLACE/TENANT/ask, PLACE/TENANT/grant                    the lease that is asked for, and its grant
    PLACE/TENANT/term                                       the term of a promotion, signed

All of it is ciphertext, numbers or signed: whoever carries it reads nothing, and what he changes is noticed.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bulkhead.durable import sync_folder
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.standby import LEAD_MAX, PIECE_MAX, Lead, read_lead, read_piece

STREAM = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PIECE = re.compile(r"(\d{12})\.piece")
SETTINGS = "tenant.toml"  # the primary's, of the tenant
_TERM = b"bulkhead/standby-term/1\n"
SMALL_MAX = 1 << 20
NUMBERS = 1 << 63  # of segments, and of a lineage, below


class Place:
    """The part of the directory that is one tenant's."""

    def __init__(self, directory: Path, tenant: TenantId) -> None:
        self.tenant, self.path = tenant, directory / tenant

    def stream(self, compartment: str, stream: str) -> "StreamFolder":
        """One stream, there or not. Raises ValueError for a name that is none."""
        if not STREAM.fullmatch(stream):
            raise ValueError(f"{stream!r} is no stream's name")
        return StreamFolder(self.path / compartment / stream, compartment)

    def streams(self, compartment: str) -> list[str]:
        """The names of a compartment's streams that have a lead, the oldest first."""
        folder = self.path / compartment
        if not folder.is_dir():
            return []
        return sorted(e.name for e in folder.iterdir() if STREAM.fullmatch(e.name) and (e / "lead").exists())

    def read(self, name: str) -> bytes:
        """A small file; empty where it is not there."""
        return _read(self.path / name, SMALL_MAX)

    def write(self, name: str, content: bytes) -> None:
        """Put a small file in the place of the older one."""
        make_folder(self.path)
        put(self.path / name, content)

    def have(self) -> tuple[int, tuple[int, ...]]:
        """(lineage, segments) that the standby says it has for good."""
        return read_have(self.read("have"))

    def superseded(self, witness: Ed25519PublicKey) -> int:
        """The term of a promotion; 0 where there was none."""
        return read_term(witness, self.tenant, self.read("term"))

    def supersede(self, key: Ed25519PrivateKey, term: int) -> None:
        """Say that a standby took over."""
        text = json.dumps({"tenant": self.tenant, "term": term}, sort_keys=True).encode("ascii")
        self.write("term", text + key.sign(_TERM + text))


def read_have(content: bytes) -> tuple[int, tuple[int, ...]]:
    """(lineage, segments) that the standby says it has for good; nothing where it says what cannot be."""
    try:
        fields = json.loads(content)
        lineage, segments = int(fields["lineage"]), tuple(sorted({int(number) for number in fields["segments"]}))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return 0, ()
    return (lineage, segments) if all(0 <= n < NUMBERS for n in (lineage, *segments)) else (0, ())


def read_term(witness: Ed25519PublicKey, tenant: TenantId, content: bytes) -> int:
    """The term of a promotion; 0 where there was none. What is not signed by the standby counts for nothing."""
    text, signature = content[:-64], content[-64:]
    try:
        witness.verify(signature, _TERM + text)
        fields = json.loads(text)
        return int(fields["term"]) if fields["tenant"] == tenant else 0
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return 0


class StreamFolder:
    """One stream's files."""

    def __init__(self, path: Path, compartment: str) -> None:
        self.path, self.compartment = path, compartment

    def begin(self, lead: bytes) -> None:
        """Make it."""
        make_folder(self.path)
        put(self.path / "lead", lead)

    def add(self, number: int, piece: bytes) -> None:
        """Put a piece there; durable on return."""
        put(self._piece(number), piece)

    def lead(self) -> Lead:
        """Its lead. Raises IntegrityError."""
        lead = read_lead(_read(self.path / "lead", LEAD_MAX))
        if (lead.head.compartment, lead.head.backup) != (self.compartment, self.path.name):
            raise IntegrityError(f"{self.path} has the lead of another stream")
        return lead

    def numbers(self) -> list[int]:
        """The pieces that are there, in order."""
        if not self.path.is_dir():
            return []
        return sorted(int(match[1]) for e in self.path.iterdir() if (match := _PIECE.fullmatch(e.name)))

    def after(self, number: int, digest: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
        """(number, flags, digest, piece) of each piece behind `number`, whose digest is given, up to the first gap.

        Raises IntegrityError where a piece does not continue the chain.
        """
        while octets := _read(self._piece(number + 1), PIECE_MAX + 1):
            found, flags, before = read_piece(octets)
            if (found, before) != (number + 1, digest):
                raise IntegrityError(f"{self._piece(number + 1)} does not continue the stream: ask who changed it")
            number, digest = found, hashlib.sha256(octets).digest()
            yield number, flags, digest, octets

    def part(self, number: int) -> Path:
        """Where a piece is while it comes."""
        return self.path / f".{number:012d}.part"

    def add_part(self, number: int) -> None:
        """Make of a piece that came whole one that is there; durable on return."""
        part = self.part(number)
        sync_file(part)
        part.rename(self._piece(number))
        sync_folder(self.path)

    def digest(self, number: int) -> bytes:
        """SHA-256 of a piece that is there; of the lead for 0."""
        return hashlib.sha256(_read(self._piece(number) if number else self.path / "lead", PIECE_MAX + 1)).digest()

    def forget(self, number: int) -> None:
        """Remove the pieces up to this one."""
        for one in self.numbers():
            if one <= number:
                self._piece(one).unlink(missing_ok=True)

    def _piece(self, number: int) -> Path:
        return self.path / f"{number:012d}.piece"


def put(path: Path, content: bytes) -> None:
    """A whole file under its name, durable on return, in the place of an older one."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """What was written to a file is durable on return; one that is not there needs nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a directory that only its owner enters, and those above, durable on return."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def _read(path: Path, limit: int) -> bytes:
    """The file, empty where there is none. Raises IntegrityError where it is larger."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return b""
    if len(content) > limit:
        raise IntegrityError(f"{path} is larger than anything that belongs there")
    return content
