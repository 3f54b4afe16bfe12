"""COMMANDS: every command as a row: words, arguments, what runs it, its JSON keys. Standard library only.

The argparse tree and docs/cli.md come from here. A command's module is loaded only when it is run.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bulkhead.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its names (options begin with `-`), its sentence, and what argparse needs beside."""

    names: tuple[str, ...]
    sentence: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def positional(self) -> bool:
        """Whether it is given by its place."""
        return not self.names[0].startswith("-")


@dataclass(frozen=True, slots=True)
class Command:
    """One command. runs: `module:function`, called with the parsed options, gives the exit status.

    tenant_between: the tenant stands between the first word and the second (`queue TENANT list`).
    in_installation: takes -C.
    json_keys: path of every key that --json may print, with its meaning; empty where there is no --json.
    """

    words: tuple[str, ...]
    sentence: str
    runs: str
    arguments: tuple[Argument, ...] = ()
    json_keys: Mapping[str, str] = field(default_factory=dict)
    exits: tuple[ExitCode, ...] = ()
    tenant_between: bool = False
    in_installation: bool = True
    text: str = ""

    @property
    def name(self) -> str:
        """As people type it, without the tenant."""
        return " ".join(self.words)

    @property
    def schema(self) -> str:
        """The `schema` of its JSON document."""
        return f"bulkhead/{'-'.join(self.words)}/1"


class _Parser(argparse.ArgumentParser):
    """Exits with 2 and one line that says where help is."""

    def error(self, message: str) -> Any:
        self.exit(ExitCode.USAGE, f"bulkhead: {message}; see: {self.prog} --help\n")


class _TenantBetween(_Parser):
    """A group whose tenant stands first; `ledger verify DIR` is taken as `ledger DIR verify`."""

    words: frozenset[str] = frozenset()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """ArgumentParser.parse_known_args."""
        if args and len(args) > 1 and args[0] in self.words and args[1] not in self.words and args[1][:1] != "-":
            args = [args[1], args[0], *args[2:]]
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """The whole tree."""
    from bulkhead.cli.commands import COMMANDS, GROUPS

    top = _Parser(prog="bulkhead", description="Managed mail in cells: a breach of one part stays in that part.")
    level = _sub(top)
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        first = command.words[0]
        if len(command.words) == 1 and not any(c.words[0] == first and len(c.words) > 1 for c in COMMANDS):
            _fill(level.add_parser(first, help=command.sentence, description=command.sentence), command)
            continue
        if first not in groups:
            group = level.add_parser(first, help=GROUPS[first], description=GROUPS[first])
            if command.tenant_between:
                group.__class__ = _TenantBetween
                group.words = frozenset(c.words[1] for c in COMMANDS if c.words[0] == first and len(c.words) > 1)
                _add(group, TENANT)
            if any(c.words == (first,) for c in COMMANDS):
                _fill(group, next(c for c in COMMANDS if c.words == (first,)))
            groups[first] = _sub(group, required=not any(c.words == (first,) for c in COMMANDS))
        if len(command.words) > 1:
            within = " ".join(command.words[:-1])
            if within not in groups:
                group = groups[first].add_parser(command.words[1], help=GROUPS[within], description=GROUPS[within])
                groups[within] = _sub(group)
            _fill(
                groups[within].add_parser(command.words[-1], help=command.sentence, description=command.sentence),
                command,
            )
    return top


def _sub(parser: argparse.ArgumentParser, *, required: bool = True) -> Any:
    return parser.add_subparsers(metavar="COMMAND", required=required, parser_class=_Parser, title="commands")


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command)
    for argument in command.arguments:
        _add(parser, argument)
    if command.json_keys:
        _add(parser, JSON)
    if command.in_installation:
        _add(parser, DIRECTORY)


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    parser.add_argument(*argument.names, help=argument.sentence.replace("%", "%%"), **argument.settings)


def positional(name: str, sentence: str, **settings: Any) -> Argument:
    """An argument by place, shown in capitals."""
    return Argument((name,), sentence, {"metavar": name.upper().replace("_", "-"), **settings})


def option(name: str, metavar: str, sentence: str, **settings: Any) -> Argument:
    """An option with a value."""
    return Argument((name,), sentence, {"metavar": metavar, **settings})


def flag(name: str, sentence: str) -> Argument:
    """An option without a value."""
    return Argument((name,), sentence, {"action": "store_true"})


TENANT = positional("tenant", "The tenant's id.")
ADDRESS = positional("address", "The account's address.")
REASON = option("--reason", "TEXT", "Why, for the ledger; no address in it.", default="")
ORDER = option("--order", "FILE", "The officers' order for it, where the roster refuses it without one.", default="")
ROSTER = option("--roster", "FILE", "The newest roster, where what is here has an older one.", default="")
LIVE = (ExitCode.NOT_RUNNING, ExitCode.REFUSED)  # how a command that needs a cell may end
JSON = flag("--json", "Print one JSON document instead of a table.")
DIRECTORY = Argument(
    ("-C", "--directory"), "The installation (default: the current directory).", {"metavar": "DIR", "default": "."}
)
