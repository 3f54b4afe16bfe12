"""The list of probes, read from probes.toml and checked: an act by name, its target and what its success would mean."""

import functools
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bulkhead.drill import acts_files, acts_kernel, acts_network, acts_processes, acts_resources
from bulkhead.drill.targets import Targets, Victim
from bulkhead.supervisor.lock import Lock

Act = Callable[[Targets, Victim], None]

_MODULES = {
    "files": acts_files,
    "kernel": acts_kernel,
    "network": acts_network,
    "processes": acts_processes,
    "resources": acts_resources,
}


class Kind(Enum):
    """What an act goes at."""

    FILE = "file"
    PROCESS = "process"
    NETWORK = "network"
    KERNEL = "kernel"
    DESCRIPTOR = "descriptor"
    RESOURCE = "resource"
    MEMORY = "memory"
    NAMESPACE = "namespace"


class Target(Enum):
    """Whom a success would hurt."""

    HOST = "host"
    SIBLING = "sibling"
    WORKER = "worker"  # of the same compartment, under the same uid
    OTHER_CELL = "other-cell"
    NETWORK = "network"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True)
class Probe:
    """One row of probes.toml; its head explains the fields."""

    name: str
    kind: Kind
    act: Act
    target: Target
    success_means: str
    control: str
    alone: bool = False
    needs_root: bool = False
    granted_by: str = ""

    def granted(self, lock: Lock) -> bool:
        """Whether the lock's own duties allow the act."""
        duties = {"dial": lock.dial, "writable": lock.writable, "send_descriptors": lock.send_descriptors}
        return duties.get(self.granted_by, False)


def act_named(name: str) -> Act:
    """The act of a row's `act`, such as "files.read_file". Raises KeyError or AttributeError."""
    module, _, function = name.partition(".")
    act: Act = getattr(_MODULES[module], function)
    return act


@functools.cache
def load_probes() -> dict[str, Probe]:
    """Every probe by name, in the file's order. Raises ValueError on a row that is wrong: our bug."""
    text = Path(__file__).with_name("probes.toml").read_text(encoding="utf-8")
    probes: dict[str, Probe] = {}
    for row in tomllib.loads(text)["probe"]:
        act = act_named(row.pop("act"))
        needs = row.pop("needs", "")
        if needs not in {"", "root"} or row.get("granted_by", "") not in {"", "dial", "writable", "send_descriptors"}:
            raise ValueError(f"probe {row['name']}: unknown needs or granted_by")
        if row["name"] in probes:
            raise ValueError(f"probe {row['name']} is listed twice")
        row |= {"kind": Kind(row["kind"]), "target": Target(row["target"])}
        probes[row["name"]] = Probe(act=act, needs_root=needs == "root", **row)
    return probes
