"""The product where an ordinary user can read it: checkout, packages and interpreter may lie where only root looks."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import bulkhead

_NAMES = (f"python{sys.version_info.major}.{sys.version_info.minor}",)
_NO_PART = shutil.ignore_patterns("test", "tests", "site-packages", "__pycache__", "idlelib", "tkinter", "ensurepip")


def may_run(python: Path, uid: int) -> bool:
    """Whether that user can run the drill with this interpreter, from another directory."""
    trial = [str(python), "-c", "import bulkhead.drill.run"]
    try:
        subprocess.run(
            trial, user=uid, group=uid, extra_groups=(), check=True, capture_output=True, cwd="/", timeout=60
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def make_readable(directory: Path, uid: int) -> Path:
    """The interpreter of a copy below `directory`, which that user can run. Raises AssertionError where none can."""
    packages = directory / "packages"
    shutil.copytree(Path(bulkhead.__file__).parent, packages / "bulkhead", ignore=shutil.ignore_patterns("__pycache__"))
    for file, source in _files(_closure(["bulkhead"])):
        target = packages / file
        if packages in target.resolve().parents and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    python = directory / "bin" / "python"
    python.parent.mkdir()
    scheme = directory / "lib" / _NAMES[0] / "site-packages"
    scheme.mkdir(parents=True)
    (scheme / "product.pth").write_text(f"{packages}\n")
    for path in (directory, *directory.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    for base in _interpreters(directory):
        python.unlink(missing_ok=True)
        python.symlink_to(base)
        (directory / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        if may_run(python, uid):
            return python
    raise AssertionError("no interpreter here can be run by an ordinary user")


def _interpreters(directory: Path) -> Iterator[Path]:
    """Of this version: the one that runs, those of the system, last a copy of the one that runs."""
    yield Path(sys.executable).resolve()
    for folder in ("/usr/bin", "/usr/local/bin"):
        yield from (path.resolve() for name in _NAMES if (path := Path(folder) / name).exists())
    base, copy = Path(sys.base_prefix), directory / "base"
    for part in ("bin", "lib"):
        (copy / part).mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), copy / "bin" / _NAMES[0])
    shutil.copytree(base / "lib" / _NAMES[0], copy / "lib" / _NAMES[0], ignore=_NO_PART)
    for path in (base / "lib").glob("libpython*"):
        shutil.copy(path, copy / "lib")
    for path in copy.rglob("*"):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    yield copy / "bin" / _NAMES[0]


def _closure(names: Iterable[str]) -> set[str]:
    """Distributions and all that they require when they run."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform
            continue
        found.add(name)
        wanted += [_name_of(text) for text in requires if "extra ==" not in text]
    return found


def _name_of(requirement: str) -> str:
    for number, letter in enumerate(requirement):
        if not (letter.isalnum() or letter in "-_."):
            return requirement[:number]
    return requirement


def _files(names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    for name in names:
        for file in metadata.files(name) or ():
            source = Path(os.fspath(file.locate()))
            if ".." not in file.parts and source.is_file() and "__pycache__" not in file.parts:
                yield str(file), source
