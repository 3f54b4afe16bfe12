"""`provision check|sign|apply|status`: a file of accounts, addresses and switches, signed whole, carried out in chunks.

This command carries: directory believes each chunk by its digest, and keeps how far the file has come. What keyring,
auth and store have to do for a chunk comes before it, and may be done again.
"""

import argparse
import asyncio
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.provision import FirstPassword
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.order import add_signature, make_order, submit_request
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.progress import ProgressBar
from bulkhead.cli.provision_file import Plan, file_lines, plan_of
from bulkhead.cli.provision_passwords import read_secrets
from bulkhead.cli.provision_steps import CHANGE_SECONDS, Steps
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.roster import read_text
from bulkhead.cli.secret_file import write_secret
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Refused
from bulkhead.records.order import decode_order
from bulkhead.records.provision import Chunk, Line, account_of_line, chunks_of, parse_line
from bulkhead.records.signed_file import OrderFile, read_order_file

AHEAD = 3  # chunks whose accounts are made while one is carried out


def check(options: argparse.Namespace) -> int:
    """Read a file as directory will, and say what it comes to."""
    plan = plan_of(Path(options.file), options.tenant, parse=True)
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
    plan, path = plan_of(Path(options.file), options.tenant, parse=True), Path(options.order)
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
    plan = plan_of(path, options.tenant, parse=False)
    order = read_order_file(read_text(Path(options.order))) if options.order else None
    if order is not None:
        _check_fits(plan, order)
    errors = Path(options.errors or f"{path}.errors")
    given = read_secrets(Path(options.passwords)) if options.passwords else None
    run = _Run(open_road(options.directory, options.tenant), plan, path, ProgressBar(path.stat().st_size), given)
    state = wait_for(run.run(order, errors))
    _tell_state(options, plan, state, run.bar.seconds)
    if state.refused:
        say(f"{errors} says which lines, and why")
    return ExitCode.FINDING if state.refused else ExitCode.OK


def status(options: argparse.Namespace) -> int:
    """How far a file has come."""
    plan = plan_of(Path(options.file), options.tenant, parse=False)
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
    given: Iterator[tuple[bytes, FirstPassword]] | None  # first passwords, in the order of the lines

    async def run(self, order: OrderFile | None, errors: Path) -> m.ProvisionState:
        """Every chunk that is not done yet, in order."""
        plan = self.plan
        async with self.road as road:
            executors = ("keyring", "auth", "directory") if plan.halves else ("directory",)
            if order is not None:
                for compartment in executors:
                    await road.ask(compartment, submit_request(compartment, order), timeout=CHANGE_SECONDS)
            steps = await Steps.of(road, plan.root)
            fields = plan.root, plan.lines, bytes(plan.hashes)
            halves = plan.lines
            if plan.halves:
                keyring = await road.ask("keyring", to_keyring.BeginProvision(stamp(), *fields))
                auth = await road.ask("auth", to_auth.BeginProvision(stamp(), *fields))
                halves = min(keyring.chunk, auth.chunk)
            state = await road.ask("directory", m.BeginProvision(stamp(), *fields))
            ahead: deque[tuple[Chunk, asyncio.Task[tuple[m.BindingRow, ...]]]] = deque()
            try:
                with self.path.open("rb") as stream:
                    for chunk in chunks_of(file_lines(stream)):
                        if chunk.number >= state.chunk:
                            ahead.append((chunk, asyncio.create_task(steps.make_accounts(chunk, promised=False))))
                        elif plan.halves:
                            self._passwords(chunk)  # which are set
                            if chunk.number >= halves:  # as after `import cell`: only directory came along
                                await steps.hold(chunk)
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
        if self.plan.halves:
            await steps.ask_halves(chunk, self._passwords(chunk))
            bindings += await steps.make_accounts(chunk, promised=True)
        made_now = {binding.account for binding in bindings}
        await steps.prepare(chunk)
        request = m.ProvisionChunk(stamp(CHANGE_SECONDS), self.plan.root, chunk.number, chunk.data, bindings)
        state = await self.road.ask("directory", request, timeout=CHANGE_SECONDS)
        if state.refused:
            refused = await self.road.ask("directory", m.ListRefusedLines(self.plan.root, chunk.first - 1))
            await steps.clear({account_of_line(self.plan.root, row.line) for row in refused.rows} & made_now)
        self.bar.show(self.path.stat().st_size * state.done // self.plan.lines, state.done)
        return state

    def _passwords(self, chunk: Chunk) -> tuple[FirstPassword, ...]:
        """Those of a chunk's lines, the next ones. Raises ConfigError where they are another file's."""
        names = [line.password for line in map(_parsed, chunk.lines) if line is not None and line.password is not None]
        found = list(islice(self.given or (), len(names)))
        if [name for name, _ in found] != names:
            raise ConfigError("--passwords FILE is the secrets that `provision passwords` wrote with this very file")
        return tuple(password for _, password in found)

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
                for number, line in enumerate(file_lines(stream), 1)
                if number in codes
            ]
        errors.unlink(missing_ok=True)
        write_secret(errors, "".join(texts).encode(), mode=0o600)


def _parsed(octets: bytes) -> Line | None:
    if b'"password"' not in octets:
        return None  # which is quicker found so
    try:
        return parse_line(octets)
    except Refused:
        return None


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
