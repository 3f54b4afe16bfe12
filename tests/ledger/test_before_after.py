"""What widens reach is witnessed before its effect, what narrows it follows: the page against the code."""

import ast
import re
from pathlib import Path

from bulkhead.ledger.event import EVENTS

ROOT = Path(__file__).resolve().parents[2]
WHEN = {"before", "after", "counted", "told", "never yet"}
WIDENS = {
    "RecoveryUsed", "StopLifted", "KeyDestroyed", "MailboxKeysExported", "MessagesUndeleted", "RestoreBegun",
    "RosterInstalled", "StaffSessionOpened", "ForwardChanged", "AccountReopened", "ExportBegun", "ImportBegun",
}  # fmt: skip


def rows() -> dict[str, str]:
    """Kind to when, of the page."""
    page = (ROOT / "docs/ledger.md").read_text().partition("## Before or after the effect")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([A-Z][A-Za-z]+) \| ([a-z ]+) \| [^|]+ \|$", page, re.MULTILINE))


def writers() -> dict[str, set[str]]:
    """Kind to the functions that are given its name: `witness`, which waits for the ledger, and `note`, the outbox."""
    found: dict[str, set[str]] = {name: set() for name in EVENTS}
    for path in (ROOT / "src/bulkhead").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())) if "drill" not in path.parts else ():
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name | ast.Attribute):
                continue
            function = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
            for argument in call.args:
                if isinstance(argument, ast.Constant) and argument.value in EVENTS:
                    found[argument.value].add(function.lstrip("_"))
    return found


def test_every_kind_says_when_it_is_written() -> None:
    assert set(rows()) == set(EVENTS)
    assert set(rows().values()) <= WHEN


def test_what_is_witnessed_is_before_and_what_goes_by_the_outbox_alone_is_not() -> None:
    when = rows()
    for kind, functions in writers().items():
        if "witness" in functions:
            assert when[kind] == "before", kind
        elif "note" in functions and kind not in {"RestoreBegun", "ImportBegun"}:  # notes of a cell that does not run
            assert when[kind] != "before", kind


def test_everything_that_widens_reach_is_before() -> None:
    assert {kind for kind in WIDENS if rows()[kind] != "before"} == set()


def test_what_nobody_writes_is_not_said_to_be_written() -> None:
    text = "".join(
        path.read_text()
        for path in (ROOT / "src/bulkhead").rglob("*.py")
        if path.name not in {"event.py", "acts.py"} and not {"drill", "contract"} & set(path.parts)  # these read
    )
    unwritten = {kind for kind in EVENTS if f'"{kind}"' not in text}
    assert {kind for kind, when in rows().items() if when == "never yet"} == unwritten
