"""`contract`: what was agreed, measured from the tenant's ledger and settings; incident keeps how it stands."""

import argparse
import asyncio
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_incident import (
    AdoptContract,
    ContractState,
    GiveNotice,
    ReadContract,
    RecordMeasures,
    TermRow,
)
from bulkhead.cli.component_check import Comparison, compare_here, record_comparison
from bulkhead.cli.contract_file import agree_advice, contract_file, template_text
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger import read_checkpoint, read_entries
from bulkhead.cli.many import Answer, ask_all, chosen_tenants
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.config.load import read_text
from bulkhead.contract.facts import Facts, decode_facts
from bulkhead.contract.measure import Standing, measure
from bulkhead.contract.terms import TERMS, TEXT_MAX, parse_contract
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.event import parse_event

WHY_MAX = 64
EVERY_MAX = 7 * 24 * 60  # minutes
SECONDS = 600.0  # of one tenant: a first measurement reads its whole ledger
SETTINGS = ("store.undelete_days",)


def template(_: argparse.Namespace) -> int:
    """Print every term as a comment, so that what is promised is chosen."""
    print(template_text(), end="")
    return ExitCode.OK


def adopt(options: argparse.Namespace) -> int:
    """Check the file, and put it into force."""
    path = Path(options.file) if options.file else contract_file(Path(options.directory), options.tenant)
    try:
        text = read_text(path, TEXT_MAX)
    except ValueError as error:
        raise ConfigError(f"{path} {error}") from None
    promises = parse_contract(text)
    road = open_road(options.directory, options.tenant)

    async def work() -> None:
        async with road:
            await road.ask("incident", AdoptContract(stamp(), text))

    wait_for(work())
    digest = hashlib.sha256(text.encode()).hexdigest()
    print(f"{options.tenant}: {len(promises)} promises are in force; SHA-256 {digest} goes into the ledger")
    say(f"measure them: bulkhead contract check {options.tenant}")
    return ExitCode.OK


def check(options: argparse.Namespace) -> int:
    """Measure; with --every go on."""
    if not 0 <= options.every <= EVERY_MAX:
        raise ConfigError(f"--every is 0 to {EVERY_MAX} minutes")
    while True:
        comparison = _compare(Path(options.directory))
        status = _show(options, [("incident", partial(_measure, comparison=comparison))])
        if not options.every:
            return status
        time.sleep(options.every * 60)


def _compare(directory: Path) -> Comparison | None:
    """Components beside advisories. Where that fails the rest is measured all the same: `patch.check_days` grows."""
    try:
        return compare_here(directory)
    except (ConfigError, IntegrityError) as error:
        say(f"components were not compared: {error.public}")
        return None


def show(options: argparse.Namespace) -> int:
    """What was kept of the last measurement."""
    return _show(options, [("incident", ReadContract())])


def notice(options: argparse.Namespace) -> int:
    """Tell it."""
    if "@" in options.text:
        raise ConfigError("--text goes into the ledger, which takes no address: leave out the @")
    road = open_road(options.directory, options.tenant)

    async def work() -> None:
        async with road:
            checkpoint, _ = await read_checkpoint(road)
            if not 0 <= options.entry < checkpoint.size:
                raise ConfigError(f"the ledger has entries 0 to {checkpoint.size - 1}")
            await road.ask("incident", GiveNotice(stamp(), options.entry, options.text))

    wait_for(work())
    print(f"{options.tenant}: the notice of entry {options.entry} is on its way to the ledger")
    return ExitCode.OK


async def _measure(road: Road, comparison: Comparison | None) -> ContractState:
    """Compare components, learn what is new in the ledger, measure, have incident keep it; what it has then."""
    if comparison is not None:
        await record_comparison(road, comparison)
    state = await road.ask("incident", ReadContract())
    if not state.text:
        return state
    facts = await _learn(road, decode_facts(state.facts))
    settings = {name: road.tenant.settings.integer(name) for name in SETTINGS}
    now = time.time_ns() // 1_000_000
    found = measure(parse_contract(state.text), facts, settings, now)
    rows = tuple(
        TermRow(one.promise.term.name, one.promise.value, one.measured, one.standing, one.entry, one.why[:WHY_MAX])
        for one in found
    )
    digest = hashlib.sha256(state.text.encode()).digest()
    await road.ask("incident", RecordMeasures(stamp(), digest, now, facts.encode(), rows))
    return await road.ask("incident", ReadContract())


async def _learn(road: Road, facts: Facts) -> Facts:
    checkpoint, _ = await read_checkpoint(road)
    if facts.read > checkpoint.size:
        raise IntegrityError(
            f"the log had {facts.read} entries when it was last measured, and has {checkpoint.size}: history was cut"
        )
    async for index, entry in read_entries(road, facts.read, checkpoint.size):
        facts.learn(index, parse_event(entry))
    return facts


def _show(options: argparse.Namespace, asked: Sequence[tuple[str, Any]]) -> int:
    installation, tenants = chosen_tenants(options)
    answers = asyncio.run(ask_all(installation, tenants, asked, SECONDS))
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    if options.json:
        print_json(options.command, {"tenants": [_document(answer) for answer in answers]})
    else:
        for answer in answers:
            _print(answer)
    broken = any(term.standing == Standing.BROKEN for answer in answers for term in answer.reply.terms)
    return ExitCode.FINDING if broken else ExitCode.OK


def _document(answer: Answer) -> dict[str, Any]:
    state: ContractState = answer.reply
    terms = [
        {
            "term": term.name, "unit": _unit(term), "promised": term.promised, "measured": term.measured,
            "standing": Standing(term.standing).name.lower(), "since": term.since, "entry": term.entry, "why": term.why,
        }
        for term in state.terms
    ]  # fmt: skip
    return {"tenant": answer.tenant, "adopted": state.adopted, "checked": state.checked, "terms": terms}


def _print(answer: Answer) -> None:
    state: ContractState = answer.reply
    if not state.text:
        print(f"{answer.tenant}: no contract is in force: {agree_advice(answer.tenant)}")
        return
    measured = f"measured {time_text(state.checked)}" if state.checked else "not measured yet"
    print(f"{answer.tenant}: in force since {time_text(state.adopted)}, {measured}")
    rows = [
        (
            term.name, term.promised, "-" if term.measured < 0 else term.measured, _unit(term),
            Standing(term.standing).name.lower(), time_text(term.since), "-" if term.entry < 0 else term.entry,
            term.why,
        )
        for term in state.terms
    ]  # fmt: skip
    print_table(("TERM", "PROMISED", "MEASURED", "UNIT", "STANDS", "SINCE", "ENTRY", ""), rows)


def _unit(term: TermRow) -> str:
    return TERMS[term.name].unit if term.name in TERMS else ""
