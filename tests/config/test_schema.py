"""The table itself: every row whole, and the packages beside it free of anything but the standard library."""

import subprocess
import sys

import pytest

from bulkhead.config.schema import (
    COMPARTMENTS,
    INSTALLATION_SETTINGS,
    SECTIONS,
    SETTINGS,
    TENANT_SETTINGS,
    Required,
    Setting,
)
from bulkhead.config.values import Kind, parse_value

UNITS = ("_max", "_per_second", "_seconds", "_minutes", "_bytes", "_minute", "_hour", "_hours", "_day", "_days")
COUNTS = {
    "term",
    "schema",
    "slot",
    "uid_base",
    "canaries",
    "concurrency",
    "argon2_threads",
    "workers",
    "port",
    "recycle_sessions",
    "roster_threshold",
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_row_is_whole(setting: Setting) -> None:
    assert setting.sentence.endswith(".")
    assert len(setting.sentence) > 10
    assert set(setting.receivers) <= set(COMPARTMENTS)
    assert len(set(setting.receivers)) == len(setting.receivers)
    assert setting.key.count(".") <= 1
    if setting.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.INTEGERS):
        assert setting.bounds.minimum is not None
        assert setting.bounds.maximum is not None
        assert setting.bounds.minimum <= setting.bounds.maximum
    if setting.kind in (Kind.CHOICE, Kind.CHOICES):
        assert setting.bounds.choices


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_default_is_a_value_that_its_own_row_accepts(setting: Setting) -> None:
    if not isinstance(setting.default, Required):
        raw = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        assert parse_value(setting.kind, raw, setting.bounds) == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_number_says_its_unit_or_counts_something(setting: Setting) -> None:
    if setting.kind in (Kind.INTEGER, Kind.DECIMAL) and setting.section != "listen":
        assert setting.name.endswith(UNITS) or setting.name in COUNTS


def test_every_section_has_a_title_and_is_in_one_file() -> None:
    in_installation = {setting.section for setting in INSTALLATION_SETTINGS.values()} - {""}
    in_tenant = {setting.section for setting in TENANT_SETTINGS.values()} - {""}
    assert in_installation | in_tenant == set(SECTIONS)
    assert not in_installation & in_tenant


def test_only_schema_stands_in_both_files() -> None:
    assert set(INSTALLATION_SETTINGS) & set(TENANT_SETTINGS) == {"schema"}


def test_sections_stand_together() -> None:
    for table in (INSTALLATION_SETTINGS, TENANT_SETTINGS):
        order = [setting.section for setting in table.values()]
        changes = [section for place, section in enumerate(order) if place == 0 or order[place - 1] != section]
        assert len(changes) == len(set(changes))


def test_config_imports_only_the_standard_library() -> None:
    program = (
        "import sys, bulkhead.config, bulkhead.config.reference\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(  # -S: no site, so that nothing but what config imports is there
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert set(done.stdout.split()) <= {"bulkhead", "__main__"}


def test_config_imports_no_other_part_of_bulkhead() -> None:
    program = "import sys, bulkhead.config\nprint(*sorted(n for n in sys.modules if n.startswith('bulkhead.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    parts = {name.split(".")[1] for name in done.stdout.split()}
    assert parts == {"config", "durable", "errors", "identifiers", "idna"}
