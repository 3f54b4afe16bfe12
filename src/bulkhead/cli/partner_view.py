"""`advisory compare`, `contract verify`: at the partner, from files alone, trusting no number of the operator's.

The log's entries are checked under the log's key; records are those that the partner brought itself.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from bulkhead.cli.contract import SETTINGS
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger_offline import named, public_key
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.config.load import read_text
from bulkhead.contract.facts import Facts
from bulkhead.contract.measure import Measurement, Standing, measure
from bulkhead.contract.terms import TEXT_MAX, parse_contract
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.inventory import cyclonedx
from bulkhead.inventory.components import digest
from bulkhead.inventory.match import Verdict, matches
from bulkhead.inventory.shelf import read_records
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.note import SignatureType
from bulkhead.ledger.verify import verify_export

NOT_IN_LOG = -1  # stands for a setting that only the cell has


def compare(options: argparse.Namespace) -> int:
    """Records of one's own beside an inventory, and beside what the log says is open."""
    if bool(options.log) != bool(options.key):
        raise ConfigError("--log and --key belong together")
    path = Path(options.inventory)
    try:
        rows = cyclonedx.read(read_text(path, cyclonedx.DOCUMENT_MAX).encode())
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{path} {error}") from None
    kept = read_records([Path(name) for name in options.file])
    facts, compared = learn(options) if options.log else (None, None)
    noted = None if compared is None else compared.details.get("inventory") == digest(rows).hex()
    found: list[dict[str, Any]] = []
    for match in matches(kept, rows):
        if match.component.used and match.verdict is not Verdict.CLEAN:
            within = f" ({match.component.within})" * bool(match.component.within)
            key = f"{match.record.id} {match.component.name}{within}"
            found.append({
                "advisory": match.record.id, "component": match.component.name, "version": match.component.version,
                "severity": match.record.severity.name.lower(), "published": match.record.published,
                "verdict": match.verdict.value, "compartments": list(match.component.used),
                "open_in_log": None if facts is None else key in facts.flaws,
            })  # fmt: skip
    theirs = sorted(facts.flaws) if facts else []
    if options.json:
        print_json(options.command, {
            "inventory": digest(rows).hex(), "noted": noted, "records": len(kept), "rows": found, "log": theirs
        })  # fmt: skip
    else:
        print_table(("ADVISORY", "COMPONENT", "VERSION", "SEVERITY", "PUBLISHED", "VERDICT", "OPEN IN THE LOG"), [
            (row["advisory"], row["component"], row["version"] or "-", row["severity"], time_text(row["published"]),
             row["verdict"], {None: "-", True: "yes", False: "NO"}[row["open_in_log"]])
            for row in found
        ])  # fmt: skip
        print(f"{len(kept)} records beside {len(rows)} components; inventory {digest(rows).hex()}")
        if noted is False:
            print("the log's last comparison was of another inventory: ask for the one that it names")
    disagree = any(row["open_in_log"] is False and row["verdict"] == Verdict.CONCERNED.value for row in found)
    return ExitCode.FINDING if disagree or noted is False else ExitCode.OK


def verify_contract(options: argparse.Namespace) -> int:
    """The numbers of a contract, from a log that is checked first."""
    try:
        promises = parse_contract(read_text(Path(options.file), TEXT_MAX))
    except ValueError as error:
        raise ConfigError(f"{options.file} {error}") from None
    facts, _ = learn(options)
    now = time.time_ns() // 1_000_000
    rows = [_document(one) for one in measure(promises, facts, dict.fromkeys(SETTINGS, NOT_IN_LOG), now)]
    if options.json:
        print_json(options.command, {"entries": facts.read, "as_of": now, "terms": rows})
    else:
        print_table(("TERM", "PROMISED", "MEASURED", "UNIT", "STANDS", "ENTRY", ""), [
            (row["term"], row["promised"], "-" if row["measured"] < 0 else row["measured"], row["unit"],
             row["standing"], "-" if row["entry"] < 0 else row["entry"], row["why"])
            for row in rows
        ])  # fmt: skip
        say(f"from {facts.read} entries of the log, each of them checked")
    return ExitCode.FINDING if any(row["standing"] == "broken" for row in rows) else ExitCode.OK


def _document(one: Measurement) -> dict[str, Any]:
    term = one.promise.term
    inside = term.name.startswith("retention.")  # the cell's own setting, of which the log knows nothing
    standing = Standing.UNMEASURED if inside else one.standing
    return {
        "term": term.name, "unit": term.unit, "promised": one.promise.value, "measured": -1 if inside else one.measured,
        "standing": standing.name.lower(), "entry": one.entry,
        "why": "a setting of the cell: the log does not have it" if inside else one.why,
    }  # fmt: skip


def learn(options: argparse.Namespace) -> tuple[Facts, Event | None]:
    """What an exported log says, and its last comparison of components. Raises IntegrityError."""
    key = public_key(options.key, SignatureType.LOG)
    facts = Facts()
    compared: list[Event] = []

    def visit(index: int, entry: bytes) -> None:
        event = parse_event(entry)
        facts.learn(index, event)
        if event.kind.name == "ComponentsChecked":
            compared[:] = [event]

    files = DirectoryFiles(options.log)
    try:
        verify_export(files, key.name, key, visit=visit)
    except IntegrityError as error:
        raise named(error) from None
    finally:
        files.close()
    return facts, compared[0] if compared else None
