"""Address layouts: every compartment of a cell knows its image's own, and nothing of another cell's.

Whoever finds a hole in one cell must not know from it where to jump in the next: each cell has images of its own.
"""

from functools import partial

from bulkhead.boundary.processes import PROCESSES
from bulkhead.drill.range import Range
from bulkhead.drill.semantic import ATTEMPT, Column, Count, Reached, SemanticProbe

PROGRAM = "python"  # where the program itself lies: the same everywhere unless it is position independent


def compare_layouts(compartment: str, range_: Range) -> Reached:
    """The tenants whose image of the same kind has a library or the heap where this one has it.

    A program that is not position independent lies at one address in every process of the host: that counts as an
    attempt that succeeds, since it says nothing of the other cell that is not true of all.
    """
    image = PROCESSES[compartment].image
    first = next(process.name for process in PROCESSES.values() if process.image is image)
    own = _layout(range_, compartment, range_.home)
    twin_of_image = _layout(range_, first, range_.home)
    others = {tenant: _layout(range_, first, tenant) for tenant in range_.others}
    shared = {
        tenant: {name for name, base in own.items() if base in found.values()} for tenant, found in others.items()
    }
    same = {tenant for tenant, names in shared.items() if names - {PROGRAM}}
    act = f"{compartment}-knows-layouts{ATTEMPT}1"
    fixed = frozenset({act}) if any(PROGRAM in names for names in shared.values()) else frozenset[str]()
    control = "" if own and own == twin_of_image else "two forks of one image do not agree, so the bases say nothing"
    note = f"bases of {', '.join(own)} compared with {len(range_.others)} other cells: {len(same)} share one"
    if fixed:
        note += "; the program lies at one address everywhere: this Python is not position independent"
    count = Count(frozenset(same) | fixed, frozenset(range_.others) | {act})
    return Reached({Column.OTHER_TENANTS: count}, control, note)


def _layout(range_: Range, compartment: str, tenant: str) -> dict[str, int]:
    found = range_.twin(compartment, tenant).ask("reach.own_layout").get("found") or {}
    return {name: int(address) for name, address in found.items() if address}


PROBES = tuple(
    SemanticProbe(
        f"{name}-knows-layouts", name, (Column.OTHER_TENANTS,),
        attempts="compare where its program, C library and heap lie with other cells",
        success_means="an address learnt in one cell is good in another",
        control="two forks of one image agree", run=partial(compare_layouts, name),
    )
    for name in PROCESSES
)  # fmt: skip
