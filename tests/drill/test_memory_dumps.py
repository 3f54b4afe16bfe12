"""The memory of auth and of keyring after a longer day: no password in use is confirmed by either dump alone."""

from pathlib import Path

import pytest

from bulkhead.drill.bare_cell import BareCell
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, play_apart
from bulkhead.drill.offline import cached_form, confirmed_together, forms_in, guesses, words_in
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_memory import _dump, live_a_day
from bulkhead.records.common_passwords import COUNT, common_passwords


def test_the_list_has_ten_thousand_different_passwords_that_are_long_enough_and_is_always_the_same() -> None:
    words = common_passwords()
    assert len(words) == len(set(words)) == COUNT == 10_000
    assert min(map(len, words)) >= 8 and words == common_passwords()


def test_the_searches_find_what_is_there_wherever_it_lies() -> None:
    words = common_passwords()[:100]
    secret = bytes(range(1, 33))
    for shift in (0, 1, 7, 4095, 4093):
        dump = bytes(shift) + secret + bytes(5000) + b"x" + words[7] + b"y" + bytes(3)
        assert words_in(dump, words) >= {words[7]}
        assert forms_in(dump, [secret, bytes(range(2, 34))[::-1]]) == {secret}
    assert words_in(bytes(9000), words) == set() == forms_in(bytes(9000), [secret])


PEOPLE = 8


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_a_day_no_word_of_the_whole_list_is_confirmed_by_either_memory_and_all_are_by_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.drill.in_bare_cell.SECONDS", 500.0)

    async def day(cell: BareCell) -> Finding:
        people, dumps = await live_a_day(cell, PEOPLE)
        used = {person.password for person in people}
        tried = list(guesses(cell, people, common_passwords()))
        made = {form for guess in tried for form in (guess.made.tight, guess.made.wrap_key)}
        cached = {cached_form(dumps.cache_key, guess) for guess in tried}
        salts = {cell.auth.rows.find(person.account, 0).salt for person in people}
        found = {
            "words in auth": len(words_in(dumps.auth, common_passwords()) & used),
            "words in keyring": len(words_in(dumps.keyring, common_passwords()) & used),
            "forms in auth": len(forms_in(dumps.auth, made | cached)),
            "forms in keyring": len(forms_in(dumps.keyring, made)),
            "salts in keyring": len(forms_in(dumps.keyring, salts)),
        }
        sample = next(iter(made))
        control = len(confirmed_together(cell, tried)) == PEOPLE and forms_in(dumps.auth + sample, [sample]) != set()
        note = f"{len(tried)} guesses, dumps of {len(dumps.auth)} and {len(dumps.keyring)} octets: {found}"
        return Finding(sum(found.values()), len(tried), control, note)

    finding = play_apart(SemanticAct("day", "auth", (Column.VERIFIERS,), "", "", "", day), tmp_path)
    print(finding)
    assert finding.control
    assert finding.tried == PEOPLE * COUNT
    assert finding.reached == 0, finding.note


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
