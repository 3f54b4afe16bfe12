"""What a live cell's processes map, hold and know: no more than their rows in PROCESSES and PEERS."""

import os
import re
from pathlib import Path

import pytest
from tests.supervisor.cells import running, unit_of

from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES, Image, Reach, compartment_uid
from bulkhead.supervisor.cell import Cell, edge_count
from bulkhead.supervisor.launch import START

PART_OF = {"_cffi_backend": "cffi"}
SITE_PACKAGE = re.compile(r"/site-packages/([A-Za-z0-9_]+)")


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def sockets(pid: int) -> dict[str, int]:
    """Type of unix socket ("0001" stream, "0005" packets) to how many this process has open."""
    kinds = {line.split()[6]: line.split()[4] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    found: dict[str, int] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(path.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            kind = kinds.get(target[8:-1], "other")
            found[kind] = found.get(kind, 0) + 1
    return found


def readable(cell: Cell) -> list[tuple[str, Image, int]]:
    """Name, image and pid of what this user may look into: a locked process only opens itself to root."""
    if os.geteuid() != 0:
        return []
    found = [(image, Image(image), pid) for image, pid in cell.image_pids().items()]
    return found + [(unit.name, unit.process.image, unit.pid) for unit in cell.units]


async def test_every_wall_of_a_cell_stands(solo: Path) -> None:
    async with running(solo) as cell:
        _assert_maps(cell)
        _assert_edges(cell)
        _assert_nothing_told(cell)
        _assert_own_uids_and_empty_gates(cell, solo)


def _assert_maps(cell: Cell) -> None:
    for name, image, pid in readable(cell):
        text = maps(pid)
        listed = {m for p in PROCESSES.values() if p.image is image for m in p.modules}
        roots = {PART_OF.get(part, part) for part in SITE_PACKAGE.findall(text)}
        assert roots <= listed | {"cffi"}, name  # an image's compartments share its mappings, as forked
        if image is Image.VAULT:
            assert not re.search(r"libssl|/_ssl\.|uvloop", text), name
        else:
            assert not re.search(r"sqlite|/nacl/", text), name


def _assert_edges(cell: Cell) -> None:
    pairs = {tuple(sorted((p.client, p.server))) for p in PEERS if p.client != OPERATOR_CONSOLE}
    found = {tuple(sorted((unit.process.name, peer))) for unit in cell.units for peer, _ in unit.edges}
    assert found == pairs and len(pairs) == edge_count()
    for unit in cell.units if os.geteuid() == 0 else ():
        expected = sum(unit.process.name in (p.client, p.server) for p in PEERS if p.client != OPERATOR_CONSOLE)
        open_now = sockets(unit.pid)
        assert open_now.get("0005", 0) == 1, (unit.name, open_now)  # its control channel
        listening = sum(bool(cell.tenant.settings.integer(f"listen.{name}")) for name in unit.process.listeners)
        own = 2  # the pair by which its event loop wakes itself, made in its own empty network where it has one
        dials = unit.process.reach is Reach.DIALS
        assert open_now.get("0001", 0) == expected + own * dials, (unit.name, open_now)
        assert open_now.get("other", 0) == listening + own * (not dials), (unit.name, open_now)


def _assert_nothing_told(cell: Cell) -> None:
    """Environment and arguments, which others may read, name no path but the program's, no key and no setting."""
    for name, _, pid in readable(cell):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert environment == b"LANG=C.UTF-8\0", name
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert arguments[1:5] == [b"-I", b"-S", b"-B", os.fsencode(START)], name
        assert arguments[5] in {b"front", b"vault"} and arguments[6].isdigit() and arguments[7:] == [b""]


def _assert_own_uids_and_empty_gates(cell: Cell, solo: Path) -> None:
    base = cell.installation.settings.integer("uid_base")
    for unit in cell.units:
        home = cell.layout.home(unit.process.name)
        assert not (home / "gate.pem").exists()
        if os.geteuid() == 0:
            uid = compartment_uid(base, 0, unit.process)
            assert Path(f"/proc/{unit.pid}").stat().st_uid in {uid, 0}  # 0: not dumpable
            status = Path(f"/proc/{unit.pid}/status").read_text()
            assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status and "CapEff:\t0000000000000000" in status
            assert home.stat().st_uid == (uid if unit.process.disk.name == "DATA" else 0)
    assert oct((solo / "log" / "solo.log").stat().st_mode)[-3:] == "600"


@pytest.mark.skipif(os.geteuid() != 0, reason="a locked process only opens itself to root")
async def test_no_compartment_holds_the_log_file_or_any_file_of_another(solo: Path) -> None:
    async with running(solo) as cell:
        homes = {unit.process.name: str(cell.layout.home(unit.process.name)) for unit in cell.units}
        for unit in cell.units:
            for path in Path(f"/proc/{unit.pid}/fd").iterdir():
                target = str(path.readlink())
                if target.startswith("/") and target != "/dev/null":
                    assert target.startswith(homes[unit.process.name] + "/"), (unit.name, target)
        store = unit_of(cell, "store")
        assert any("store" in str(p.readlink()) for p in Path(f"/proc/{store.pid}/fd").iterdir())
