"""Change one setting in a file that an operator has written in: comments and order stay. Standard library only."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from bulkhead.config.lines import key_lines
from bulkhead.config.load import read_text
from bulkhead.config.render import toml_value, write_file
from bulkhead.config.schema import FILE_BYTES_MAX, INSTALLATION_FILE, INSTALLATION_SETTINGS, TENANT_SETTINGS, Setting
from bulkhead.config.values import Value, parse_value
from bulkhead.errors import ConfigError


def set_value(directory: Path, file: str, key: str, value: Value) -> None:
    """Set `key` in `bulkhead.toml` or `tenants/<id>.toml` (`file`) of the installation in `directory`, durably.

    Raises ConfigError where the value is not allowed, or the setting is written so that no single line can be
    replaced; the file is then as it was. ValueError on an unknown key: our bug.
    """
    table = INSTALLATION_SETTINGS if file == INSTALLATION_FILE else TENANT_SETTINGS
    if key not in table:
        raise ValueError(f"no setting {key} in this file")
    setting = table[key]
    try:
        parse_value(setting.kind, list(value) if isinstance(value, tuple) else value, setting.bounds)
        text = read_text(directory / file, FILE_BYTES_MAX)
        before = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{file}: {key} cannot be set: {error}") from None
    edited = _replace(text, setting, f"{setting.name} = {toml_value(value)}")
    if not _differs_only_in(before, edited, setting, value):
        raise ConfigError(f"{file}: {key} cannot be set by a command; write it yourself: {key} = {toml_value(value)}")
    write_file(directory / file, edited, replace=True)


def _replace(text: str, setting: Setting, assignment: str) -> str:
    """The text with the setting's line replaced: the one that sets it, else its commented default, else a new one."""
    lines = text.split("\n")
    places = key_lines(text)
    if setting.key in places:
        lines[places[setting.key] - 1] = assignment
        return "\n".join(lines)
    start = places.get(setting.section, 0) if setting.section else 0
    for number in range(start, len(lines)):
        if lines[number].startswith("["):
            break
        if lines[number].startswith(f"# {setting.name} = "):
            lines[number] = assignment
            return "\n".join(lines)
    if start or not setting.section:
        lines.insert(start, assignment)
    else:
        lines += [f"[{setting.section}]", assignment, ""]
    return "\n".join(lines)


def _differs_only_in(before: Mapping[str, object], edited: str, setting: Setting, value: Value) -> bool:
    """Whether the edited text says what it said before, and `value` for the setting."""
    try:
        after = tomllib.loads(edited)
    except ValueError:
        return False
    expected = dict(before)
    wanted = list(value) if isinstance(value, tuple) else value
    if setting.section:
        section = expected.get(setting.section, {})
        if not isinstance(section, dict):
            return False
        expected[setting.section] = {**section, setting.name: wanted}
    else:
        expected[setting.name] = wanted
    return after == expected
