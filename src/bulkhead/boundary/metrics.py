"""METRICS: every metric as a row: name, kind, labels, sentence, and what it is read from.

The table of docs/metrics.md is made from it: `python -m bulkhead.boundary.metrics [--check] docs/metrics.md`.

Nothing of an account and no address is a label: a label's values come from lists of ours; the tenant's id
is the operator's.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.boundary.exposition import Buckets, Family, Kind, Labels
from bulkhead.boundary.messages.latency import BOUNDS, Latencies
from bulkhead.boundary.messages.to_auth import CountLogins
from bulkhead.boundary.messages.to_directory import CountAccounts
from bulkhead.boundary.messages.to_incident import ReadContract
from bulkhead.boundary.messages.to_keyring import CountKeyring
from bulkhead.boundary.messages.to_queue import CountQueue
from bulkhead.boundary.messages.to_store import CountStore
from bulkhead.config.reference import write_page

COUNTER, GAUGE, HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
STATUSES = {1: "provisioned", 2: "active", 3: "suspended", 4: "dormant", 5: "cancelled", 6: "purged"}
LIMITS = ("over_source", "over_account", "over_accounts", "over_gate", "over_network", "delayed")
CELL, LEDGER = "the cell's supervisor", "ledger"  # what is not one request
REQUESTS: dict[str, Any] = {
    "auth": CountLogins(), "keyring": CountKeyring(), "directory": CountAccounts(), "store": CountStore(),
    "queue": CountQueue(), "incident": ReadContract(),
}  # fmt: skip
Samples = Iterable[tuple[tuple[str, ...], float | Buckets]]  # values of the labels, and of the metric
BROKEN = 2


@dataclass(frozen=True, slots=True)
class Metric:
    """A row. labels: besides `tenant`. read: samples from what the source said."""

    name: str
    kind: Kind
    sentence: str
    source: str
    read: Callable[[Any], Samples]
    labels: tuple[str, ...] = ()


def _one(name: str, kind: Kind, sentence: str, source: str, of: Callable[[Any], float]) -> Metric:
    return Metric(name, kind, sentence, source, lambda said: [((), of(said))])


def _fields(name: str, kind: Kind, sentence: str, source: str, label: str, fields: dict[str, str]) -> Metric:
    """A sample a field. fields: by the label's value."""
    return Metric(
        name, kind, sentence, source, lambda said: [((value,), getattr(said, of)) for value, of in fields.items()],
        (label,),
    )  # fmt: skip


def _seconds(name: str, sentence: str, source: str, field: str) -> Metric:
    """A histogram, where anything is measured."""

    def read(said: Any) -> Samples:
        found: Latencies = getattr(said, field)
        return [((), Buckets(BOUNDS, found.counts, found.micros / 1_000_000))] if found.counts else []

    return Metric(name, HISTOGRAM, sentence, source, read)


def _gates(field: str) -> Callable[[Any], Samples]:
    return lambda cell: [((gate["gate"],), gate[field]) for gate in cell["gates"]]


def _by_compartment(field: str) -> Callable[[Any], Samples]:
    """Summed over workers; a process of which it is not known is left out."""

    def read(cell: Any) -> Samples:
        sums: dict[str, float] = {}
        for process in cell["processes"]:
            if process[field] is not None and not process["twin"]:
                sums[process["compartment"]] = sums.get(process["compartment"], 0) + process[field]
        return [((name,), value) for name, value in sums.items()]

    return read


def _terms(of: Callable[[Any], float]) -> Callable[[Any], Samples]:
    return lambda contract: [((term.name,), of(term)) for term in contract.terms if of(term) >= 0]


METRICS: Sequence[Metric] = (
    _one("bulkhead_cell_up", GAUGE, "1 where the cell runs and is ready.", CELL, lambda cell: cell["up"]),
    _one("bulkhead_cell_started_timestamp_seconds", GAUGE, "Since when; 0: it does not run.", CELL,
         lambda cell: (cell["started"] or 0) / 1000),
    Metric("bulkhead_process_memory_bytes", GAUGE, "PSS of a compartment's processes.", CELL,
           _by_compartment("memory_bytes"), ("compartment",)),
    Metric("bulkhead_process_restarts_total", COUNTER, "How often a compartment's processes were started again.", CELL,
           _by_compartment("restarts"), ("compartment",)),
    Metric("bulkhead_gate_workers", GAUGE, "Workers of a gate.", CELL, _gates("workers"), ("gate",)),
    Metric("bulkhead_gate_workers_accepting", GAUGE, "Of those, how many take new connections.", CELL,
           _gates("accepting"), ("gate",)),
    Metric("bulkhead_gate_connections", GAUGE, "Open connections, as the workers say.", CELL, _gates("connections"),
           ("gate",)),
    Metric("bulkhead_gate_sessions", GAUGE, "Sessions now, as the workers say.", CELL, _gates("sessions"), ("gate",)),
    _fields("bulkhead_logins_total", COUNTER, "Logins since auth started.", "auth", "outcome",
            {"granted": "granted", "refused": "refused"}),
    _fields("bulkhead_logins_refused_unread_total", COUNTER, "Of the refused, those that a limit refused unread.",
            "auth", "limit", {name: name for name in LIMITS}),
    _seconds("bulkhead_login_seconds", "How long logins took that were granted, at auth.", "auth", "granting"),
    _one("bulkhead_login_failing_accounts", GAUGE, "Accounts that strangers fail for, in this minute.", "auth",
         lambda said: said.failing),
    _one("bulkhead_login_stuffing", GAUGE, "1 while that is over its ceiling.", "auth", lambda said: said.stuffing),
    _one("bulkhead_login_stuffing_episodes_total", COUNTER, "How often that began.", "auth",
         lambda said: said.episodes),
    *(
        _one(f"bulkhead_rule_stops_{what}", GAUGE, f"{words} that a rule stopped, while they are.",
             source, lambda said: said.rule_stops)
        for what, words, source in (
            ("networks", "Networks at a gate", "auth"), ("workers", "Processes of gates", "keyring"),
            ("senders", "Accounts' outgoing mail", "queue"),
        )
    ),
    _one("bulkhead_sessions", GAUGE, "Live sessions.", "keyring", lambda said: said.sessions),
    _one("bulkhead_logins_stopped", GAUGE, "1 while logins are stopped.", "keyring", lambda said: said.stopped),
    _one("bulkhead_credentials", GAUGE, "Credentials: main and app passwords.", "keyring",
         lambda said: said.credentials),
    _fields("bulkhead_key_openings_total", COUNTER, "What keyring opened since it started.", "keyring", "what",
            {"message": "messages_opened", "page": "pages_opened", "queued": "queued_opened"}),
    Metric("bulkhead_accounts", GAUGE, "Accounts.", "directory",
           lambda said: [((STATUSES.get(row.status, "unknown"),), row.accounts) for row in said.rows], ("status",)),
    _one("bulkhead_addresses", GAUGE, "Addresses.", "directory", lambda said: said.addresses),
    _one("bulkhead_domains", GAUGE, "Domains.", "directory", lambda said: said.domains),
    _one("bulkhead_store_messages", GAUGE, "Stored messages.", "store", lambda said: said.messages),
    _one("bulkhead_store_bytes", GAUGE, "Octets in segments.", "store", lambda said: said.bytes_stored),
    _one("bulkhead_store_segments", GAUGE, "Segments.", "store", lambda said: said.segments),
    _one("bulkhead_store_transactions_total", COUNTER, "Transactions since store started.", "store",
         lambda said: said.transactions),
    _one("bulkhead_store_syncs_total", COUNTER, "Syncs to disk since store started.", "store", lambda said: said.syncs),
    _seconds("bulkhead_delivery_seconds", "From a delivery's arrival at store until it is durable.", "store",
             "delivering"),
    _seconds("bulkhead_fetch_seconds", "How long store took to find parts of messages for a session.", "store",
             "fetching"),
    _one("bulkhead_queue_messages", GAUGE, "Messages that wait to leave.", "queue", lambda said: said.messages),
    _one("bulkhead_queue_recipients", GAUGE, "Their recipients that are left.", "queue", lambda said: said.recipients),
    _one("bulkhead_queue_oldest_timestamp_seconds", GAUGE, "Since when the oldest waits; 0: none does.", "queue",
         lambda said: said.oldest / 1000),
    _seconds("bulkhead_submission_seconds", "From a submitted message's arrival at queue until it is durable.", "queue",
             "accepting"),
    _fields("bulkhead_queue_recipients_done_total", COUNTER, "Recipients since the queue was made.", "queue", "outcome",
            {"delivered": "delivered", "failed": "failed", "unknown": "unknown"}),
    _one("bulkhead_ledger_entries", GAUGE, "Entries, by a checkpoint that verified.", LEDGER, lambda said: said.size),
    _one("bulkhead_ledger_newest_timestamp_seconds", GAUGE, "When the newest was true; 0: none.", LEDGER,
         lambda said: said.newest / 1000),
    _one("bulkhead_ledger_cosigned_entries", GAUGE, "Entries that the pinned witness has cosigned.", LEDGER,
         lambda said: said.cosigned),
    _one("bulkhead_ledger_cosigned_timestamp_seconds", GAUGE, "When; 0: never.", LEDGER,
         lambda said: said.cosigned_at),
    Metric("bulkhead_contract_term_promised", GAUGE, "What the contract promises, in the term's unit.", "incident",
           _terms(lambda term: term.promised), ("term",)),
    Metric("bulkhead_contract_term_measured", GAUGE, "What was measured last; not there: nothing was.", "incident",
           _terms(lambda term: term.measured), ("term",)),
    Metric("bulkhead_contract_term_broken", GAUGE, "1 where it is not kept.", "incident",
           _terms(lambda term: term.standing == BROKEN), ("term",)),
    _one("bulkhead_contract_checked_timestamp_seconds", GAUGE, "When the contract was measured last; 0: never.",
         "incident", lambda said: said.checked / 1000),
)  # fmt: skip
ANSWERED = Metric(
    "bulkhead_scrape_answered", GAUGE, "Whether this compartment answered; where not, its metrics are not there.",
    "the command", lambda _: [], ("compartment",),
)  # fmt: skip
SCRAPED = Metric(
    "bulkhead_scrape_timestamp_seconds", GAUGE, "When these were read.", "the command", lambda _: [],
)  # fmt: skip


def family_of(row: Metric, said: Iterable[tuple[str, Any]]) -> Family:
    """One metric with its samples. said: of each tenant what each source said, by source."""
    samples: list[tuple[Labels, float | Buckets]] = []
    for tenant, one in said:
        if row.source in one:
            for values, value in row.read(one[row.source]):
                labels = {"tenant": tenant, **dict(zip(row.labels, values, strict=True))}
                samples.append((labels, value if isinstance(value, Buckets) else float(value)))
    return Family(row.name, row.kind, row.sentence, tuple(samples))


def metrics_table() -> str:
    """Markdown."""
    lines = ["| metric | kind | labels | from | what |", "|---|---|---|---|---|"]
    for row in (*METRICS, ANSWERED, SCRAPED):
        labels = ", ".join(f"`{label}`" for label in ("tenant", *row.labels))
        lines.append(f"| `{row.name}` | {row.kind.value} | {labels} | {row.source} | {row.sentence} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the table into the page named last."""
    page = Path(arguments[-1]).read_text(encoding="utf-8")
    made = "<!-- made: metrics -->\n" + metrics_table() + "\n<!-- end -->"
    page = re.sub(r"<!-- made: metrics -->\n.*?<!-- end -->", lambda _: made, page, flags=re.DOTALL)
    return write_page(arguments, "bulkhead.boundary.metrics", page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
