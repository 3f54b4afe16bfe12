"""No row of the table is idle: whoever receives a setting reads it."""

import re
from pathlib import Path

import pytest

from bulkhead.boundary.processes import PROCESSES, Image
from bulkhead.config.schema import COMPARTMENTS, SETTINGS, Setting

SOURCE = Path(__file__).parents[2] / "src" / "bulkhead"
EVERY = ("supervisor/child.py",)
LIBRARIES = {Image.FRONT: ("gate",), Image.VAULT: ("holder",)}
OUTSIDE = ("supervisor", "cli", "config")
"""What runs outside compartments, with the whole configuration."""


def text(*places: str) -> str:
    found = []
    for place in places:
        path = SOURCE / place
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return "".join(path.read_text() for path in found if path != SOURCE / "config" / "schema.py")


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_compartment_reads_every_setting_that_it_receives(compartment: str) -> None:
    source = text(compartment, *LIBRARIES[PROCESSES[compartment].image], *EVERY)
    received = {setting.key for setting in SETTINGS if compartment in setting.receivers}
    received = {"resolver.zone" if key == "resolver.zone_file" else key for key in received}  # its text, not its name
    assert sorted(key for key in received if f'"{key.rpartition(".")[2]}"' not in source) == []


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if not setting.receivers], ids=lambda row: row.key)
def test_the_supervisor_or_the_command_line_reads_every_setting_that_no_compartment_gets(setting: Setting) -> None:
    section, _, name = setting.key.rpartition(".")
    whole = rf'"{re.escape(setting.key)}"'
    by_section = rf'"\{{\w+(\.\w+)*\}}\.{name}"' if section in COMPARTMENTS else whole
    listener = r'"listen\.\{\w+(\.\w+)*\}"' if section == "listen" else whole
    assert re.search(f"{whole}|{by_section}|{listener}", text(*OUTSIDE)), "used by nobody"
