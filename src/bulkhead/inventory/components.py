"""What of others is installed here, and which compartments load it: measured, with who could not be asked left out."""

import hashlib
import importlib.metadata
import json
import platform
import re
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend
from packaging.utils import canonicalize_name

from bulkhead.boundary.processes import PROCESSES
from bulkhead.errors import ConfigError
from bulkhead.inventory.loaded import COMMANDS, IMAGE

LOAD_SECONDS = 120
PYTHON, OPENSSL, SQLITE, SODIUM, UV = "python", "openssl", "sqlite", "libsodium", "libuv"
US = "bulkhead"
PACKAGE, PLATFORM, LIBRARY = "package", "platform", "library"
_FILES = {OPENSSL: "libcrypto", SQLITE: "libsqlite3"}  # which shared object is the interpreter's, where it is one
_VERSION = re.compile(r"\d+(?:\.\d+)+[a-z]?")
_LICENCE_MAX = 100
_LICENCES = {PYTHON: "PSF-2.0", OPENSSL: "Apache-2.0", SQLITE: "blessing", SODIUM: "ISC", UV: "MIT"}


@dataclass(frozen=True, slots=True)
class Component:
    """One of others' components. version: empty where it does not tell. within: the package that brings it along.

    kind: `package` (a distribution of PyPI), `platform` (interpreter and what it is linked with, and what a package
    brings compiled in) or `library` (another shared object that is mapped, by its file's name).
    sha256: of the distribution's RECORD, which lists a hash for each of its files, or of the file; hexadecimal.
    used: compartments whose own modules load it, and `cli`. mapped: those that have it in memory because their image
    does. since: ms, since when it lies here as it is.
    """

    name: str
    version: str
    kind: str
    licence: str
    sha256: str
    within: str = ""
    since: int = 0
    used: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    places: tuple[str, ...] = ()  # what its shared objects are found by: names below site-packages, or its path

    @property
    def purl(self) -> str:
        """Its package URL, without a version where that is unknown."""
        kind = "pypi" if self.kind == PACKAGE else "generic"
        return f"pkg:{kind}/{self.name}" + f"@{self.version}" * bool(self.version)

    @property
    def reference(self) -> str:
        """What names it alone among the components of one document."""
        return self.purl + f"#{self.within}" * bool(self.within)


Loads = Mapping[str, Mapping[str, Sequence[str]]]


def measure_loads() -> Loads:
    """As `loaded` prints it, once for what is installed now. Raises ConfigError where it does not end well."""
    installed = importlib.metadata.distributions()
    return _measured(tuple((one.metadata["Name"], one.version, _since(one)) for one in installed))


@lru_cache(maxsize=1)
def _measured(_: tuple[tuple[str, str, int], ...]) -> Loads:
    command = [sys.executable, "-I", "-B", "-m", "bulkhead.inventory.loaded"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=LOAD_SECONDS, check=False, stdin=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"what compartments load was not known within {LOAD_SECONDS} s; is the host busy?") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise ConfigError(f"what compartments load cannot be measured: {words[0][:200]}")
    return dict(json.loads(done.stdout))


def components(loads: Loads) -> tuple[Component, ...]:
    """Everything, packages first, by name."""
    modules = {name: frozenset(row["modules"]) for name, row in loads.items()}
    libraries = {name: frozenset(row["libraries"]) for name, row in loads.items()}
    packages, files = list(_packages(modules)), list(_libraries(libraries))
    since = {row.name: row.since for row in packages} | {row.name.partition(".")[0]: row.since for row in files}
    rows = [*packages, *_platform(modules, since), *files]
    order = (PACKAGE, PLATFORM, LIBRARY)
    return tuple(sorted(rows, key=lambda row: (order.index(row.kind), row.name, row.within)))


def digest(rows: Sequence[Component]) -> bytes:
    """SHA-256 of what is installed: a line a component, `kind name version within sha256`, in the order of octets."""
    lines = sorted(f"{row.kind} {row.name} {row.version} {row.within} {row.sha256}\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).digest()


def find(rows: Sequence[Component], name: str) -> list[Component]:
    """Components of that name, and those that a package of that name brings along."""
    wanted = canonicalize_name(name)
    return [row for row in rows if wanted in {row.name, row.within}]


def _packages(modules: Mapping[str, frozenset[str]]) -> Iterator[Component]:
    tops: dict[str, set[str]] = {}
    for top, owners in importlib.metadata.packages_distributions().items():
        for owner in owners:
            tops.setdefault(canonicalize_name(owner), set()).add(top)
    seen = {US}
    for found in importlib.metadata.distributions():
        name = canonicalize_name(found.metadata["Name"] or "")
        if not name or name in seen:  # the first on the path is what is imported
            continue
        seen.add(name)
        record = found.read_text("RECORD") or ""
        row = Component(
            name, found.version, PACKAGE, _licence(found.metadata), hashlib.sha256(record.encode()).hexdigest(),
            since=_since(found), places=tuple(sorted(tops.get(name, ()))),
        )  # fmt: skip
        yield _with_users(row, {who for who, has in modules.items() if has & tops.get(name, set())})


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """An SPDX expression where the package has one, else its own words."""
    fields = metadata.json
    said = str(fields.get("license_expression") or fields.get("license") or "").strip()
    if said and len(said) <= _LICENCE_MAX and said.isprintable():
        return said
    listed = [str(line).rpartition(" :: ")[2] for line in fields.get("classifier", ()) if "License ::" in str(line)]
    return " or ".join(listed)[:_LICENCE_MAX]


def _platform(modules: Mapping[str, frozenset[str]], since: Mapping[str, int]) -> Iterator[Component]:
    """The interpreter and what it is linked with; and what packages bring compiled in. since: of packages and files."""
    names = set(modules)

    def loading(*wanted: str) -> set[str]:
        return {who for who, has in modules.items() if has & set(wanted)}

    for name, version, within, who in (
        (PYTHON, platform.python_version(), "", names),
        (OPENSSL, _version(ssl.OPENSSL_VERSION), "", loading("_ssl", "_hashlib")),
        (OPENSSL, _version(backend.openssl_version_text()), "cryptography", loading("cryptography")),
        (SQLITE, sqlite3.sqlite_version, "", loading("_sqlite3")),
        (SODIUM, "", "pynacl", loading("nacl")),  # its wheel leaves out what would tell the version
        (UV, _libuv(), "uvloop", loading("uvloop")),
    ):
        file = within or _FILES.get(name, "")
        row = Component(name, version, PLATFORM, _LICENCES[name], "", within, since.get(file, 0))
        if name == PYTHON:
            binary = Path(sys.executable).resolve()
            row = replace(row, sha256=_file_digest(binary), since=_changed(binary))
        yield _with_users(row, who)


def _version(text: str) -> str:
    found = _VERSION.search(text)
    return found[0] if found else ""


@lru_cache(maxsize=1)
def _libuv() -> str:
    """Asked in a process of its own: the command line has no use for an event loop in C."""
    code = "import uvloop.loop as l; v = l.libuv_get_version(); print(v >> 16, v >> 8 & 255, v & 255, sep='.')"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else ""


def _libraries(libraries: Mapping[str, frozenset[str]]) -> Iterator[Component]:
    """Shared objects that are neither a package's nor the interpreter's own extensions."""
    every = sorted(set().union(*libraries.values()))
    for path in every:
        if {"site-packages", "dist-packages", "lib-dynload"} & set(Path(path).parts):
            continue
        row = Component(
            Path(path).name, "", LIBRARY, "", _file_digest(Path(path)), "", _changed(Path(path)), (), (), (path,)
        )
        yield _with_users(row, {who for who, has in libraries.items() if path in has})


def _with_users(row: Component, loading: set[str]) -> Component:
    used = tuple(name for name in (*PROCESSES, COMMANDS) if name in loading)
    mapped = tuple(name for name, process in PROCESSES.items() if IMAGE + process.image.value in loading)
    return replace(row, used=used, mapped=mapped)


def _since(found: importlib.metadata.Distribution) -> int:
    records = (file for file in found.files or () if file.name == "RECORD" and len(file.parts) == 2)
    return max((_changed(Path(str(found.locate_file(file)))) for file in records), default=0)


def _changed(path: Path) -> int:
    """ms of the file's last change of content, name or owner, which no installer sets back; 0: it is not there."""
    try:
        return path.stat().st_ctime_ns // 1_000_000
    except OSError:
        return 0


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, partial(hashlib.new, "sha256")).hexdigest()
    except OSError:
        return ""
