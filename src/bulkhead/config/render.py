"""New configuration files, with every setting's sentence as its comment. For `init` and `tenant add`.

A value that was given is written; a default stands commented out, so that a later release may better it.
Standard library only.
"""

import json
import os
import secrets
import textwrap
from collections.abc import Mapping
from pathlib import Path

from bulkhead.config.schema import (
    INSTALLATION_SETTINGS,
    SCHEMA,
    SECTIONS,
    TENANT_SETTINGS,
    Required,
    Setting,
)
from bulkhead.config.values import Value, parse_value, range_text
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError

WIDTH = 110
FILE_MODE = 0o640


def render_installation(values: Mapping[str, Value]) -> str:
    """The text of a new `bulkhead.toml` in which `values` (dotted key to value) stand. Raises ConfigError."""
    return _render("The installation. `bulkhead config check` reads it back.", values, INSTALLATION_SETTINGS)


def render_tenant(values: Mapping[str, Value]) -> str:
    """The text of a new `tenants/<id>.toml` in which `values` (dotted key to value) stand. Raises ConfigError."""
    title = f"The tenant {values.get('id', '')}. `bulkhead config check` reads it back."
    return _render(title, values, TENANT_SETTINGS)


def toml_value(value: Value) -> str:
    """`value` as TOML. JSON's escapes are TOML's, but for DEL, which no setting accepts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(element) for element in value) + "]"
    return str(value)


def write_file(path: Path, text: str, *, replace: bool = False, mode: int = FILE_MODE) -> None:
    """Write `text` durably: the whole file or none of it. Raises ConfigError where it exists already.

    replace: put the new text in the place of the old.   mode: from the first byte on, less the umask.
    """
    if not replace and path.exists():
        raise ConfigError(f"{path} exists already; it is left as it is")
    try:
        _write(path, text, replace=replace, mode=mode)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _write(path: Path, text: str, *, replace: bool, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if replace:
            partial.rename(path)
        else:
            _link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _link(partial: Path, path: Path) -> None:
    """Give the finished file its name; unlike a rename this never replaces one that came in between."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; it is left as it is") from None


def _render(title: str, values: Mapping[str, Value], table: Mapping[str, Setting]) -> str:
    given = {"schema": SCHEMA, **values}
    unknown = sorted(set(given) - set(table))
    if unknown:
        raise ConfigError(f"no setting {unknown[0]} in this file")
    out = [f"# {title}", "# A line that begins with `#` shows a default; take the `#` away to set another value."]
    section = ""
    for setting in table.values():
        if setting.section != section:
            section = setting.section
            out += ["", "", f"# {SECTIONS[section]}", f"[{section}]"]
        out += ["", *_comment(setting), _line(setting, given.get(setting.key))]
    return "\n".join(out) + "\n"


def _comment(setting: Setting) -> list[str]:
    numbers = range_text(setting.bounds) if setting.bounds.minimum is not None and setting.name != "schema" else ""
    text = f"{setting.sentence[:-1]} ({numbers})." if numbers else setting.sentence
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _line(setting: Setting, value: Value | None) -> str:
    if value is None:
        if isinstance(setting.default, Required):
            raise ConfigError(f"{setting.key} is missing: {setting.sentence}")
        return f"# {setting.name} = {toml_value(setting.default)}"
    raw = list(value) if isinstance(value, tuple) else value
    try:
        return f"{setting.name} = {toml_value(parse_value(setting.kind, raw, setting.bounds))}"
    except ValueError as error:
        raise ConfigError(f"{setting.key} = {value!r}: must be {error}") from None
