"""The memory of auth and of keyring after a longer day: no password in use is confirmed by either dump alone."""

from pathlib import Path

import pytest

from bulkhead.drill.bare_cell import BareCell
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, play_apart
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_memory import _dump
from bulkhead.records.common_passwords import COUNT, common_passwords


def test_the_list_has_ten_thousand_different_passwords_that_are_long_enough_and_is_always_the_same() -> None:
    words = common_passwords()
    assert len(words) == len(set(words)) == COUNT == 10_000
    assert min(map(len, words)) >= 8 and words == common_passwords()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_after_a_day_of_forty_people_neither_memory_confirms_one_of_their_usual_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.drill.in_bare_cell.SECONDS", 300.0)

    async def day(cell: BareCell) -> Finding:
        people, found, control = await _dump(cell, 40)
        return Finding(sum(found.values()), len(people), control, str(found))

    finding = play_apart(SemanticAct("day", "auth", (Column.VERIFIERS,), "", "", "", day), tmp_path)
    assert finding.control and finding.tried == 40
    assert finding.reached == 0, finding.note
