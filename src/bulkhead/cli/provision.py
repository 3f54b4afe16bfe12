"""`provision check|sign|apply|status`: a file of accounts, addresses and switches, signed whole, carried out in chunks.

This command carries: directory believes each chunk by its digest, and keeps how far the file has come. What keyring,
auth and store have to do for a chunk comes before it, and may be done again.
"""

import argparse
import asyncio
import stat
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bulkhead.boundary.messages import to_directory as m
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.order import add_signature, make_order, submit_request
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.progress import ProgressBar
from bulkhead.cli.provision_steps import CHANGE_SECONDS, Steps
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.roster import read_text
from bulkhead.cli.secret_file import write_secret
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Refused
from bulkhead.records.order import decode_order
from bulkhead.records.provision import (
    LINE_MAX,
    Chunk,
    account_of_line,
    chunk_hash,
    chunks_of,
    parse_header,
    parse_line,
    root_of,
)
from bulkhead.records.signed_file import OrderFile, read_order_file

AHEAD = 3  # chunks whose accounts are made while one is carried out
SHOWN_MAX = 20  # bad lines that `check` shows


@dataclass(slots=True)
class Plan:
    """What a file comes to. bad: lines that directory would refuse by their form, the first ones."""

    tenant: str = ""
    name: str = ""
    lines: int = 0
    hashes: bytearray = field(default_factory=bytearray)
    verbs: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[int, str]] = field(default_factory=list)
    refused: int = 0

    @property
    def root(self) -> bytes:
        """What is signed."""
        return root_of(self.lines, bytes(self.hashes))


def check(options: argparse.Namespace) -> int:
    """Read a file as directory will, and say what it comes to."""
    plan = _plan(Path(options.file), options.tenant, parse=True)
    document = {
        "tenant": plan.tenant, "name": plan.name, "root": plan.root.hex(), "lines": plan.lines,
        "chunks": len(plan.hashes) // 32, "refused": plan.refused,
        "verbs": [{"do": verb, "lines": count} for verb, count in sorted(plan.verbs.items())],
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
    else:
        _tell(plan)
        print_table(("DO", "LINES"), sorted(plan.verbs.items()))
    for line, why in plan.bad:
        say(f"line {line}: {why}")
    return ExitCode.FINDING if plan.refused else ExitCode.OK


def sign(options: argparse.Namespace) -> int:
    """Read the file here, and sign an order for what it is: the first officer makes the order."""
    plan, path = _plan(Path(options.file), options.tenant, parse=True), Path(options.order)
    if plan.refused:
        raise ConfigError(f"{plan.refused} lines would be refused: provision check {options.tenant} {options.file}")
    if path.exists():
        file = read_order_file(read_text(path))
        _check_fits(plan, file)
    else:
        parameters: dict[str, str | int] = {"root": plan.root.hex(), "lines": plan.lines}
        options.executor = ""
        file = OrderFile(make_order(options, plan.tenant, "provision", parameters).encode())
    _tell(plan)
    print_table(("DO", "LINES"), sorted(plan.verbs.items()))
    write_file(path, add_signature(options, file).render(), replace=True, mode=0o644)
    say(f"{path}: signed, for this file and no other")
    return 0


def apply(options: argparse.Namespace) -> int:
    """Carry the file out, or go on with it."""
    path = Path(options.file)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError(f"{path} is no ordinary file: it is read twice, and again when the command is given again")
    plan = _plan(path, options.tenant, parse=False)
    order = read_order_file(read_text(Path(options.order))) if options.order else None
    if order is not None:
        _check_fits(plan, order)
    errors = Path(options.errors or f"{path}.errors")
    run = _Run(open_road(options.directory, options.tenant), plan, path, ProgressBar(path.stat().st_size))
    state = wait_for(run.run(order, errors))
    _tell_state(options, plan, state, run.bar.seconds)
    if state.refused:
        say(f"{errors} says which lines, and why")
    return ExitCode.FINDING if state.refused else ExitCode.OK


def status(options: argparse.Namespace) -> int:
    """How far a file has come."""
    plan = _plan(Path(options.file), options.tenant, parse=False)
    road = open_road(options.directory, options.tenant)

    async def ask() -> m.ProvisionState:
        async with road:
            return await road.ask("directory", m.ShowProvision(plan.root))

    _tell_state(options, plan, wait_for(ask()), 0.0)
    return 0


@dataclass(slots=True)
class _Run:
    """One run of a file."""

    road: Road
    plan: Plan
    path: Path
    bar: ProgressBar

    async def run(self, order: OrderFile | None, errors: Path) -> m.ProvisionState:
        """Every chunk that is not done yet, in order."""
        plan = self.plan
        async with self.road as road:
            if order is not None:
                await road.ask("directory", submit_request("directory", order), timeout=CHANGE_SECONDS)
            steps = await Steps.of(road, plan.root)
            begin = m.BeginProvision(stamp(), plan.root, plan.lines, bytes(plan.hashes))
            state = await road.ask("directory", begin)
            ahead: deque[tuple[Chunk, asyncio.Task[tuple[m.BindingRow, ...]]]] = deque()
            try:
                with self.path.open("rb") as stream:
                    for chunk in chunks_of(_lines(stream)):
                        if chunk.number >= state.chunk:
                            ahead.append((chunk, asyncio.create_task(steps.make_accounts(chunk))))
                        if len(ahead) > AHEAD:
                            state = await self._send(steps, *ahead.popleft())
                    while ahead:
                        state = await self._send(steps, *ahead.popleft())
            finally:
                for _, task in ahead:
                    task.cancel()
                self.bar.close()
            await self._tell_refused(state, errors)
            return state

    async def _send(
        self, steps: Steps, chunk: Chunk, made: "asyncio.Task[tuple[m.BindingRow, ...]]"
    ) -> m.ProvisionState:
        bindings = await made
        made_now = {binding.account for binding in bindings}
        await steps.prepare(chunk)
        request = m.ProvisionChunk(stamp(CHANGE_SECONDS), self.plan.root, chunk.number, chunk.data, bindings)
        state = await self.road.ask("directory", request, timeout=CHANGE_SECONDS)
        if state.refused:
            refused = await self.road.ask("directory", m.ListRefusedLines(self.plan.root, chunk.first - 1))
            await steps.clear({account_of_line(self.plan.root, row.line) for row in refused.rows} & made_now)
        self.bar.show(self.path.stat().st_size * state.done // self.plan.lines, state.done)
        return state

    async def _tell_refused(self, state: m.ProvisionState, errors: Path) -> None:
        """The file with the refused lines: number, word, verb."""
        if not state.refused:
            return
        codes: dict[int, str] = {}
        after = 0
        while rows := (await self.road.ask("directory", m.ListRefusedLines(self.plan.root, after))).rows:
            codes |= {row.line: row.code for row in rows}
            after = rows[-1].line
        with self.path.open("rb") as stream:
            texts = [
                f"{number}\t{codes[number]}\t{line.decode('utf-8', 'replace').rstrip()}\n"
                for number, line in enumerate(_lines(stream), 1)
                if number in codes
            ]
        errors.unlink(missing_ok=True)
        write_secret(errors, "".join(texts).encode(), mode=0o600)


def _plan(path: Path, tenant: str, *, parse: bool) -> Plan:
    """Read a file. Raises ConfigError where it is none of this tenant."""
    plan = Plan()
    try:
        with path.open("rb") as stream:
            for chunk in chunks_of(_lines(stream)):
                plan.hashes += chunk_hash(chunk.data)
                lines = chunk.lines
                if not chunk.number:
                    plan.tenant, plan.name = parse_header(lines[0])
                if parse:
                    _count(plan, chunk.first, lines)
                plan.lines = chunk.first + len(lines) - 1
    except Refused as error:
        raise ConfigError(f"{path}: {error.public}") from None
    if plan.tenant != tenant:
        raise ConfigError(f"{path} is a file for {plan.tenant or 'nobody'}, not for {tenant}")
    return plan


def _count(plan: Plan, first: int, lines: list[bytes]) -> None:
    for number, octets in enumerate(lines, first):
        try:
            plan.verbs[parse_line(octets).do] += 1
        except Refused as error:
            plan.refused += 1
            if len(plan.bad) < SHOWN_MAX:
                plan.bad.append((number, error.public))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their LF; one without end is cut where it is too long."""
    while line := stream.readline(LINE_MAX + 2):
        yield line


def _check_fits(plan: Plan, file: OrderFile) -> None:
    """Raises Refused (`other-root`) where the order is for another file."""
    order = decode_order(file.statement)
    named = (order.tenant, order.action, order.parameters.get("root"), order.parameters.get("lines"))
    if named != (plan.tenant, "provision", plan.root.hex(), plan.lines):
        raise Refused(
            "the order is for another file: somebody changed a line, or took the wrong one", code="other-root"
        )


def _tell(plan: Plan) -> None:
    print(f"{plan.name} for {plan.tenant}: {plan.lines} lines in {len(plan.hashes) // 32} chunks")
    print(f"root {plan.root.hex()}")


def _tell_state(options: argparse.Namespace, plan: Plan, state: m.ProvisionState, seconds: float) -> None:
    if options.json:
        print_json(options.command, {
            "tenant": options.tenant, "name": plan.name, "root": state.root.hex(), "lines": state.lines,
            "chunks": state.chunks, "chunk": state.chunk, "done": state.done, "refused": state.refused,
            "begun": state.begun, "changed": state.changed,
        })  # fmt: skip
        return
    took = f" in {seconds:.1f} s" if seconds else f", last change {time_text(state.changed)}"
    say(f"{options.tenant}: {state.done} of {state.lines} lines are through, {state.refused} refused{took}")
