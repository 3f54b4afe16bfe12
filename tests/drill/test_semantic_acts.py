"""Every row of the drill that plays out in a bare cell: its control works, and no more is reached than is known."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import bulkhead.drill
from bulkhead.drill.in_bare_cell import SemanticAct, play_apart, reached

ACTS: list[SemanticAct] = [
    act
    for module in sorted(m.name for m in pkgutil.iter_modules(bulkhead.drill.__path__))
    if module.startswith("semantic_")
    for act in getattr(importlib.import_module(f"bulkhead.drill.{module}"), "ACTS", ())
]


@pytest.mark.parametrize("act", [pytest.param(act, id=act.name, marks=[pytest.mark.slow] * act.slow) for act in ACTS])
def test_a_hostile_compartment_reaches_no_more_than_is_known_and_its_control_works(
    act: SemanticAct, tmp_path: Path
) -> None:
    finding = play_apart(act, tmp_path)
    print(act.name, finding)
    assert finding.control and finding.tried > 0
    assert finding.reached == act.known <= finding.tried, finding.note
    assert bool(act.known) == bool(act.residue)
    assert reached(act, finding).control == ""
