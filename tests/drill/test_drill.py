"""The drill as a whole: run by its command on a scratch installation, within budget, and nothing of it is left."""

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.drill.readable_copy import make_readable, may_run

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.compare import changes
from bulkhead.drill.probes import load_probes
from bulkhead.drill.semantic import Column, load_semantic

SECONDS = 900  # two whole drills: half a minute each, and five minutes were seen where other work shares the processors
pytestmark = pytest.mark.timeout(SECONDS)
PAGE = Path(__file__).parents[2] / "docs" / "drill.md"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it printed, and its document."""

    status: int
    text: str
    remarks: str
    document: dict[str, Any]
    svg: str
    html: str


def drill(folder: Path, *arguments: str, user: int | None = None, python: Path = Path(sys.executable)) -> Run:
    command = [str(python), "-m", "bulkhead.cli.main", "drill"]
    command += ["--json", str(folder / "d.json"), "--svg", str(folder / "d.svg"), "--html", str(folder / "d.html")]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False, user=user, group=user,
        extra_groups=None if user is None else (),
        cwd=folder, env={**os.environ, "TMPDIR": "/tmp"},
    )  # fmt: skip
    assert (folder / "d.json").exists(), done.stderr
    document = json.loads((folder / "d.json").read_text())
    return Run(
        done.returncode, done.stdout, done.stderr, document, (folder / "d.svg").read_text(),
        (folder / "d.html").read_text(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield drill(tmp_path_factory.mktemp("drill"))


def cells(run: Run, column: Column) -> Iterator[dict[str, Any]]:
    for line in run.document["matrix"]:
        yield line["cells"][column.value]


def test_the_whole_drill_is_within_its_budget_and_every_row_shows_something(whole: Run) -> None:
    assert whole.document["over"] == [], whole.text
    assert whole.document["gaps"] == [], whole.text
    assert whole.status == 0
    assert "within budget" in whole.text


def test_every_compartment_meets_every_probe_of_the_wall_and_every_quick_row_of_the_table(whole: Run) -> None:
    rows = {(row["compartment"], row["name"]) for row in whole.document["rows"]}
    assert {(name, probe) for name in PROCESSES for probe in load_probes()} <= rows
    assert {(row.compartment, row.name) for row in load_semantic().values() if not row.slow} <= rows
    assert {line["compartment"] for line in whole.document["matrix"]} == set(PROCESSES)


def test_no_compartment_reaches_another_tenant_or_a_verifier_and_mail_only_of_its_sessions(
    whole: Run,
) -> None:
    for column in (Column.OTHER_TENANTS, Column.VERIFIERS):
        assert {cell["reached"] for cell in cells(whole, column)} == {0}
        assert all(cell["of"] for cell in cells(whole, column))
    for cell in cells(whole, Column.STORED_MAIL):
        assert cell["reached"] == cell["sessions"]
        assert cell["others"] == 0


def test_a_worker_in_strict_mode_has_one_session_and_its_mail(whole: Run) -> None:
    access = {line["mode"]: line["cells"] for line in whole.document["matrix"] if line["compartment"] == "access"}
    assert access["strict"]["typed passwords"]["reached"] == 1
    assert access["default"]["typed passwords"]["reached"] > 1
    assert 0 < access["strict"]["stored mail"]["reached"] < access["default"]["stored mail"]["reached"]


def test_what_was_not_tried_is_no_zero(whole: Run) -> None:
    orders = next(line for line in whole.document["matrix"] if line["compartment"] == "mx")["cells"]["orders"]
    assert (orders["reached"], orders["basis"]) == (None, "not tried")


def test_the_picture_and_the_page_refer_to_nothing_outside_themselves(whole: Run) -> None:
    ElementTree.fromstring(whole.svg)
    assert "Within budget" in whole.svg
    for content in (whole.svg, whole.html):
        addresses = re.findall(r"https?://[^\"' <]+", content)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}
        assert "<script" not in content
    assert "auth + keyring" in whole.svg


def test_the_result_goes_into_the_ledger_of_every_tenant(whole: Run) -> None:
    told = next(line for line in whole.remarks.splitlines() if line.startswith("into the ledgers:"))
    assert all(tenant in told for tenant in whole.document["tenants"])


def test_pairs_are_computed_for_every_two_compartments_and_the_worst_comes_first(whole: Run) -> None:
    pairs = whole.document["pairs"]
    assert len(pairs) == len(PROCESSES) * (len(PROCESSES) - 1) // 2
    weights = [pair["weight"] for pair in pairs]
    assert weights == sorted(weights, reverse=True)
    worst = next(pair for pair in pairs if set(pair["compartments"]) == {"auth", "keyring"})
    assert worst["gains"]["verifiers"]["alone"] == 0 < worst["gains"]["verifiers"]["together"]


def test_three_pairs_are_tried_live_and_do_together_what_neither_does_alone(whole: Run) -> None:
    sampled = {frozenset(pair["compartments"]): pair["sampled"] for pair in whole.document["pairs"] if pair["sampled"]}
    assert set(sampled) == {frozenset(two) for two in (("auth", "keyring"), ("access", "auth"), ("access", "keyring"))}
    for text in sampled.values():
        assert re.search(r": [1-9]\d* of ", text), text
        assert "unproven" not in text
        assert "alone does it too" not in text


def test_every_key_of_the_document_is_in_its_page(whole: Run) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shapes = [whole.document, whole.document["matrix"][0], whole.document["matrix"][0]["cells"]["addresses"],
              whole.document["matrix"][0]["wall"], whole.document["rows"][0], whole.document["pairs"][0],
              whole.document["budget"][0]]  # fmt: skip
    for key in {key for shape in shapes for key in shape}:
        assert f"`{key}`" in page, key
    assert all(f"| {column.value} |" in page for column in Column)


def test_chosen_rows_alone_run_and_a_budget_of_nothing_is_exceeded(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text("")
    run = drill(tmp_path, "--rows", "directory/*own-disk,mx/fork", "--budget", str(tmp_path / "none.toml"))
    assert {(row["compartment"], row["name"]) for row in run.document["rows"]} == {
        ("directory", "directory-own-disk"), ("mx", "fork"),
    }  # fmt: skip
    assert run.status == 1
    assert {(excess["compartment"], excess["column"]) for excess in run.document["over"]} == {
        ("directory", "addresses")
    }
    assert "OVER BUDGET" in run.text


def test_a_row_that_does_not_exist_is_an_error_and_not_a_drill_of_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulkhead.cli.main", "drill", "--rows", "mx,no-such-row"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "no-such-row" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole drill of this run was an ordinary user's")
def test_an_ordinary_user_runs_it_too(tmp_path: Path) -> None:
    uid = 50_900_000 + os.getpid() % 100_000
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as made:
        folder, python = Path(made), Path(sys.executable)
        folder.chmod(0o777)
        if not may_run(python, uid):
            python = make_readable(folder / "copy", uid)
        run = drill(folder, user=uid, python=python)
    assert run.document["user"] == f"uid {uid}"
    assert run.document["over"] == [], run.text
    assert run.document["gaps"] == [], run.text
    assert run.document["whole"]
    assert run.status == 0


def test_a_comparison_names_what_moved(whole: Run) -> None:
    moved = json.loads(json.dumps(whole.document))
    line = next(line for line in moved["matrix"] if (line["compartment"], line["mode"]) == ("store", "default"))
    line["cells"]["addresses"]["reached"] += 1
    row = next(row for row in moved["rows"] if row["name"] == "fork" and row["compartment"] == "store")
    row["verdict"] = "reached"
    found = list(changes(whole.document, moved))
    assert len(found) == 2
    assert found[0].startswith("store / addresses / default: 0 of ")
    assert found[1] == "store/fork: held -> reached"
    assert list(changes(whole.document, whole.document)) == []
