"""Every wall and check that is taken away, one at a time, is missed by each row of the drill that it touches."""

import json
import os
import resource
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.drill.weakened_copy import Edit, make_copy
from tests.drill.weakenings import CELLS, WALLS, WEAKENINGS, Weakening

from bulkhead.cli.exit_codes import ExitCode

STRIKE = Path(__file__).with_name("strike.py")
IS_ROOT = os.geteuid() == 0
SECONDS = 120.0
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
NEEDS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="only root locks as root does")
Host = tuple[bool, tuple[str, ...]]
"""Whether an ordinary user starts everything, and which mechanisms are missing."""


def strike(python: Path, rows: Iterable[str], host: Host) -> dict[str, Any]:
    """What each row showed, run from the sources that this interpreter finds."""
    user, missing = host
    command = [str(python), "-I", "-B", str(STRIKE), *rows, *["--user"] * user, f"--missing={','.join(missing)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("sources") == str(python.parents[1] / "src" / "bulkhead")
    return found


def copy_of(directory: Path, edits: Sequence[Edit] = ()) -> Path:
    directory.chmod(0o711)
    return make_copy(directory, edits)


def needs_root(weakening: Weakening) -> bool:
    return weakening in (*WALLS, *CELLS) and not weakening.user


def param(weakening: Weakening) -> Any:
    as_root = needs_root(weakening)
    marks = [NEEDS_ROOT] * as_root + [pytest.mark.slow] * weakening.slow
    return pytest.param(weakening, id=weakening.name, marks=marks)


@pytest.mark.parametrize("weakening", [param(weakening) for weakening in WEAKENINGS])
def test_a_weakening_is_caught_by_every_row_that_it_touches(weakening: Weakening, tmp_path: Path) -> None:
    python = copy_of(tmp_path, weakening.edits)
    found = strike(python, weakening.caught_by, (weakening.user, weakening.missing))
    blind = {row: shown["shows"] for row, shown in found.items() if shown["reached"] <= shown["known"]}
    assert not blind
    assert set(found) == set(weakening.caught_by)


HOSTS = sorted({(weakening.user, weakening.missing) for weakening in (*WALLS, *CELLS)})


@pytest.mark.parametrize("host", [pytest.param(host, id=" ".join(("user",) * host[0] + host[1])) for host in HOSTS])
def test_the_same_rows_hold_on_the_same_host_where_nothing_is_weakened(host: Host, tmp_path: Path) -> None:
    """Rows of the wall and of live cells; those that are played in a bare cell hold in test_semantic_acts.py."""
    rows = {row for weakening in (*WALLS, *CELLS) if (weakening.user, weakening.missing) == host
            for row in weakening.caught_by if IS_ROOT or not needs_root(weakening)}  # fmt: skip
    if not rows:
        pytest.skip("only root locks as root does")
    found = strike(copy_of(tmp_path), sorted(rows), host)
    assert set(found) == rows
    assert {row: shown["shows"] for row, shown in found.items() if shown["reached"] != shown["known"]} == {}
    assert {row: shown["shows"] for row, shown in found.items() if not shown["control"]} == {}


def whole_matrix_sees(weakening: Weakening) -> bool:
    """Not what only a host without another wall would show, nor what another user would."""
    return not weakening.missing and (not needs_root(weakening) if not IS_ROOT else not weakening.user)


@pytest.mark.slow  # half a minute each
@pytest.mark.timeout(300)
@pytest.mark.parametrize("weakening", [pytest.param(w, id=w.name) for w in WEAKENINGS if whole_matrix_sees(w)])
def test_a_weakening_takes_the_whole_matrix_over_its_budget(weakening: Weakening, tmp_path: Path) -> None:
    python, written = copy_of(tmp_path, weakening.edits), tmp_path / "drill.json"
    command = [str(python), "-I", "-B", "-m", "bulkhead.cli.main", "drill", "--quiet", "--json", str(written)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (HARD, HARD)),
    )  # as strike.py
    if weakening.ends_with:
        assert done.returncode not in {ExitCode.OK, ExitCode.FINDING}
        assert weakening.ends_with in done.stderr
        return
    assert done.returncode == ExitCode.FINDING, done.stderr[-2000:]
    document = json.loads(written.read_text(encoding="utf-8"))
    shown = {f"{row['compartment']}/{row['name']}": row["verdict"] for row in document["rows"]}
    assert {shown[row] for row in weakening.caught_by} <= {"reached", "granted"}
    over = {excess["compartment"] for excess in document["over"]}
    assert over >= {row.partition("/")[0] for row in weakening.caught_by}
