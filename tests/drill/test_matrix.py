"""From rows to numbers to a verdict: unions, owners, bases, budgets and pairs, without an installation."""

from pathlib import Path

import pytest

from bulkhead.drill.budget import SHIPPED, Allowance, Budget, over_budget, read_budget
from bulkhead.drill.compare import read_result
from bulkhead.drill.matrix import Basis, Line, build
from bulkhead.drill.pairs import RULES, compute, holds
from bulkhead.drill.rows import Chosen, Kind, Row, Verdict, verdict_of
from bulkhead.drill.semantic import Column, Count, Mode, load_semantic
from bulkhead.errors import ConfigError

ALICE, BOB, EVE = "alice@t0.example", "bob@t0.example", "eve@t1.example"


def owner(name: str) -> str:
    return "t1" if name.startswith((EVE, "t1")) else "t0"


def row(
    compartment: str, column: Column, reached: set[str], of: set[str], *, kind: Kind = Kind.SEMANTIC,
    mode: Mode | None = None, control: str = "",
) -> Row:  # fmt: skip
    counts = {column: Count(frozenset(reached), frozenset(of))}
    return Row("a-row", compartment, kind, verdict_of(counts, control), counts, mode=mode, control=control)


def lines(*rows: Row, live: set[str] | None = None) -> list[Line]:
    return build(rows, {}, "t0", owner, {mode: live or set() for mode in Mode})


def test_what_two_rows_reach_counts_once() -> None:
    found = lines(
        row("auth", Column.ADDRESSES, {ALICE}, {ALICE, BOB}), row("auth", Column.ADDRESSES, {ALICE, BOB}, {ALICE, BOB})
    )
    cell = found[0].cells[Column.ADDRESSES]
    assert (cell.reached, len(cell.count.of), cell.basis) == (2, 2, Basis.MEASURED)


def test_a_canary_of_another_tenant_counts_as_that_tenant_in_whatever_column_it_was_reached() -> None:
    line = lines(row("store", Column.STORED_MAIL, {f"{EVE}/1"}, {f"{EVE}/1"}))[0]
    assert line.cells[Column.OTHER_TENANTS].count.reached == {"t1"}
    assert line.cells[Column.STORED_MAIL].others == 1


def test_another_tenants_public_listener_is_the_network_s() -> None:
    line = lines(row("dialer", Column.NETWORK, {"t1 listener"}, {"t1 listener"}))[0]
    assert line.cells[Column.OTHER_TENANTS].reached == 0


def test_a_cell_that_only_unproven_rows_touch_is_not_zero() -> None:
    line = lines(row("mx", Column.KEYS, set(), {ALICE}, control="it fails anyway"))[0]
    assert line.cells[Column.KEYS].basis is Basis.NOT_TRIED
    assert line.cells[Column.KEYS].document()["reached"] is None
    assert line.cells[Column.KEYS].unproven == 1


def test_what_a_charter_adds_is_marked_and_what_is_measured_too_is_not() -> None:
    charter = row("auth", Column.KEYS, {ALICE}, {ALICE}, kind=Kind.CHARTER)
    assert lines(charter)[0].cells[Column.KEYS].basis is Basis.CHARTER
    both = lines(charter, row("auth", Column.KEYS, {ALICE}, {ALICE}))
    assert both[0].cells[Column.KEYS].basis is Basis.MEASURED


@pytest.mark.parametrize(
    ("ceiling", "reached", "live", "within"),
    [
        (1, {ALICE}, set(), True),
        (1, {ALICE, BOB}, set(), False),
        ("sessions", {ALICE}, {ALICE}, True),
        ("sessions", {ALICE, BOB}, {ALICE}, False),
        ("own", {ALICE, BOB}, set(), True),
        (0, {"x-act: attempt 1"}, set(), True),
        (0, {"y-act: attempt 1"}, set(), False),
    ],
)
def test_a_ceiling_holds_what_it_says(ceiling: int | str, reached: set[str], live: set[str], *, within: bool) -> None:
    entry = Allowance("access", "keys", None, ceiling, ("x-act",), "a reason of a sentence")
    budget = Budget(Path("b"), (entry,))
    found = over_budget(budget, lines(row("access", Column.KEYS, reached, reached), live=live))
    assert (found == []) is within


def test_another_tenant_is_over_every_budget() -> None:
    entry = Allowance("store", "stored mail", None, "own", (), "a reason of a sentence")
    found = over_budget(
        Budget(Path("b"), (entry,)), lines(row("store", Column.STORED_MAIL, {f"{EVE}/1"}, {f"{EVE}/1"}))
    )
    assert {excess.column for excess in found} == {"stored mail", "other tenants"}


def test_an_act_against_the_wall_is_over_budget_whatever_it_would_yield() -> None:
    found = over_budget(Budget(Path("b"), ()), lines(Row("io-uring", "mx", Kind.WALL, Verdict.REACHED)))
    assert {(excess.column, excess.names) for excess in found} == {("wall", ("io-uring",))}


@pytest.mark.parametrize(
    "entry",
    [
        'compartment = "nobody"\ncolumn = "keys"\nceiling = 1\nreason = "long enough to be one"',
        'compartment = "mx"\ncolumn = "colour"\nceiling = 1\nreason = "long enough to be one"',
        'compartment = "mx"\ncolumn = "keys"\nceiling = -1\nreason = "long enough to be one"',
        'compartment = "mx"\ncolumn = "keys"\nceiling = true\nreason = "long enough to be one"',
        'compartment = "mx"\ncolumn = "keys"\nceiling = 1\nreason = "short"',
        'compartment = "mx"\ncolumn = "keys"\nceiling = 1',
        'compartment = "mx"\ncolumn = "other tenants"\nceiling = 1\nreason = "long enough to be one"',
        'compartment = "auth"\ncolumn = "verifiers"\nceiling = "own"\nreason = "long enough to be one"',
        'compartment = "store"\ncolumn = "stored mail"\nceiling = "own"\nreason = "long enough to be one"',
    ],
)
def test_an_entry_that_says_too_little_or_allows_too_much_is_refused(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "budget.toml"
    path.write_text(f"[[allow]]\n{entry}\n")
    with pytest.raises(ConfigError, match="entry 1"):
        read_budget(path)


def test_the_shipped_budget_names_probes_that_exist() -> None:
    budget = read_budget(SHIPPED)
    assert {probe for entry in budget.entries for probe in entry.probes} <= set(load_semantic())
    keys = [(entry.compartment, entry.column, entry.mode) for entry in budget.entries]
    assert len(keys) == len(set(keys))


def test_rows_are_chosen_by_compartment_by_probe_or_by_both() -> None:
    chosen = Chosen.of("auth, mx/fork ,read-*")
    assert chosen.wants("auth", "anything")
    assert chosen.wants("mx", "fork")
    assert not chosen.wants("store", "fork")
    assert chosen.wants("store", "read-host-file")
    assert Chosen.of("").wants("store", "fork")


def test_every_pair_rule_rests_on_messages_that_peers_has() -> None:
    assert [rule.pair for rule in RULES if not holds(rule)] == []
    assert all(rule.needs for rule in RULES)


def test_a_pair_gains_what_its_rule_says_and_is_bounded_by_its_own_tenant() -> None:
    found = lines(
        row("auth", Column.VERIFIERS, set(), {ALICE, BOB}), row("keyring", Column.VERIFIERS, set(), {ALICE, BOB})
    )
    (pair,) = compute(found, {Column.VERIFIERS: frozenset({ALICE, BOB})})
    assert pair.gains[Column.VERIFIERS] == (2, 0, 2)
    assert Column.OTHER_TENANTS not in pair.reached


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"schema": "bulkhead/status/1"}'])
def test_what_is_no_result_cannot_be_compared(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        read_result(path)
