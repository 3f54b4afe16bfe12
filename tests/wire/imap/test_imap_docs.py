import re
from dataclasses import fields
from pathlib import Path

from bulkhead.wire.imap import limits
from bulkhead.wire.imap.command_table import COMMANDS, UID_COMMANDS
from bulkhead.wire.imap.limits import Limits

PAGE = (Path(__file__).parents[3] / "docs" / "imap.md").read_text(encoding="utf-8")


def test_every_limit_is_on_the_page_with_its_value() -> None:
    values = {
        field.name: field.default for field in fields(Limits) if field.type != "bool" and field.name != "literal_minus"
    }
    values |= {name: value for name, value in vars(limits).items() if name.isupper()}
    listed = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+)", PAGE, re.MULTILINE)}
    assert listed == values


def test_every_command_is_on_the_page() -> None:
    section = PAGE.split("## Commands")[1].split("## Limits")[0]
    for name in (*COMMANDS, *UID_COMMANDS):
        assert re.search(rf"\b{name.decode()}\b", section), name


def test_every_module_is_on_the_page() -> None:
    for path in Path(limits.__file__).parent.glob("[a-z]*.py"):
        assert f"`{path.name}`" in PAGE, path.name
