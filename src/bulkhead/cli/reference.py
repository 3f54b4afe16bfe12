"""docs/cli.md, made from COMMANDS: `python -m bulkhead.cli.reference [--check] FILE`. Standard library only."""

import sys
from collections.abc import Iterator

from bulkhead.cli.commands import COMMANDS, GROUPS
from bulkhead.cli.exit_codes import MEANINGS, ExitCode
from bulkhead.cli.tree import DIRECTORY, JSON, TENANT, Argument, Command
from bulkhead.config.reference import write_page

_HEAD = """\
# The command line

<!-- Made from src/bulkhead/cli/commands.py by `make docs`; a test fails when it is stale. -->

`bulkhead COMMAND ... [-C DIR]`; `-C DIR` names the installation, by default the current directory. Results go to
standard output, remarks and errors to standard error, one line each. An error names the file, line, setting or address,
and what to do; a fault of ours shows a traceback only with `BULKHEAD_TRACE=1` in the environment.

`status`, `domain`, `account`, `queue`, `ledger`, `stop`, `fsck` and `exposure` ask the live cell: its supervisor hands
the command one end of an edge to the compartment that answers, and parses nothing of what crosses it. They need the
cell to run, and the user who runs it, or root. `init`, `tenant`, `config` and `doctor` work on the installation's
files. A password is never an argument and never shown.

## Exit codes

| code | meaning |
|---|---|
"""

_JSON_HEAD = """
With `--json` a command prints one line: an object whose `schema` is `bulkhead/<command>/<version>`. Keys are only
added; a key that goes or changes its meaning raises the version. Times are ms since 1970-01-01T00:00Z.
"""


def reference_page() -> str:
    """The whole page."""
    codes = "".join(f"| {code.value} | {MEANINGS[code]} |\n" for code in ExitCode)
    lines = [_HEAD + codes + _JSON_HEAD]
    lines += ["## Commands", "", "| command | what it does |", "|---|---|"]
    lines += [f"| [`{command.name}`](#{'-'.join(command.words)}) | {command.sentence} |" for command in COMMANDS]
    group = ""
    for command in COMMANDS:
        if command.words[0] in GROUPS and command.words[0] != group:
            group = command.words[0]
            lines += ["", f"## {group}", "", GROUPS[group]]
        lines += ["", *_section(command)]
    return "\n".join(lines) + "\n"


def _section(command: Command) -> Iterator[str]:
    yield f"### {command.name}"
    yield ""
    yield f"    {usage(command)}"
    yield ""
    yield command.sentence + (f" {command.text}" if command.text else "")
    arguments = arguments_of(command)
    if arguments:
        yield from ("", "| argument | meaning |", "|---|---|")
        for argument in arguments:
            yield f"| `{_shown(argument)}` | {argument.sentence} |"
    codes = sorted({ExitCode.OK, ExitCode.USAGE, *command.exits})
    yield ""
    yield f"Exit codes: {', '.join(str(code.value) for code in codes)}."
    if command.json_keys:
        yield from ("", f"`{command.schema}`:", "", "| key | meaning |", "|---|---|")
        for key, meaning in command.json_keys.items():
            yield f"| `{key}` | {meaning} |"


def arguments_of(command: Command) -> tuple[Argument, ...]:
    """Every argument of a command's own; `-C` is everybody's."""
    first = (TENANT,) if command.tenant_between else ()
    return (*first, *command.arguments, *((JSON,) if command.json_keys else ()))


def usage(command: Command) -> str:
    """The command as one types it."""
    words = list(command.words)
    if command.tenant_between:
        words.insert(1, "TENANT")
    words += [_bracketed(argument) for argument in (*command.arguments, *((JSON,) if command.json_keys else ()))]
    words += [_bracketed(DIRECTORY)] if command.in_installation else []
    return " ".join(["bulkhead", *words])


def _bracketed(argument: Argument) -> str:
    text = _shown(argument)
    needed = argument.settings.get("nargs") != "?" if argument.positional else argument.settings.get("required")
    return text if needed else f"[{text}]"


def _shown(argument: Argument) -> str:
    metavar = argument.settings.get("metavar", "")
    if argument.positional:
        return str(metavar)
    return f"{argument.names[0]} {metavar}".strip()


def main(arguments: list[str]) -> int:
    """Write the reference of commands."""
    return write_page(arguments, "bulkhead.cli.reference", reference_page())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
