"""`python -I -B -m bulkhead.inventory.loaded`: what every compartment loads, measured by loading it.

Each compartment's own modules are imported in a fork of its own, as its image would, and so is each whole image, from
which compartments fork: code of an image lies in the memory of all of them, used or not. Nothing is started.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bulkhead.boundary.processes import PROCESSES, Image, Process
from bulkhead.supervisor.images import import_all, preload, stand_in

MAPS_MAX = 4 << 20
IMAGE, COMMANDS = "image-", "cli"
NATIVE = ("_ssl", "_hashlib", "_sqlite3")  # of the interpreter's own: each brings a library that is not
_AT_START = frozenset(name.partition(".")[0] for name in sys.modules)  # with .pth files, which no image reads


def load_compartment(process: Process) -> None:
    """What this compartment itself imports."""
    if process.image is Image.VAULT:
        sys.modules["ssl"] = None  # type: ignore[assignment]  # as its image does
    stand_in()
    if process.image is Image.FRONT:
        importlib.import_module("uvloop")
    importlib.import_module("bulkhead.boundary.exchange").prepare_decoders()
    import_all(f"bulkhead.{process.name}")


def load_commands() -> None:
    """What any command of the command line imports."""
    import_all("bulkhead.cli")


def found() -> dict[str, list[str]]:
    """modules: top-level names that are not the interpreter's, and NATIVE. libraries: shared objects, as mapped."""
    roots = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
    own = sys.stdlib_module_names | {"bulkhead", "__main__", "__mp_main__"} | _AT_START
    modules = {name for name in roots if name not in own} | (set(NATIVE) & sys.modules.keys())
    with Path("/proc/self/maps").open("rb") as file:
        lines = file.read(MAPS_MAX).decode("utf-8", "replace").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count(" ") >= 5 and "/" in line}
    return {"modules": sorted(modules), "libraries": sorted(path for path in paths if ".so" in Path(path).name)}


def in_fork(load: Callable[[], None]) -> dict[str, list[str]]:
    """What a process has after `load`. Raises ChildProcessError where it did not come that far."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            load()
            with os.fdopen(writing, "w") as pipe:
                json.dump(found(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise ChildProcessError("a compartment's modules cannot be loaded")
    return dict(json.loads(text))


def main() -> None:
    """One JSON object: compartment, `image-` and its name, or `cli`, to what it has."""
    loads: dict[str, Callable[[], None]] = {name: partial(load_compartment, row) for name, row in PROCESSES.items()}
    loads |= {IMAGE + image.value: partial(preload, image) for image in Image}
    loads[COMMANDS] = load_commands
    print(json.dumps({name: in_fork(load) for name, load in loads.items()}))


if __name__ == "__main__":
    main()
