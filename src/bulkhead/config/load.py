"""The installation's files as one frozen Installation; every problem found is in one ConfigError.

Each line of the error names file, line, setting, value and what is allowed. Limits: a file 1 MiB, 1,000 tenants.
Standard library only: the supervisor loads this module.
"""

import difflib
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bulkhead.config import rules
from bulkhead.config.lines import key_lines, line_of
from bulkhead.config.schema import (
    FILE_BYTES_MAX,
    INSTALLATION_FILE,
    INSTALLATION_SETTINGS,
    REQUIRED,
    TENANT_SETTINGS,
    TENANTS_FOLDER,
    TENANTS_MAX,
    ZONE_BYTES_MAX,
    Setting,
)
from bulkhead.config.values import Value, parse_value
from bulkhead.errors import ConfigError, PeerError
from bulkhead.identifiers import TenantId, parse_tenant_id

PROBLEMS_MAX = 50  # lines of one ConfigError
SHOWN_MAX = 60  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: `tenants/kddi.toml:12`, or the default."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        if not self.file:
            return "default"
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Values:
    """The settings of one file, all of them: defaults filled in. A wrong key or type is our bug: ValueError."""

    values: Mapping[str, Value]
    origins: Mapping[str, Origin]

    def __getitem__(self, key: str) -> Value:
        try:
            return self.values[key]
        except KeyError:
            raise ValueError(f"no setting {key} in this file") from None

    def integer(self, key: str) -> int:
        """The value of an integer setting."""
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{key} is not an integer")
        return value

    def decimal(self, key: str) -> float:
        """The value of a number setting."""
        value = self[key]
        if not isinstance(value, float):
            raise ValueError(f"{key} is not a number")
        return value

    def boolean(self, key: str) -> bool:
        """The value of a true-or-false setting."""
        value = self[key]
        if not isinstance(value, bool):
            raise ValueError(f"{key} is not true or false")
        return value

    def text(self, key: str) -> str:
        """The value of a text, choice, name, address, path or key setting."""
        value = self[key]
        if not isinstance(value, str):
            raise ValueError(f"{key} is not text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The value of a list setting whose elements are texts."""
        value = self[key]
        if not isinstance(value, tuple):
            raise ValueError(f"{key} is not a list")
        return tuple(element for element in value if isinstance(element, str))

    def integers(self, key: str) -> tuple[int, ...]:
        """The value of a list setting whose elements are integers."""
        value = self[key]
        if not isinstance(value, tuple):
            raise ValueError(f"{key} is not a list")
        return tuple(element for element in value if isinstance(element, int))


@dataclass(frozen=True, slots=True)
class Tenant:
    """One `tenants/<id>.toml`."""

    id: TenantId
    file: str
    settings: Values

    @property
    def slot(self) -> int:
        """The number from which the cell's user ids are computed."""
        return self.settings.integer("slot")

    @property
    def disabled(self) -> bool:
        """Whether the cell stays stopped."""
        return self.settings.boolean("disabled")


@dataclass(frozen=True, slots=True)
class Installation:
    """The whole configuration: `bulkhead.toml` and the tenants by id, in the order of their slots."""

    directory: Path
    settings: Values
    tenants: Mapping[TenantId, Tenant]

    def tenant(self, text: str) -> Tenant:
        """The tenant of that id. Raises ConfigError that names the nearest one."""
        try:
            return self.tenants[parse_tenant_id(text)]
        except (PeerError, KeyError):
            near = difflib.get_close_matches(text, self.tenants, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self.tenants) or 'none'}"
            raise ConfigError(f"no tenant {text!r} in {self.directory / TENANTS_FOLDER}{hint}") from None

    def free_slot(self) -> int:
        """The lowest slot that no tenant has or had: for `tenant add`."""
        taken = {tenant.slot for tenant in self.tenants.values()} | set(self.settings.integers("retired_slots"))
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)


def load_installation(directory: Path) -> Installation:
    """The valid configuration of the installation in `directory`. Raises ConfigError: all problems, one a line."""
    try:
        present = (directory / INSTALLATION_FILE).exists()
        files = _tenant_files(directory)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be read: {error.strerror}; run as the user who made it") from None
    if not present:
        raise ConfigError(
            f"{directory} holds no {INSTALLATION_FILE}: name an installation with -C DIR, "
            "or make one: bulkhead init DIR"
        )
    problems: list[str] = []
    settings = _read_settings(directory, INSTALLATION_FILE, INSTALLATION_SETTINGS, problems)
    tenants: list[Tenant] = []
    if len(files) > TENANTS_MAX:
        problems.append(f"{TENANTS_FOLDER}: {len(files)} tenants; one installation has at most {TENANTS_MAX}")
    for file in files[:TENANTS_MAX]:
        values = _read_settings(directory, file, TENANT_SETTINGS, problems)
        if values is not None:
            tenants.append(Tenant(TenantId(values.text("id")), file, values))
    tenants.sort(key=lambda tenant: tenant.slot)
    problems += rules.between_tenants(
        [(tenant.file, tenant.settings.values) for tenant in tenants],
        settings.integers("retired_slots") if settings else (),
    )
    if problems or settings is None:
        more = [f"and {len(problems) - PROBLEMS_MAX} more"] if len(problems) > PROBLEMS_MAX else []
        raise ConfigError("\n".join(problems[:PROBLEMS_MAX] + more))
    return Installation(directory, settings, MappingProxyType({tenant.id: tenant for tenant in tenants}))


def parse_tenant(file: str, text: str) -> Tenant:
    """The tenant whose settings a text has. file: its name in errors. Raises ConfigError."""
    problems: list[str] = []
    values = _parse_settings(text, file, TENANT_SETTINGS, problems)
    if values is None:
        raise ConfigError("\n".join(problems[:PROBLEMS_MAX]))
    return Tenant(TenantId(values.text("id")), file, values)


def check_files(installation: Installation) -> None:
    """Read every file that a setting names (zone files). Raises ConfigError as load_installation does."""
    problems = []
    for tenant in installation.tenants.values():
        try:
            read_zone(installation, tenant)
        except ConfigError as error:
            problems.append(error.public)
    if problems:
        raise ConfigError("\n".join(problems))


def read_zone(installation: Installation, tenant: Tenant) -> str:
    """The text of the tenant's `resolver.zone_file`, at most 1 MiB; empty where none is set. Raises ConfigError."""
    name = tenant.settings.text("resolver.zone_file")
    if not name:
        return ""
    try:
        return read_text(installation.directory / name, ZONE_BYTES_MAX)
    except ValueError as error:
        origin = tenant.settings.origins["resolver.zone_file"]
        raise ConfigError(f'{origin}: resolver.zone_file = "{name}": the file {error}') from None


def read_text(path: Path, limit: int) -> str:
    """The text of a regular UTF-8 file of at most `limit` octets. Raises ValueError: what is wrong with the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold us
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        octets = file.read(limit + 1)
    if len(octets) > limit:
        raise ValueError(f"is larger than {limit} octets")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at octet {error.start}") from None


def _tenant_files(directory: Path) -> list[str]:
    """The names `tenants/<id>.toml` that are there, sorted."""
    folder = directory / TENANTS_FOLDER
    if not folder.is_dir():
        return []
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".toml" and entry.name[0] != ".")
    return [f"{TENANTS_FOLDER}/{name}" for name in names]


def _read_settings(directory: Path, file: str, table: Mapping[str, Setting], problems: list[str]) -> Values | None:
    """The settings of one file, or None after at least one problem was added."""
    try:
        text = read_text(directory / file, FILE_BYTES_MAX)
    except ValueError as error:
        problems.append(f"{file}: {error}")
        return None
    return _parse_settings(text, file, table, problems)


def _parse_settings(text: str, file: str, table: Mapping[str, Setting], problems: list[str]) -> Values | None:
    """The same of a text."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        problems.append(f"{file}: not valid TOML: {str(error)[:200]}")
        return None
    lines = key_lines(text)
    before = len(problems)
    values: dict[str, Value] = {}
    origins: dict[str, Origin] = {}
    wrong: set[str] = set()
    for key, raw in _flatten(document, table):
        origin = Origin(file, line_of(lines, key))
        setting = table.get(key)
        if setting is None:
            problems.append(f"{origin}: {_unknown(key, raw, table)}")
            continue
        try:
            values[key], origins[key] = parse_value(setting.kind, raw, setting.bounds), origin
        except ValueError as error:
            wrong.add(key)
            problems.append(f"{origin}: {key} = {_shown(raw)}: must be {error}")
    for key, setting in table.items():
        if key in values or key in wrong:
            continue
        if setting.default is not REQUIRED:
            values[key], origins[key] = setting.default, Origin()
        else:
            problems.append(f"{file}: {key} is missing: {setting.sentence}")
    if len(problems) == before:
        problems += [f"{origins[key]}: {text}" for key, text in rules.within(file, values)]
    if len(problems) > before:
        return None
    return Values(MappingProxyType(values), MappingProxyType(origins))


def _flatten(document: Mapping[str, object], table: Mapping[str, Setting]) -> Iterator[tuple[str, object]]:
    """(dotted key, value) of the file: a table that is a section of ours is opened, any other is a value.

    A quoted key with a dot in it keeps its quotes, so that `"mx.workers"` is no second spelling of `workers` in [mx].
    """
    sections = {setting.section for setting in table.values()} - {""}
    for name, value in document.items():
        if name in sections and isinstance(value, dict):
            yield from ((f"{name}.{inner}", raw) for inner, raw in value.items())
        else:
            yield f'"{name}"' if "." in name else name, value


def _unknown(key: str, raw: object, table: Mapping[str, Setting]) -> str:
    sections = {setting.section for setting in table.values()} - {""}
    shown = key if len(key) <= SHOWN_MAX else key[:SHOWN_MAX] + "..."
    if key in sections:
        return f"{key} is a section, not a setting: write [{key}] and its settings below"
    other = TENANT_SETTINGS if table is INSTALLATION_SETTINGS else INSTALLATION_SETTINGS
    if key in other:
        return f"{key} does not stand in this file but in {other[key].where.value}: move it there"
    kind = "section" if isinstance(raw, dict) else "setting"
    known = sections if isinstance(raw, dict) else table
    near = difflib.get_close_matches(key[:100].partition(".")[0] if kind == "section" else key[:100], known, n=1)
    if not near and kind == "setting":
        bare = key.rpartition(".")[2]
        near = [full for full in table if full.rpartition(".")[2] == bare][:1]
    hint = f"did you mean {near[0]}?" if near else "see docs/configuration.md"
    return f"unknown {kind} {shown}: {hint}"


def _shown(raw: object) -> str:
    try:
        text = repr(raw)
    except (ValueError, RecursionError):
        text = "a value too large to show"
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."
