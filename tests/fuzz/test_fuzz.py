"""Parsers against input made to break them: seeds cut at every place, random changes, and coverage-guided fuzzing.

The first two always run; the last is slow and needs atheris, a few seconds a target (BULKHEAD_FUZZ_SECONDS).
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.harness import CORPUS, Harness
from tests.fuzz.targets import HARNESSES

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("BULKHEAD_FUZZ_SECONDS", "5"))
EVERY_SPLIT_MAX = 400  # octets of a seed that is cut at every place
every_harness = pytest.mark.parametrize("harness", HARNESSES.values(), ids=HARNESSES)


def test_every_target_has_its_seeds_and_every_folder_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)
    assert all(len(harness.seeds()) >= 2 for harness in HARNESSES.values())
    assert sum(len(seed) for harness in HARNESSES.values() for seed in harness.seeds()) < 1 << 17


@every_harness
def test_a_seed_gives_the_same_however_it_is_cut(harness: Harness) -> None:
    for seed in harness.seeds():
        (harness.run_every_split if len(seed) <= EVERY_SPLIT_MAX else harness.run)(seed)


def changed(harness: Harness) -> st.SearchStrategy[bytes]:
    """Seeds with a stretch of them replaced, or doubled; or any octets."""
    seed = st.sampled_from(harness.seeds())
    place = st.integers(0, 4096)

    def replaced(whole: bytes, at: int, length: int, by: bytes) -> bytes:
        at %= len(whole) + 1
        return whole[:at] + by + whole[at + length :]

    def spliced(one: bytes, other: bytes, at: int, there: int) -> bytes:
        return one[: at % (len(one) + 1)] + other[there % (len(other) + 1) :]

    return (
        st.builds(replaced, seed, place, st.integers(0, 20), st.binary(max_size=20))
        | st.builds(spliced, seed, seed, place, place)
        | st.binary(max_size=200)
    )


@every_harness
def test_random_changes_break_nothing(harness: Harness) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(changed(harness))
    def run(data: bytes) -> None:
        harness.run(data)

    run()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python or machine"
)
@every_harness
def test_coverage_guided_fuzzing_finds_nothing(harness: Harness, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.atheris_run", harness.name, str(tmp_path), str(SECONDS)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 90)
    failed = {path.name: path.read_bytes() for path in tmp_path.iterdir() if "-" in path.name}
    assert done.returncode == 0 and not failed, f"{failed}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
