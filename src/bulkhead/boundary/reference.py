"""Pages made from the tables of this package: `python -m bulkhead.boundary.reference [--check] DOCS`.

DOCS/messages.md is made whole; in DOCS/architecture.md the tables between `<!-- made: NAME -->` and `<!-- end -->` are.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from bulkhead.boundary.messages import facts
from bulkhead.boundary.messages.fields import Fact, Mutation, Request, reply_type
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.orders_reference import local_powers_table, orders_table
from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES
from bulkhead.boundary.staff import HOUR_ROWS, STAFF_CALLS, VOUCHED
from bulkhead.boundary.support import support_table

_HEAD = """\
# Messages

<!-- Made from src/bulkhead/boundary/ by `make docs`; a test fails when it is stale. -->

What may cross between compartments, and nothing else. A message is an array: tag number, then fields. Tags are
never reused (`tests/vectors/messages/tags.txt` has every one ever given); fields are only added at the end, with
defaults. The sender and the tenant are properties of the edge, never fields. A request marked *changes* carries a
stamp: who asks, a 16-byte request id that its receiver keeps with the change for 10 minutes, and a deadline. *Body*
is what may follow, in chunks with credits.
"""


def messages_of(module: ModuleType, kind: type[Any]) -> list[type[Any]]:
    """The messages of `kind` that a module defines, by tag."""
    own = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, kind) and _defines(module, item)
    )
    return sorted(own, key=lambda item: item.__struct_config__.tag)


def _defines(module: ModuleType, item: type[Any]) -> bool:
    """Whether the type is defined in this module, or below it where the module is a package."""
    return item.__module__ == module.__name__ or item.__module__.startswith(module.__name__ + ".")


def messages_page() -> str:
    """docs/messages.md."""
    lines = [_HEAD, "## Who may send what to whom", "", *_peers(), ""]
    for receiver, module in RECEIVERS.items():
        lines += [f"## to {receiver}", "", *_requests(receiver, module), ""]
    lines += ["## Facts", "", "Told without waiting for an answer; dropped where the receiver does not keep up.", ""]
    lines += ["| tag | fact | fields | from, to | meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| {fact.__struct_config__.tag} | `{fact.__name__}` | {_fields(fact)} | {_tellers(fact)} | {_sentence(fact)} |"
        for fact in messages_of(facts, Fact)
    ]
    return "\n".join(lines) + "\n"


def process_table() -> str:
    """The table of compartments for docs/architecture.md."""
    heads = ("slot", "compartment", "image", "duty", "reach outside", "sees of the disk", "holds", "if it falls")
    lines = ["| " + " | ".join((*heads, "settings")) + " |", "|---" * 9 + "|"]
    for process in PROCESSES.values():
        cells = (
            str(process.slot), f"`{process.name}`", process.image.value, process.duty, process.reach.value,
            process.disk.value, process.holds, process.falls, ", ".join(f"`[{name}]`" for name in process.settings),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The architecture page with its made tables replaced. Raises ValueError for a table that nobody makes."""
    makers = {
        "processes": process_table, "edges": _edge_table, "orders": orders_table, "local_powers": local_powers_table,
        "support": support_table,
        "staff": staff_table,
    }  # fmt: skip

    def made(match: re.Match[str]) -> str:
        if match[1] not in makers:
            raise ValueError(f"nothing makes the table {match[1]}")
        return f"<!-- made: {match[1]} -->\n{makers[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- made: (\w+) -->\n.*?<!-- end -->", made, page, flags=re.DOTALL)


def staff_table() -> str:
    """Role by request, for docs/console.md."""
    lines = ["| holder | request | it | " + " | ".join(HOUR_ROWS) + " |", "|---" * (3 + len(HOUR_ROWS)) + "|"]
    for call in STAFF_CALLS.values():
        cells = ["" if role not in call.roles else "masked" if role in call.masked else "yes" for role in HOUR_ROWS]
        lines.append(f"| `{call.holder}` | `{call.message}` | {call.kind.value} | " + " | ".join(cells) + " |")
    for (holder, message), roles in VOUCHED.items():
        cells = ["yes" if role in roles else "" for role in HOUR_ROWS]
        lines.append(f"| `{holder}` | `{message}` | reads, vouched for | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _edge_table() -> str:
    """One row a compartment: whom it asks, who asks it."""
    lines = ["| compartment | asks | is asked by |", "|---|---|---|"]
    for name in (*PROCESSES, OPERATOR_CONSOLE):
        asks = ", ".join(f"`{p.server}`" for p in PEERS if p.client == name) or "nobody"
        asked = ", ".join(f"`{p.client}`" for p in PEERS if p.server == name) or "nobody"
        lines.append(f"| `{name}` | {asks} | {asked} |")
    return "\n".join(lines)


def _peers() -> Iterator[str]:
    yield "| from | to | requests | under a staff session (in AskAsStaff) | facts back | hands over sockets |"
    yield "|---|---|---|---|---|---|"
    for peering in PEERS:
        requests = ", ".join(f"`{name}`" for name in peering.requests)
        back = ", ".join(f"`{name}`" for name in peering.announces)
        descriptors = "yes" if peering.descriptors else ""
        carries = ", ".join(f"`{name}`" for name in peering.carries)
        yield f"| `{peering.client}` | `{peering.server}` | {requests} | {carries} | {back} | {descriptors} |"


def _requests(receiver: str, module: ModuleType) -> Iterator[str]:
    yield "| tag | request | fields | answer | changes | body | asked by | meaning |"
    yield "|---|---|---|---|---|---|---|---|"
    for request in messages_of(module, Request):
        senders = ", ".join(
            f"`{p.client}`" for p in PEERS if p.server == receiver and request.__name__ in (*p.requests, *p.carries)
        )
        body = f"up to {_size(request.body_max)}" if request.body_max else ""
        if request.reply_body_max:
            body = f"of the answer, up to {_size(request.reply_body_max)}"
        cells = (
            str(request.__struct_config__.tag), f"`{request.__name__}`", _fields(request),
            f"`{reply_type(request).__name__}`", "yes" if issubclass(request, Mutation) else "", body, senders,
            _sentence(request),
        )  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _fields(message: type[msgspec.Struct]) -> str:
    return ", ".join(f"`{name}`" for name in message.__struct_fields__) or "none"


def _tellers(fact: type[Fact]) -> str:
    pairs = [f"`{p.client}`, `{p.server}`" for p in PEERS if fact.__name__ in p.facts]
    pairs += [f"`{p.server}`, `{p.client}`" for p in PEERS if fact.__name__ in p.announces]
    return "; ".join(pairs)


def _sentence(message: type[Any]) -> str:
    first = inspect.cleandoc(message.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("|", "\\|")


def _size(octets: int) -> str:
    return f"{octets >> 20} MiB" if octets >= 1 << 20 else f"{octets >> 10} KiB"


def main(arguments: list[str]) -> int:
    """Write the pages in the folder named last; with --check only say which are stale (1)."""
    check = arguments[:1] == ["--check"]
    if len(arguments) != 1 + check:
        print("usage: python -m bulkhead.boundary.reference [--check] DOCS", file=sys.stderr)
        return 2
    docs = Path(arguments[-1])
    architecture, orders, desk = docs / "architecture.md", docs / "orders.md", docs / "support.md"
    console = docs / "console.md"
    pages = {
        docs / "messages.md": messages_page(),
        architecture: with_tables(architecture.read_text(encoding="utf-8")),
        orders: with_tables(orders.read_text(encoding="utf-8")),
        desk: with_tables(desk.read_text(encoding="utf-8")),
        console: with_tables(console.read_text(encoding="utf-8")),
    }
    stale = [path for path, page in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != page]
    for path in stale:
        if check:
            print(f"{path} is stale; run: make docs", file=sys.stderr)
        else:
            path.write_text(pages[path], encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
