"""A copy of the sources with one text replaced, and an interpreter that runs them as it would run the real ones.

Nothing in the product can be told to be weak: the weakness is in the text of the copy. The interpreter is a virtual
environment of three files, so that it also holds for what is executed afresh with `-I`, as images are.
"""

import contextlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bulkhead


@dataclass(frozen=True, slots=True)
class Edit:
    """One text of one file below `bulkhead/`, found there exactly once, and what stands there instead."""

    file: str
    text: str
    instead: str


def make_copy(directory: Path, edits: Sequence[Edit]) -> Path:
    """The interpreter of a copy below `directory`. Raises AssertionError where a text is not there exactly once."""
    package = directory / "src" / "bulkhead"
    shutil.copytree(Path(bulkhead.__file__).parent, package, copy_function=_link)
    for edit in edits:
        path = package / edit.file
        text = path.read_text(encoding="utf-8")
        assert text.count(edit.text) == 1, f"{edit.file} has {text.count(edit.text)} times: {edit.text}"
        path.unlink()  # it shares its octets with the real one
        path.write_text(text.replace(edit.text, edit.instead), encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
    return _interpreter(directory)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _interpreter(directory: Path) -> Path:
    base = Path(sys.executable).resolve()
    python = directory / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(base)
    (directory / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    packages = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    paths = dict.fromkeys([str(directory / "src"), *packages])
    scheme = sysconfig.get_path("purelib", "venv", {"base": str(directory)})
    Path(scheme).mkdir(parents=True)
    (Path(scheme) / "weakened.pth").write_text("\n".join(paths) + "\n")
    with contextlib.suppress(OSError):
        directory.chmod(0o711)
    return python
