"""`account import`: the accounts of another server's file, some at a time, whatever happens to the command.

This process parses no line of it: a locked one does (imports/reader.py), and hands over rows with limits.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.cli.account_steps import NewPassword, add_account, close_account, require_local_power
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.import_reader import read_rows
from bulkhead.cli.import_state import LEFT_MAX, ImportNotes, ImportState
from bulkhead.cli.output import print_json, print_table, printable, say
from bulkhead.cli.pending import PendingAccount
from bulkhead.cli.progress import ProgressBar
from bulkhead.cli.road import Road, open_road, wait_for
from bulkhead.config.rules import LEGACY_SECONDS, failure_floor
from bulkhead.errors import ConfigError, Error, PeerError, Refused, TemporaryFailure
from bulkhead.identifiers import Address, parse_address
from bulkhead.imports.rows import DORMANT, SUSPENDED, AccountLine, BadLine, FileEnd, Message

AT_ONCE = 16  # accounts under way; auth hashes `auth.argon2_threads` at a time
NOTE_SECONDS = 1.0  # between two writings of the state
CLOSED = {SUSPENDED: AccountStatus.SUSPENDED, DORMANT: AccountStatus.DORMANT}


def import_accounts(options: argparse.Namespace) -> int:
    """Import, or with --check only read and count."""
    road, file = open_road(options.directory, options.tenant), Path(options.file)
    with file.open("rb") as stream, file.open("rb") as guard:  # the reader inherits the first, and would keep its lock
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{file} is no ordinary file: an import can be cut off, and then reads it again")
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{file} is being imported by another command; wait for it") from None
        places = Path(options.state or f"{file}.state"), Path(options.errors or f"{file}.errors")
        if len({os.path.realpath(place) for place in (file, *places)}) < 3:
            raise ConfigError("the file, --state and --errors are three different files")
        with ImportNotes(road.layout, *places) as notes:
            _check_failure_time(road, check=options.check)
            state = ImportState(road.tenant.id, 0, 0) if options.check else notes.read(status)
            run = _Import(options, road, notes, state, ProgressBar(status.st_size))
            if options.check:
                return wait_for(run.check(stream.fileno()))
            if state.complete:
                say(f"{file} is imported; remove {notes.state_file} to go through it again")
                return run.tell()
            return wait_for(run.run(stream.fileno()))


def _check_failure_time(road: Road, *, check: bool) -> None:
    """Raises ConfigError where a wrong password is answered before the dearest digest can be made: time would tell."""
    key, least = "auth.failure_seconds", failure_floor(road.tenant.settings.values) + LEGACY_SECONDS
    if road.tenant.settings.decimal(key) >= least:
        return
    why = f"{road.tenant.id}: {key} must be at least {least:g} for imported digests, and stay so while there are any"
    if not check:
        raise ConfigError(f"{why}; set it, and send SIGHUP to `bulkhead run`")
    say(why)


@dataclass(slots=True)
class _Import:
    """One run.

    busy: lines that are queued or under way. keys: addresses of those, and of what was done since the state was last
    written: a second line of one of them must not take the first one's note for its own.
    stopped: why no further line is begun.
    """

    options: argparse.Namespace
    road: Road
    notes: ImportNotes
    state: ImportState
    bar: ProgressBar
    busy: set[int] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    done_keys: list[str] = field(default_factory=list)
    taken: int = 0
    made: int = 0
    stopped: Error | None = None
    end: FileEnd | None = None
    schemes: Counter[str] = field(default_factory=Counter)

    async def check(self, descriptor: int) -> int:
        """What is in the file, by scheme; nothing is asked of a cell, and nothing written."""
        async for message in read_rows(self.road, descriptor, self.options.dialect, 0):
            if isinstance(message, AccountLine):
                self.schemes[message.scheme] += 1
            elif isinstance(message, BadLine):
                self.state.counts.refused += 1
                say(f"line {message.line}: {printable(message.reason)}")
            elif isinstance(message, FileEnd):
                self.end = message
        if not self.options.json:
            print_table(("SCHEME", "ACCOUNTS"), self.schemes.most_common())
        return self.tell()

    async def run(self, descriptor: int) -> int:
        """Every line that is wanted; the state is written each second and at the end."""
        skip = min(self.state.left, default=self.state.done + 1) - 1
        self.taken = self.state.done
        queue: asyncio.Queue[AccountLine | None] = asyncio.Queue(AT_ONCE)
        async with self.road:
            self.road.check_running()
            await require_local_power(self.road)
            tasks = [asyncio.create_task(self._work(queue)) for _ in range(AT_ONCE)]
            ticker = asyncio.create_task(self._write_often())
            try:
                async with contextlib.aclosing(read_rows(self.road, descriptor, self.options.dialect, skip)) as rows:
                    async for message in rows:
                        if self.stopped is not None:
                            break
                        await self._take(message, queue)
                for _ in tasks:
                    await queue.put(None)
                await asyncio.gather(*tasks)
            finally:
                ticker.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(ticker, *tasks, return_exceptions=True)
                self.state.complete = self.end is not None and self.stopped is None and not self.state.left
                self._write(last=True)
                self.bar.close()
        return self.tell()

    async def _take(self, message: Message, queue: "asyncio.Queue[AccountLine | None]") -> None:
        if isinstance(message, FileEnd):
            self.end = message
        if not isinstance(message, AccountLine | BadLine):
            return
        self.bar.show(message.offset, self.made)
        wanted = self.state.wants(message.line)
        self.taken = max(self.taken, message.line)
        if not wanted:
            return
        self.state.left.discard(message.line)
        self.schemes.update([message.scheme] if isinstance(message, AccountLine) else [])
        if isinstance(message, BadLine):
            self._refuse(message.line, message.reason)
            return
        self.busy.add(message.line)
        await queue.put(message)

    async def _work(self, queue: "asyncio.Queue[AccountLine | None]") -> None:
        while (row := await queue.get()) is not None:
            is_done = False
            try:
                if self.stopped is None:
                    await self._one(row)
                    is_done = True
            except TemporaryFailure as failure:
                if failure.code == "not-running" or len(self.state.left) >= LEFT_MAX:
                    self.stopped = failure
            except Error as error:
                self.stopped = error
            finally:
                (self.state.beyond if is_done else self.state.left).add(row.line)
                self.busy.discard(row.line)

    async def _one(self, row: AccountLine) -> None:
        """One account, or why there is none. Raises TemporaryFailure: it is done again in another run."""
        address = parse_address(row.address)
        if address.key in self.keys:
            self._refuse(row.line, "has an address that is in the file twice; the first is imported")
            return
        self.keys.add(address.key)
        try:
            await self._make(address, row)
        except (Refused, PeerError) as refusal:
            self._refuse(row.line, refusal.public)
        finally:
            self.done_keys.append(address.key)

    async def _make(self, address: Address, row: AccountLine) -> None:
        quota = row.quota_bytes or self.road.tenant.settings.integer("directory.default_quota_bytes")
        await add_account(self.road, address, NewPassword(row.octets, row.scheme, row.salt), quota, keep_note=True)
        if row.status in CLOSED:
            try:
                await close_account(self.road, address, CLOSED[row.status], "imported as closed")
            except Refused as refusal:  # it stands, and is open: not done before it is closed
                raise TemporaryFailure(refusal.public, code="not-closed") from None
        self.notes.made(PendingAccount(self.road.layout, address))
        self.state.counts.imported += 1
        self.made += 1
        if row.note:
            self.state.counts.noted += 1
            self.notes.tell(row.line, row.note)

    def _refuse(self, line: int, reason: str) -> None:
        self.state.counts.refused += 1
        self.notes.tell(line, printable(reason))

    def _write(self, *, last: bool = False) -> None:
        """The state up to the first line that is still under way; later ones that are done by number."""
        state = self.state
        state.done = max(state.done, min(self.busy, default=self.taken + 1) - 1)
        state.beyond = {line for line in state.beyond if line > state.done}
        self.notes.write(state, last=last)
        self.keys.difference_update(self.done_keys)
        self.done_keys.clear()

    async def _write_often(self) -> None:
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            self._write()

    def tell(self) -> int:
        """Print what came of it; the exit status. Raises what stopped it."""
        counts, left, tenant = self.state.counts, len(self.state.left), self.road.tenant.id
        if self.options.json:
            document = {
                "tenant": tenant, "dialect": self.end.dialect if self.end else "", "checked": self.options.check,
                "complete": self.state.complete, "imported": counts.imported, "refused": counts.refused,
                "noted": counts.noted, "left": left, "seconds": round(self.bar.seconds, 3),
                "schemes": [{"scheme": scheme, "accounts": n} for scheme, n in self.schemes.most_common()],
            }  # fmt: skip
            print_json(self.options.command, document)
        if self.options.check:
            say(f"{self.schemes.total()} accounts, and {counts.refused} lines that would not be imported")
        else:
            say(
                f"{tenant}: {counts.imported} accounts imported ({self.made} now, in {self.bar.seconds:.1f} s), "
                f"{counts.refused} lines refused, {left} left for another run"
            )
            if counts.refused or counts.noted:
                say(f"{self.notes.errors_file} says which lines, and why")
        if self.stopped is not None:
            raise self.stopped
        return ExitCode.FINDING if counts.refused or counts.noted or left else ExitCode.OK
