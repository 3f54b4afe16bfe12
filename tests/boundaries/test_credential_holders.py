"""What auth and keyring are made of: the third parties that they load, and how long they are."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.boundaries.test_imports import PARTS, SOURCE, imports_of, loaded_by, third_party

THIRD = {"auth": {"bcrypt", "cryptography", "msgspec", "nacl"}, "keyring": {"cryptography", "msgspec"}}
DISTRIBUTIONS = {
    "auth": {"bcrypt", "cffi", "cryptography", "msgspec", "pynacl"},
    "keyring": {"cffi", "cryptography", "msgspec"},
}
"""cffi: the binding of cryptography and of PyNaCl."""
FOREIGN = {"bulkhead.imports", "bulkhead.cli", "bulkhead.wire", "bulkhead.gate", "csv", "json", "xml", "html", "email"}
"""Readers of files of other servers, and what they would be made with."""


def modules_behind(name: str) -> set[str]:
    """Every module that a compartment's own import, and those that these import: read from the source."""
    waiting, found = {f"bulkhead.{name}.{path.stem}" for path in (SOURCE / name).glob("*.py")}, set[str]()
    while waiting:
        module = waiting.pop()
        found.add(module)
        path = file_of(module)
        if path is not None:
            waiting |= {one for one in reached(path) if one not in found}
    return found


def reached(path: Path) -> set[str]:
    """What a file imports, with the packages around it; a name taken from a package may be a module of it."""
    found = imports_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("bulkhead"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one for one in names if file_of(one) is not None}
    return found | {one.rpartition(".")[0] for one in found if one.startswith("bulkhead.")}


def file_of(module: str) -> Path | None:
    """The file of one of our modules."""
    base = SOURCE.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if module.startswith("bulkhead") and path.is_file():
            return path
    return None


def distributions(loaded: set[str]) -> set[str]:
    """The packages of a registry that these modules belong to."""
    program = (
        "import json, sys\nfrom importlib.metadata import packages_distributions\n"
        "known = packages_distributions()\n"
        "print(json.dumps(sorted({d.lower() for n in json.load(sys.stdin) for d in known.get(n, ())})))"
    )
    names = json.dumps(sorted({name.partition(".")[0] for name in loaded}))
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], input=names, capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout)) - {"bulkhead"}


@pytest.mark.parametrize("name", THIRD)
def test_auth_and_keyring_import_these_third_parties_and_no_other(name: str) -> None:
    roots = {module.partition(".")[0] for module in modules_behind(name)}
    assert roots - set(sys.stdlib_module_names) - {"bulkhead"} == THIRD[name]


@pytest.mark.parametrize("name", THIRD)
def test_auth_and_keyring_load_these_distributions_and_no_other(name: str) -> None:
    loaded = loaded_by(f"import bulkhead.{name}.process")
    assert third_party(loaded) - PARTS == THIRD[name]
    brought = distributions(loaded - loaded_by("pass"))  # less what an environment loads at its start
    assert brought - {"typing_extensions"} == DISTRIBUTIONS[name]  # of cryptography, before Python 3.13
    assert loaded >= {module for module in modules_behind(name) if module.startswith(f"bulkhead.{name}.process")}


@pytest.mark.parametrize("name", THIRD)
def test_no_reader_of_another_servers_files_is_within_reach_of_auth_or_keyring(name: str) -> None:
    behind = modules_behind(name)
    assert "bulkhead.records.halves" in behind and "bulkhead.boundary.exchange" in behind
    found = {module for module in behind | loaded_by(f"import bulkhead.{name}.process")
             if any(module == one or module.startswith(one + ".") for one in FOREIGN)}  # fmt: skip
    assert found - {"json", "json.decoder", "json.encoder", "json.scanner"} == set()  # json prints this very list
