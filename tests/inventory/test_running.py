"""A package that was installed after a cell's start is not what the cell runs."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.inventory.test_match import component

from bulkhead.inventory.running import mapping, not_started, started

OLD = replace(component("1.0", "old"), since=1)
NEW = replace(component("1.0", "new"), since=1 << 45)  # in a thousand years


@pytest.fixture(scope="module")
def running() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1)
    assert process.stdout is not None and process.stdin is not None
    process.stdout.readline()
    yield process
    process.communicate(b"\n")


def test_what_lies_there_since_before_the_start_runs_and_what_came_later_does_not(
    running: subprocess.Popen[bytes],
) -> None:
    assert not_started({"front": running.pid}, (OLD, NEW)) == {"new"}


def test_of_a_process_that_is_not_there_nothing_is_believed(running: subprocess.Popen[bytes]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert started(gone.pid) is None
    assert not_started({"front": running.pid, "vault": gone.pid}, (OLD, NEW)) == {"old", "new"}
    assert not_started({}, (OLD,)) == {"old"}


def test_a_cell_of_another_environment_may_run_anything() -> None:
    other = subprocess.Popen(["cat"], stdin=-1)
    assert not_started({"front": other.pid}, (OLD,)) == {"old"}
    other.communicate(b"")


def test_who_maps_a_shared_object_is_seen_and_who_cannot_be_looked_into_is_not_guessed() -> None:
    wait = "print(flush=True); input()"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1)
        for code in (f"import msgspec._core; {wait}", wait)
    ]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
    pids = {both[0].pid: "mx", both[1].pid: "access"}
    library = replace(OLD, places=("msgspec",))
    assert mapping(pids, [library]) == ("mx",)
    assert mapping(pids, [OLD, replace(OLD, places=("nobody",))]) is None
    for process in both:
        process.communicate(b"\n")
    assert mapping(pids, [library]) is None
