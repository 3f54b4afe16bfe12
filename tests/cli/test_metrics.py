"""The text format of Prometheus, the table of metrics, and what of a tenant stands in whose file."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.boundary.exposition import Buckets, Family, Kind, escaped, exposition, number
from bulkhead.boundary.messages.latency import BOUNDS, Latencies
from bulkhead.boundary.messages.to_auth import LoginCounts
from bulkhead.boundary.messages.to_directory import AccountCounts, StatusCount
from bulkhead.boundary.messages.to_incident import ContractState, TermRow
from bulkhead.boundary.messages.to_keyring import KeyringCounts
from bulkhead.boundary.messages.to_queue import QueueCounts
from bulkhead.boundary.messages.to_store import StoreCounts
from bulkhead.boundary.metrics import ANSWERED, CELL, LEDGER, METRICS, REQUESTS, SCRAPED, main
from bulkhead.cli.account_steps import STATUS_NAMES
from bulkhead.cli.ledger_state import LedgerState
from bulkhead.cli.metrics import families
from bulkhead.errors import Refused
from bulkhead.holder.latency import Latency, timed

DOCS = Path(__file__).parents[2] / "docs"
_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\} (\S+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')


@dataclass
class Read:
    """What a reader of the format finds. order: names as their samples come."""

    kinds: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


def read(text: str) -> Read:
    """A second implementation, from the format's description."""
    found = Read()
    assert text.endswith("\n") or not text
    for line in text.split("\n")[:-1]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in found.kinds, "one TYPE a metric"
            found.kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            labels = tuple((name, _plain(value)) for name, value in _LABEL.findall(match[2]))
            assert (match[1], labels) not in found.samples
            found.samples[match[1], labels] = float(match[3])
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            name = family if found.kinds.get(family) == "histogram" else match[1]
            if found.order[-1:] != [name]:
                found.order.append(name)
    assert len(set(found.order)) == len(found.order), "samples of a metric stand together"
    return found


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


TOOK = Latencies((*range(len(BOUNDS)), 100), 2_500_000)
CELLS: dict[str, Any] = {
    "up": True, "started": 1_700_000_000_000,
    "gates": [{"gate": "mx", "workers": 2, "accepting": 1, "connections": 5, "sessions": 4}],
    "processes": [
        {"compartment": "mx", "twin": False, "memory_bytes": 10, "restarts": 1},
        {"compartment": "mx", "twin": False, "memory_bytes": 20, "restarts": 2},
        {"compartment": "mx", "twin": True, "memory_bytes": 99, "restarts": 9},
        {"compartment": "auth", "twin": False, "memory_bytes": None, "restarts": 0},
    ],
}  # fmt: skip
SAID: dict[str, Any] = {
    CELL: CELLS,
    LEDGER: LedgerState(7, 1_700_000_000_000, 5, 1_700_000_100),
    "auth": LoginCounts(3, 2, 1, 0, 0, 0, 0, 0, 4, True, 1, 250, 0, TOOK),
    "keyring": KeyringCounts(9, 8, 0, 2, 30, 4, 5, 1, False, 0),
    "directory": AccountCounts((StatusCount(2, 6),), 7, 1),
    "store": StoreCounts(1, 2, 3, 4, 5, 6, 7, 8, TOOK, TOOK),
    "queue": QueueCounts(1, 2, 3, 4, 5, 1_700_000_000_500, TOOK),
    "incident": ContractState("", 0, 0, b"", (TermRow("patch.days", 7, 9, 2, 1, ""), TermRow("x.y", 1, -1, 3, -1, ""))),
}


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_and_any_number_are_read_back_as_they_were(text: str, value: float) -> None:
    family = Family("bulkhead_x", Kind.GAUGE, text, (({"tenant": text}, value),))
    found = read(exposition([family]))
    assert found.samples == {("bulkhead_x", (("tenant", text),)): value}
    assert found.kinds == {"bulkhead_x": "gauge"}


@pytest.mark.parametrize(("name", "label"), [("1x", "a"), ("x y", "a"), ("x\n", "a"), ("x", "a-b"), ("x", "__a")])
def test_a_wrong_name_is_our_bug(name: str, label: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        exposition([Family(name, Kind.GAUGE, "", (({label: ""}, 1.0),))])


def test_special_numbers_are_written_as_go_reads_them() -> None:
    assert [number(one) for one in (float("nan"), float("inf"), float("-inf"), 2**40, 0.1)] == [
        "NaN", "+Inf", "-Inf", "1099511627776", "0.1",
    ]  # fmt: skip
    assert escaped('a\\b\n"', quote=True) == 'a\\\\b\\n\\"'


def test_every_metric_has_a_sample_the_right_kind_and_its_tenant_first() -> None:
    found = read(exposition(families([("kddi", SAID)], 1.5)))
    assert found.order == [row.name for row in (*METRICS, ANSWERED, SCRAPED)]
    assert all(labels[0] == ("tenant", "kddi") for _, labels in found.samples)
    assert found.samples["bulkhead_process_memory_bytes", (("tenant", "kddi"), ("compartment", "mx"))] == 30
    assert ("bulkhead_process_memory_bytes", (("tenant", "kddi"), ("compartment", "auth"))) not in found.samples
    assert found.samples["bulkhead_contract_term_broken", (("tenant", "kddi"), ("term", "patch.days"))] == 1
    assert ("bulkhead_contract_term_measured", (("tenant", "kddi"), ("term", "x.y"))) not in found.samples
    for name, kind in found.kinds.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert re.fullmatch(r"bulkhead_[a-z_]+", name)


def test_a_histogram_is_cumulative_and_ends_with_everything() -> None:
    found = read(exposition(families([("kddi", SAID)], 1.5))).samples
    name, tenant = "bulkhead_delivery_seconds", ("tenant", "kddi")
    rising = [found[f"{name}_bucket", (tenant, ("le", number(bound)))] for bound in (*BOUNDS, float("inf"))]
    assert rising == [sum(range(end + 1)) for end in range(len(BOUNDS))] + [sum(range(len(BOUNDS))) + 100]
    assert (found[f"{name}_count", (tenant,)], found[f"{name}_sum", (tenant,)]) == (rising[-1], 2.5)
    with pytest.raises(ValueError, match="bounds"):
        exposition([Family("x", Kind.HISTOGRAM, "", (({}, Buckets((1.0,), (1,), 1.0)),))])
    unmeasured: dict[str, Any] = {"store": StoreCounts(1, 2, 3, 4, 5, 6, 7, 8)}
    assert "bulkhead_fetch_seconds" not in exposition(families([("kddi", unmeasured)], 1.5))


def test_what_is_answered_is_timed_and_what_is_refused_is_not() -> None:
    latency = Latency()

    async def later(*_: object) -> str:
        return "later"

    def refuse(*_: object) -> str:
        raise Refused("no")

    def ask(handler: Any) -> Any:
        return timed(handler, lambda _: latency)(None, None, None, None)  # type: ignore[arg-type]  # unread here

    assert (ask(lambda *_: "now"), asyncio.run(ask(later))) == ("now", "later")
    with pytest.raises(Refused):
        ask(refuse)
    latency.observe(BOUNDS[3])
    latency.observe(1e6)
    said = latency.said()
    assert (sum(said.counts), said.counts[3], said.counts[-1]) == (4, 1, 1) and said.micros >= 10**12


def test_who_does_not_answer_has_no_samples_and_is_named() -> None:
    found = read(exposition(families([("kddi", {CELL: CELLS | {"up": False, "started": None, "gates": []}})], 1.5)))
    assert found.samples["bulkhead_cell_up", (("tenant", "kddi"),)] == 0
    answered = {labels[1][1]: value for (name, labels), value in found.samples.items() if name == ANSWERED.name}
    assert answered == dict.fromkeys((*REQUESTS, LEDGER), 0.0)
    assert not any(name.startswith("bulkhead_logins") for name in found.order)


def test_a_tenants_text_has_nothing_of_another() -> None:
    both = read(exposition(families([("kddi", SAID), ("stnet", SAID)], 1.5)))
    own = read(exposition(families([("kddi", SAID)], 1.5)))
    assert own.samples == {key: value for key, value in both.samples.items() if ("tenant", "kddi") in key[1]}


def test_values_of_labels_come_from_lists_of_ours() -> None:
    """So no account, address or network can become one: each value is a word of a table or of a parser."""
    found = read(exposition(families([("kddi", SAID)], 1.5)))
    for _, labels in found.samples:
        for name, value in labels:
            assert name in {"tenant", "compartment", "gate", "outcome", "limit", "what", "status", "term", "le"}
            assert re.fullmatch(r"[a-z0-9_.-]{1,64}", value) or (name, value) == ("le", "+Inf")
    assert all(re.fullmatch(r"[a-z-]+", name) for name in STATUS_NAMES.values())


def test_the_page_has_the_table_as_it_is() -> None:
    assert main(["--check", str(DOCS / "metrics.md")]) == 0
