"""docs/configuration.md, made from SETTINGS: `python -m bulkhead.config.reference [--check] FILE`."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bulkhead.config.render import toml_value
from bulkhead.config.schema import (
    COMPARTMENTS,
    FILE_BYTES_MAX,
    INSTALLATION_SETTINGS,
    SECTIONS,
    TENANT_SETTINGS,
    TENANTS_MAX,
    Required,
    Setting,
)
from bulkhead.config.values import range_text

_HEAD = f"""\
# Configuration

<!-- Made from src/bulkhead/config/schema.py by `make docs`; a test fails when it is stale. -->

An installation is a directory with `bulkhead.toml` and one file a tenant, `tenants/<id>.toml`. Both are TOML 1.0,
UTF-8, at most {FILE_BYTES_MAX >> 20} MiB; an installation has at most {TENANTS_MAX:,} tenants. Domains and accounts are
not here: they live in the `directory` compartment of their cell.

- A key's last word is its unit: `idle_seconds`, `message_bytes_max`.
- An unknown key, a wrong type or a value out of its limits stops the start; the message names file, line, setting,
  value, what is allowed, and for an unknown key the nearest known one. `bulkhead config check` shows all at once.
- `bulkhead config show --origin` prints every value with the file and line that it comes from, or `default`.
- *Seen by* lists the compartments that receive a setting; every other one never has it in its memory. Where it says
  *supervisor*, only the cell's supervisor and the command line read it.
- A relative path begins at the installation's directory. Compartments get the content of such a file, never its name.
- Two tenants may share neither slot nor, while both are enabled, address or host name.
"""


def reference_page() -> str:
    """The whole page."""
    lines = [_HEAD, "## bulkhead.toml", *_sections(INSTALLATION_SETTINGS)]
    lines += ["", "## tenants/&lt;id&gt;.toml", *_sections(TENANT_SETTINGS)]
    return "\n".join(lines) + "\n"


def _sections(table: Mapping[str, Setting]) -> Iterator[str]:
    section = None
    for setting in table.values():
        if setting.section != section:
            section = setting.section
            if section:
                yield from ("", f"### [{section}]", "", SECTIONS[section])
            yield from ("", "| setting | kind | default | limits | seen by | meaning |", "|---|---|---|---|---|---|")
        yield _row(setting)


def _row(setting: Setting) -> str:
    default = "required" if isinstance(setting.default, Required) else f"`{toml_value(setting.default)}`"
    limits = ", ".join(f"`{choice}`" for choice in setting.bounds.choices)
    if setting.bounds.minimum is not None:
        limits = range_text(setting.bounds)
    seen = "every compartment" if setting.receivers == COMPARTMENTS else ", ".join(setting.receivers)
    cells = (f"`{setting.key}`", setting.kind.value, default, limits, seen or "supervisor", setting.sentence)
    return "| " + " | ".join(cells) + " |"


def write_page(arguments: list[str], program: str, page: str) -> int:
    """Write `page` to the file named last; with --check only say whether it is stale (1)."""
    check = arguments[:1] == ["--check"]
    if len(arguments) != 1 + check:
        print(f"usage: python -m {program} [--check] FILE", file=sys.stderr)
        return 2
    path = Path(arguments[-1])
    if not check:
        path.write_text(page, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != page:
        print(f"{path} is stale; run: make docs", file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Write the reference of settings."""
    return write_page(arguments, "bulkhead.config.reference", reference_page())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
