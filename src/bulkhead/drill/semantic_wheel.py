"""A package that is poisoned: it acts when an image imports it, before any compartment is forked and locked.

The image is the real one, executed as the supervisor of a running cell executes it; only its path begins with a
folder in which a package's name is ours. It then holds what all compartments of that image hold, by its charter, and
what is measured is everything else: other cells, the host, the network, and what all cells load.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.processes import PROCESSES, Image, Reach, compartment_uid
from bulkhead.demo.booty import Goal, first_mapping, goals, planted
from bulkhead.drill.hostile_wheel import ORDERS
from bulkhead.drill.range import Range
from bulkhead.drill.semantic import ATTEMPT, Column, Count, Reached, SemanticProbe
from bulkhead.errors import TemporaryFailure
from bulkhead.supervisor.image_lock import ImageTerms
from bulkhead.supervisor.launch import launch

PACKAGE = "msgspec"  # what both images import
SECONDS = 30.0
_ANSWERS_MAX = 1 << 16
_NEEDED = frozenset({"read_file", "signal_process", "connect_unix", "open_for_writing"})
_NEEDED_AS_ROOT = frozenset({"trace", "become", "read_memory", "change_mode"})  # cells are closed to their own user


@dataclass(frozen=True, slots=True)
class Order:
    """One act: its canary, its column, and what it must find where success alone is no proof."""

    column: Column
    canary: str
    act: str
    arguments: Mapping[str, Any]
    proof: str | None = None


def import_poison(image: Image, compartment: str, range_: Range) -> Reached:
    """What a package poisoned in `image` reaches."""
    with planted(range_.directory, range_.tenants) as placed, _custody(range_) as keys, _abstract() as name:
        every = goals(range_.directory, range_.endpoints, placed, range_.processes(), frozenset())
        dials = any(process.image is image and process.reach is Reach.DIALS for process in PROCESSES.values())
        goals_here = [goal for goal in every if not (dials and goal.kind == "listener")]
        orders = [*_against_others(range_, goals_here, keys), *_against_all(f"wheel-in-{image.value}", name)]
        folder = range_.scratch()
        (folder / ORDERS).write_text(json.dumps([asdict(o) | {"column": "", "canary": ""} for o in orders]))
        (folder / f"{PACKAGE}.py").write_text(
            "import os\nfrom bulkhead.drill.hostile_wheel import strike\nstrike(os.path.dirname(__file__))\n"
        )
        free = _answers(subprocess.run(
            [sys.executable, "-I", "-B", str(folder / f"{PACKAGE}.py")],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
        ).stdout, len(orders))  # fmt: skip
        bound = _answers(_in_image(range_, image, folder), len(orders))
    counts: dict[Column, Count] = {}
    for order, locked, unlocked in zip(orders, bound, free, strict=True):
        if locked or unlocked:
            names = frozenset({order.canary})
            one = Count(names if locked else frozenset(), names)
            counts[order.column] = counts.get(order.column, Count(frozenset(), frozenset())) | one
    shown = {order.act for order, unlocked in zip(orders, free, strict=True) if unlocked}
    got = sorted({order.act for order, locked in zip(orders, bound, strict=True) if locked})
    silent = sorted({order.act for order in orders} - shown)
    note = f"{sum(bound)} of {len(orders)} acts reach something: {', '.join(got) or 'none'}; unlocked {sum(free)}"
    note += "; connecting is a duty of this image: see reach-listener" if dials else ""
    note += f"; shows nothing here: {', '.join(silent)}" if silent else ""
    missing = sorted((_NEEDED | _NEEDED_AS_ROOT if os.geteuid() == 0 else _NEEDED) - shown)
    return Reached(counts, f"unlocked it fails too: {', '.join(missing)}" if missing else "", note)


def _against_others(range_: Range, every: Sequence[Goal], keys: Mapping[str, tuple[Path, str]]) -> Iterator[Order]:
    """Files, keys, memory, processes, doors and uids of the other cells; listeners of all."""
    seen: set[int] = set()
    uid_base = range_.installation.settings.integer("uid_base")
    for goal in every:
        if goal.kind in {"listener", "datagram"}:
            yield Order(Column.NETWORK, f"network/{goal.kind} of {goal.tenant} {goal.arguments.get('port')}", goal.act,
                        goal.arguments)  # fmt: skip
        elif goal.tenant != range_.home:
            yield Order(Column.OTHER_TENANTS, goal.tenant, goal.act, goal.arguments, goal.proof)
            if goal.kind == "signal":
                for pid in _line_of(goal.arguments["pid"]):
                    if pid not in seen:
                        seen.add(pid)
                        yield from _against_process(goal.tenant, pid)
    for tenant in range_.others:
        path, token = keys[tenant]
        uid = compartment_uid(uid_base, range_.installation.tenant(tenant).slot, PROCESSES["store"])
        for act, arguments, proof in (
            ("read_file", {"path": str(path)}, token), ("open_for_writing", {"path": str(path)}, None),
            ("become", {"uid": uid}, None),
        ):  # fmt: skip
            yield Order(Column.OTHER_TENANTS, tenant, act, arguments, proof)


def _against_process(tenant: str, pid: int) -> Iterator[Order]:
    memory = {"pid": pid, "address": first_mapping(pid)}
    yield Order(Column.OTHER_TENANTS, tenant, "read_memory", memory, "7f454c46")
    for act in ("signal_process", "trace", "enter_network", "read_limits"):
        yield Order(Column.OTHER_TENANTS, tenant, act, {"pid": pid})
    for name in ("oom_score_adj", "mem"):
        yield Order(Column.OTHER_TENANTS, tenant, "open_for_writing", {"path": f"/proc/{pid}/{name}"})


def _against_all(probe: str, name: str) -> Iterator[Order]:
    """What all cells load, and the host."""
    for module in (PACKAGE, "cryptography", "bulkhead", "json"):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin:
            for act in ("open_for_writing", "change_mode"):
                yield Order(Column.PERSISTENCE, f"{probe}{ATTEMPT}{act} of {module}", act, {"path": spec.origin})
    for act in ("run_program", "mount"):
        yield Order(Column.PERSISTENCE, f"{probe}{ATTEMPT}{act}", act, {})
    yield Order(Column.NETWORK, f"{probe}{ATTEMPT}connect_abstract", "connect_abstract", {"name": name})
    yield Order(Column.NETWORK, f"{probe}{ATTEMPT}listen_tcp", "listen_tcp", {})


def _line_of(pid: int) -> list[int]:
    """The image that forked a compartment, and the supervisor that executed the image."""
    image = _parent(pid)
    return [image, _parent(image)]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


@contextlib.contextmanager
def _custody(range_: Range) -> Iterator[dict[str, tuple[Path, str]]]:
    """A canary beside every cell's root keys, as private as they are; gone at the end."""
    made: dict[str, tuple[Path, str]] = {}
    try:
        for tenant in range_.tenants:
            path, token = range_.layout(tenant).root_key("drill-canary"), secrets.token_bytes(32)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(token)
            made[tenant] = (path, token.hex())
        yield made
    finally:
        for path, _ in made.values():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _abstract() -> Iterator[str]:
    """The name of an abstract unix socket that listens."""
    name = f"bulkhead-drill-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind("\0" + name)
        made.listen(8)
        yield name


def _in_image(range_: Range, image: Image, folder: Path) -> bytes:
    """What the image writes until it ends: as the cell at home executes it, but for one folder more on its path."""
    slot = range_.installation.tenant(range_.home).slot
    uid_base = range_.installation.settings.integer("uid_base")
    terms = ImageTerms.of(image, range_.layout(range_.home), uid_base, slot)
    read_end, write_end = os.pipe()
    try:
        process, channel = launch(replace(terms, paths=(str(folder), *terms.paths)), write_end)
    finally:
        os.close(write_end)
    try:
        return _read(read_end)
    finally:
        os.close(read_end)
        channel.close()
        process.kill()
        process.wait()


def _read(descriptor: int) -> bytes:
    deadline, text = time.monotonic() + SECONDS, b""
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(descriptor, _ANSWERS_MAX)
        if not piece:
            return text
        text += piece
    raise TemporaryFailure("the poisoned image did not come to its end")


def _answers(output: bytes, wanted: int) -> list[bool]:
    """Raises ValueError with what was written where it is no list of so many answers."""
    try:
        found = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, list) or len(found) != wanted:
        raise ValueError(f"no answers: {output[-200:]!r}")
    return [bool(answer) for answer in found]


PROBES = tuple(
    SemanticProbe(
        f"wheel-in-{image.value}", compartment, (Column.OTHER_TENANTS, Column.NETWORK, Column.PERSISTENCE),
        attempts="act while the image imports it: files, keys, memory, processes, uids and doors of other cells, "
                 "packages that all cells load",
        success_means="a poisoned package in one cell reaches another, or stays",
        control="the same acts in a process that no image's lock binds", run=partial(import_poison, image, compartment),
    )
    for image, compartment in ((Image.FRONT, "mx"), (Image.VAULT, "dialer"))
)  # fmt: skip
