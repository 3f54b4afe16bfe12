"""The tree, its page and its promises agree."""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkhead.cli.commands import COMMANDS, GROUPS
from bulkhead.cli.exit_codes import MEANINGS, ExitCode
from bulkhead.cli.reference import arguments_of, reference_page
from bulkhead.cli.tree import Command, build_parser

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    command = parser.get_default("command")
    if command is not None:
        yield words, command
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _leaves(inner, (*words, name))


def test_the_tree_has_exactly_the_rows_of_the_table() -> None:
    found = list(_leaves(build_parser()))
    assert sorted(words for words, _ in found) == sorted(command.words for command in COMMANDS)
    assert all(words == command.words for words, command in found)
    assert {" ".join(c.words[:n]) for c in COMMANDS for n in range(1, len(c.words))} == set(GROUPS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_function_that_runs_it(command: Command) -> None:
    module, _, function = command.runs.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference_page(), "run: make docs"


def test_the_page_names_every_command_argument_exit_code_and_json_key() -> None:
    page = PAGE.read_text()
    sections = {part.split("\n", 1)[0]: part for part in page.split("\n### ")[1:]}
    assert set(sections) == {command.name for command in COMMANDS}
    for command in COMMANDS:
        section = sections[command.name]
        for argument in arguments_of(command):
            assert argument.sentence in section
        for key in command.json_keys:
            assert f"| `{key}` |" in section
        assert not command.json_keys or f"`{command.schema}`:" in section
    assert set(MEANINGS) == set(ExitCode)
    assert all(f"| {code.value} | {MEANINGS[code]} |" in page for code in ExitCode)


@pytest.mark.parametrize("module", ["bulkhead.supervisor.installation", "bulkhead.supervisor.process"])
def test_run_and_cell_run_load_the_standard_library_and_the_supervisor_only(module: str) -> None:
    code = (
        "import sys\n"
        "from bulkhead.cli.main import build_parser\n"
        "build_parser()\n"
        f"import bulkhead.cli.run, {module}\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "foreign = loaded - set(sys.stdlib_module_names) - {'bulkhead'}\n"
        "print(sorted(n for n in foreign if not n.startswith(('_', 'sitecustomize', 'usercustomize'))))\n"
        "print(sorted({n.split('.')[1] for n in sys.modules if n.startswith('bulkhead.')}))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    foreign, ours = done.stdout.splitlines()
    assert foreign == "[]"
    assert set(eval(ours)) <= {"boundary", "cli", "config", "durable", "errors", "identifiers", "idna", "supervisor"}


def test_wrong_usage_exits_with_2_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["nonsense"], ["account"], ["account", "add"], ["stop"], ["queue", "kddi"]):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args(words)
        assert ended.value.code == ExitCode.USAGE
        assert len(capsys.readouterr().err.splitlines()) == 1
