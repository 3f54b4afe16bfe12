"""docs/standards.tsv and the citations in the source agree.

A row: RFC, section, status, module below src/bulkhead, note. `done`: what of that section binds our role is kept and
tested. `partly`: the module keeps it, but the note or the rest of the way to the user is open. `not`: nothing does yet.
A citation is written `RFC 5321 section 4.5.4.1`, so that this file can find it. Standards of others, by the names in
OTHERS, come behind the RFCs.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "bulkhead"
OTHERS = {"webauthn-3": "Web Authentication level 3"}  # W3C
HEADER = ["rfc", "section", "status", "module", "note"]
_NUMBER = r"\d+(?:\.\d+)*(?![\w-])"
CITATION = re.compile(
    rf"\bRFC (\d+),? (?:sections?|appendix) ([A-Z](?:\.\d+)*|{_NUMBER}(?:(?:,| and| to|,? or) {_NUMBER})*)"
)
MENTION = re.compile(r"\bRFC (\d+)\b")
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


KNOWN = frozenset((row.rfc, row.section) for row in ROWS)


def citations(text: str) -> set[tuple[str, str]]:
    """(RFC, section) that `text` cites, also across lines of a comment."""
    flat = " ".join(re.sub(r"\n\s*#", " ", text).split())
    return {(rfc, section) for rfc, list_ in CITATION.findall(flat) for section in re.findall(r"[A-Z\d][\d.]*", list_)}


def lies_in(section: str, other: str) -> bool:
    return section == other or section.startswith(f"{other}.")


def without_a_row(text: str, known: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """What `text` cites and the table has neither as such, nor within a row, nor in parts; whole RFCs as (RFC, "")."""
    missing = {
        (rfc, section)
        for rfc, section in citations(text)
        if not any(rfc == row[0] and (lies_in(section, row[1]) or lies_in(row[1], section)) for row in known)
    }
    return missing | {(rfc, "") for rfc in set(MENTION.findall(text)) - {row[0] for row in known}}


def misspelt_citations(text: str) -> list[str]:
    """Citations in another form than `RFC 5321 section 4`."""
    return [found for found in ANY_FORM.findall(text) if not re.fullmatch(r"RFC \d+", found)]


@pytest.mark.parametrize(("name", "text"), sources(), ids=[name for name, _ in sources()])
def test_every_section_of_an_rfc_that_is_cited_has_a_row(name: str, text: str) -> None:
    missing = sorted(" ".join(cited).strip() for cited in without_a_row(text, KNOWN))
    assert not missing, f"{name} cites RFC {', '.join(missing)}: add rows to docs/standards.tsv"


@pytest.mark.parametrize(("name", "text"), sources(), ids=[name for name, _ in sources()])
def test_every_citation_has_the_one_form(name: str, text: str) -> None:
    assert not misspelt_citations(text), f"{name}: write RFC 5321 section 4.5.4.1"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.rfc} {row.section}")
def test_a_row_names_a_module_that_cites_its_rfc(row: Row) -> None:
    assert re.fullmatch(r"\d+", row.rfc) or row.rfc in OTHERS
    assert re.fullmatch(r"\d+(\.\d+)*|[A-Z](\.\d+)*", row.section)
    assert row.status in {"done", "partly", "not"}
    assert row.note
    if row.status == "not":
        assert row.module == "-"
    else:
        cited = OTHERS.get(row.rfc, f"RFC {row.rfc}")
        assert cited in " ".join((SOURCE / row.module).read_text().split())


def test_rows_are_sorted_and_none_stands_twice() -> None:
    keys = [
        (row.rfc in OTHERS, int(row.rfc) if row.rfc.isdigit() else 0, row.rfc,
         [int(part) if part.isdigit() else 0 for part in row.section.split(".")])
        for row in ROWS
    ]  # fmt: skip
    assert keys == sorted(keys)
    assert all(keys.count(key) == 1 for key in keys)


def test_the_checker_finds_a_citation_without_a_row_even_across_lines() -> None:
    known = {("5321", "4.5.3"), ("5321", "6.1")}
    assert without_a_row("RFC 5321 section 4.5.3.1; RFC 5321 section 6", known) == set()
    assert without_a_row("see RFC 5321 section 4 and RFC 9999\n    # section 1.2", known) == {
        ("9999", "1.2"),
        ("9999", ""),
    }
    assert without_a_row("RFC 5321 sections 4.5.3, 4.5.30 and 7.1, RFC 9998", known) == {
        ("5321", "4.5.30"), ("5321", "7.1"), ("9998", ""),
    }  # fmt: skip
    assert without_a_row("RFC 5280 appendix A.1", {("5280", "4")}) == {("5280", "A.1")}


@pytest.mark.parametrize("wrong", ["RFC5321 section 4", "RFC-5321", "RFC 5321, section 4", "RFC 5321 §4", "Rfc 5321"])
def test_the_checker_finds_citations_in_other_forms(wrong: str) -> None:
    assert misspelt_citations(f"as {wrong} says")


def test_the_checker_leaves_names_of_the_protocol_alone() -> None:
    assert not misspelt_citations("RFC822.SIZE, message/rfc822, RFC822 and RFC 5321 section 4.5")
