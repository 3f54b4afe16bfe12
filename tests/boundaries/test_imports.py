"""Who may import whom: read from the source, and seen again at run time in fresh interpreters."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bulkhead.boundary.processes import PROCESSES, Image

SOURCE = Path(__file__).parents[2] / "src" / "bulkhead"
PARTS = {"cffi", "typing_extensions", "cython_runtime"}  # of cryptography and PyNaCl, of cryptography, of uvloop
BASE = {"boundary", "config", "identifiers", "idna", "errors", "wipe", "durable"}
VAULT = BASE | {"holder", "records"}
FRONT = BASE | {"wire", "gate", "records"}
STANDARD_ONLY = [
    "errors.py",
    "identifiers.py",
    "idna.py",
    "durable.py",
    "config",
    "supervisor",
    "boundary/processes.py",
    "boundary/peers.py",
    "boundary/staff.py",
]
VAULT_NEVER = {"ssl", "uvloop", "dns", "bulkhead.wire", "bulkhead.gate", "http", "urllib.request", "email", "smtplib"}
LAZY = {
    ("supervisor/child.py", "uvloop"): "in the front image only, after the fork",
    ("supervisor/child.py", "bulkhead.boundary"): "runs in the images, which are not the supervisor",
    ("supervisor/selftest.py", "bulkhead.drill"): "a process of its own, which `bulkhead doctor` and `run` execute",
}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at its top or later, as a dotted name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            found |= {
                f"{node.module}.{alias.name}" if node.module == "bulkhead" else str(node.module) for alias in node.names
            }
    return found


def files_below(name: str) -> list[Path]:
    path = SOURCE / name
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("name", PROCESSES)
def test_a_compartment_imports_the_base_its_libraries_and_itself_never_another(name: str) -> None:
    allowed = (FRONT if PROCESSES[name].image is Image.FRONT else VAULT) | {name}
    third = set(PROCESSES[name].modules) | {"msgspec"}
    for path in files_below(name):
        for module in imports_of(path):
            root, _, rest = module.partition(".")
            if root == "bulkhead":
                assert rest.partition(".")[0] in allowed | {"__version__"}, f"{path} imports {module}"
            else:
                assert root in sys.stdlib_module_names or root in third, f"{path} imports {module}"


@pytest.mark.parametrize("name", [n for n, p in PROCESSES.items() if p.image is Image.VAULT] + ["holder", "records"])
def test_what_runs_in_the_vault_imports_no_tls_no_dns_no_loop_of_uvloop_and_no_wire_parser(name: str) -> None:
    for path in files_below(name):
        for module in imports_of(path):
            for never in VAULT_NEVER:
                assert module != never and not module.startswith(never + "."), f"{path} imports {module}"


@pytest.mark.parametrize("name", ["wire", "records"])
def test_pure_packages_import_no_socket_no_loop_and_no_compartment(name: str) -> None:
    for path in files_below(name):
        for module in imports_of(path):
            assert module.partition(".")[0] not in {"socket", "asyncio", "ssl", "selectors", "threading"}, path
            if module.startswith("bulkhead."):
                assert module.split(".")[1] in {name, "errors", "identifiers", "idna", "wipe", "wire"}, (
                    f"{path} imports {module}"
                )


@pytest.mark.parametrize("name", STANDARD_ONLY)
def test_what_the_supervisor_runs_on_imports_only_the_standard_library_and_our_own(name: str) -> None:
    ours = {"errors", "identifiers", "idna", "durable", "config", "supervisor", "boundary"}
    for path in files_below(name):
        relative = str(path.relative_to(SOURCE))
        for module in imports_of(path):
            if any(relative == file and module.startswith(lazy) for file, lazy in LAZY):
                continue
            root, _, rest = module.partition(".")
            if root == "bulkhead":
                assert rest.partition(".")[0] in ours, f"{path} imports {module}"
                if rest.startswith("boundary"):
                    pure = {
                        "boundary.first_of_kind",
                        "boundary.happenings",
                        "boundary.peers",
                        "boundary.processes",
                        "boundary.staff",
                        "boundary.support",
                    }
                    assert rest in pure, f"{path} imports {module}"
            else:
                assert root in sys.stdlib_module_names, f"{path} imports {module}"


def loaded_by(statement: str) -> set[str]:
    """sys.modules after a statement in a fresh interpreter."""
    program = f"import sys\n{statement}\nimport json\nprint(json.dumps([n for n, m in sys.modules.items() if m]))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def third_party(modules: set[str]) -> set[str]:
    """Top-level names that are neither the standard library's nor ours nor the interpreter's own."""
    roots = {name.partition(".")[0] for name in modules}
    return {
        root
        for root in roots
        if root not in sys.stdlib_module_names
        and root not in {"bulkhead", "__main__", "sitecustomize", "__mp_main__"}
        and not root.startswith("_")  # .pth files' start-up hooks
    }


def test_the_cell_supervisor_loads_no_third_party_module_and_no_tls() -> None:
    loaded = loaded_by("import bulkhead.supervisor.process")
    assert third_party(loaded) == set()
    assert not {name for name in loaded if name.startswith(("bulkhead.wire", "bulkhead.gate", "bulkhead.holder"))}
    assert "bulkhead.boundary.edge" not in loaded


def test_the_dispatch_of_cell_run_loads_no_third_party_module() -> None:
    statement = (
        "sys.argv = ['bulkhead', 'cell', 'run', 'nobody', '-C', '/nonexistent']\n"
        "import bulkhead.cli.main\nimport contextlib, io\n"
        "with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    bulkhead.cli.main.main()"
    )
    loaded = loaded_by(statement)
    assert "bulkhead.supervisor.process" in loaded
    assert third_party(loaded) == set()


@pytest.mark.parametrize("image", list(Image))
def test_an_image_loads_what_the_rows_of_its_processes_list_and_nothing_more(image: Image) -> None:
    loaded = loaded_by(
        f"from bulkhead.supervisor.images import preload\n"
        f"from bulkhead.boundary.processes import Image\npreload(Image({image.value!r}))"
    )
    listed = {module for process in PROCESSES.values() if process.image is image for module in process.modules}
    assert third_party(loaded) <= listed | PARTS
    assert listed <= third_party(loaded)
    others = {name for name, process in PROCESSES.items() if process.image is not image}
    assert not {name for name in loaded if name.startswith("bulkhead.") and name.split(".")[1] in others}
    if image is Image.VAULT:
        assert not {n for n in loaded if n in VAULT_NEVER or any(n.startswith(v + ".") for v in VAULT_NEVER)}
    else:
        assert not {name for name in loaded if name.partition(".")[0] in {"sqlite3", "nacl"}}
        assert "bulkhead.holder" not in loaded
        # dnspython's way to ask for versions
        assert not loaded & {"email", "zipfile", "tempfile", "importlib.resources"}
