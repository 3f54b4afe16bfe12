"""What an image is locked to, and when. What it can do then is the drill's: wheel-in-front and wheel-in-vault."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.supervisor.cells import running

from bulkhead.boundary.processes import PROCESSES, Image
from bulkhead.errors import ConfigError
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.allowed_calls import UNKNOWN
from bulkhead.supervisor.image_calls import image_calls
from bulkhead.supervisor.image_lock import ImageTerms
from bulkhead.supervisor.launch import START
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.lock import Mechanism, Outcome
from bulkhead.supervisor.seccomp import compile_filter
from bulkhead.supervisor.syscalls import MACHINES

SOLO = TenantId("solo")


def test_an_image_needs_no_package_before_its_lock() -> None:
    statement = (
        f"import runpy, sys; runpy.run_path({str(START)!r})['find_ourselves']()\n"
        "import bulkhead.supervisor.control, bulkhead.supervisor.image_lock, bulkhead.supervisor.memfd\n"
        "sys.exit(any('packages' in path for path in sys.path))"
    )
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", statement], check=True, timeout=30)


@pytest.mark.parametrize("image", list(Image))
def test_the_terms_of_an_image_are_the_same_at_its_other_end(image: Image, tmp_path: Path) -> None:
    terms = ImageTerms.of(image, Layout(tmp_path, SOLO), 300_000, 2)
    assert ImageTerms.decode(terms.encode()) == terms
    own = {process.name for process in PROCESSES.values() if process.image is image}
    assert {Path(home).name for home, _ in terms.homes} <= own
    if os.geteuid() == 0:
        assert {uid - 300_000 - 128 for uid in terms.uids} == {PROCESSES[name].slot for name in own}


def test_an_installation_below_a_path_of_packages_is_refused() -> None:
    below = Path(START).parents[2] / "i"
    with pytest.raises(ConfigError, match="from which Python loads code"):
        ImageTerms.of(Image.VAULT, Layout(below, SOLO), 300_000, 0)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("duty", [True, False])
def test_the_filter_of_an_image_fits_on_every_machine(machine: str, duty: bool) -> None:
    rules = image_calls(range(300_001, 300_012), writable=duty, dial=duty, accept=not duty, send_descriptors=duty)
    assert {"execve", "mount", "ptrace", "fchmod", "process_vm_readv", "setuid", "setns"}.isdisjoint(rules)
    assert "sendmsg" in rules or not duty
    assert compile_filter(rules, UNKNOWN, machine)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capabilities to give up")
def test_both_images_of_a_running_cell_keep_what_locking_compartments_takes(solo: Path) -> None:
    async def look() -> None:
        async with running(solo) as cell:
            for image, pid in cell.image_pids().items():
                status = Path(f"/proc/{pid}/status").read_text()
                assert "CapEff:\t00000000002401e4\n" in status and "CapBnd:\t00000000002401e4\n" in status, image
                assert "NoNewPrivs:\t1\n" in status and "Seccomp:\t2\n" in status, image
            locks = [image.report for image in cell._images.values()]
            assert all(lock and lock.outcome(Mechanism.SECCOMP) is Outcome.APPLIED for lock in locks)

    asyncio.run(look())
