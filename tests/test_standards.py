"""docs/standards.tsv and the citations in the source agree.

A row: RFC, section, status, module below src/bulkhead, note. `done`: what of that section binds our role is kept and
tested. `partly`: the module keeps it, but the note or the rest of the way to the user is open. `not`: nothing does yet.
A citation is written `RFC 5321 section 4.5.4.1`, so that this file can find it.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "bulkhead"
HEADER = ["rfc", "section", "status", "module", "note"]
CITATION = re.compile(r"RFC (\d+),? (?:sections?|appendix) [0-9A-Z]")
ANY_FORM = re.compile(r"\bRFC[ -]?(?!822(?!\d))\d{3,5}(?:, section|,? §|\.\d| chapter| sec\. ?\d)?|\bRfc ?\d+")


class Row(NamedTuple):
    """One line of the table."""

    rfc: str
    section: str
    status: str
    module: str
    note: str


def read_rows(text: str) -> list[Row]:
    header, *lines = text.splitlines()
    assert header.split("\t") == HEADER
    return [Row(*line.split("\t")) for line in lines]


ROWS = read_rows((ROOT / "docs" / "standards.tsv").read_text())


def sources() -> list[tuple[str, str]]:
    return [(str(path.relative_to(SOURCE)), path.read_text()) for path in sorted(SOURCE.rglob("*.py"))]


def uncited_rfcs(text: str, known: set[str]) -> set[str]:
    """RFCs that `text` cites by section and the table does not have."""
    return set(CITATION.findall(" ".join(text.split()))) - known


def misspelt_citations(text: str) -> list[str]:
    """Citations in another form than `RFC 5321 section 4`."""
    return [found for found in ANY_FORM.findall(text) if not re.fullmatch(r"RFC \d+", found)]


@pytest.mark.parametrize(("name", "text"), sources(), ids=[name for name, _ in sources()])
def test_every_rfc_cited_by_section_has_a_row(name: str, text: str) -> None:
    missing = uncited_rfcs(text, {row.rfc for row in ROWS})
    assert not missing, f"{name} cites RFC {', '.join(sorted(missing))}: add rows to docs/standards.tsv"


@pytest.mark.parametrize(("name", "text"), sources(), ids=[name for name, _ in sources()])
def test_every_citation_has_the_one_form(name: str, text: str) -> None:
    assert not misspelt_citations(text), f"{name}: write RFC 5321 section 4.5.4.1"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.rfc} {row.section}")
def test_a_row_names_a_module_that_cites_its_rfc(row: Row) -> None:
    assert re.fullmatch(r"\d+", row.rfc)
    assert re.fullmatch(r"\d+(\.\d+)*|[A-Z](\.\d+)*", row.section)
    assert row.status in {"done", "partly", "not"}
    assert row.note
    if row.status == "not":
        assert row.module == "-"
    else:
        assert f"RFC {row.rfc}" in (SOURCE / row.module).read_text()


def test_rows_are_sorted_and_none_stands_twice() -> None:
    keys = [(int(row.rfc), [int(part) if part.isdigit() else 0 for part in row.section.split(".")]) for row in ROWS]
    assert keys == sorted(keys)
    assert all(keys.count(key) == 1 for key in keys)


def test_the_checker_finds_a_citation_without_a_row_even_across_lines() -> None:
    assert uncited_rfcs("see RFC 5321 section 4 and RFC 9999\n    section 1.2", {"5321"}) == {"9999"}
    assert uncited_rfcs("RFC 9998 appendix A", set()) == {"9998"}


@pytest.mark.parametrize("wrong", ["RFC5321 section 4", "RFC-5321", "RFC 5321, section 4", "RFC 5321 §4", "Rfc 5321"])
def test_the_checker_finds_citations_in_other_forms(wrong: str) -> None:
    assert misspelt_citations(f"as {wrong} says")


def test_the_checker_leaves_names_of_the_protocol_alone() -> None:
    assert not misspelt_citations("RFC822.SIZE, message/rfc822, RFC822 and RFC 5321 section 4.5")
