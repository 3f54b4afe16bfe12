"""A running installation of two tenants for the commands that ask a live cell."""

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.live import PORTS, free_number, network_of, uid_base_of

from bulkhead.cli.init import make_installation
from bulkhead.cli.main import main
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import set_value
from bulkhead.drill.officers import People
from bulkhead.identifiers import DomainName, TenantId

TENANTS = ("kddi", "stnet")
READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Live:
    """The installation and its `run`."""

    directory: Path
    process: subprocess.Popen[str]
    people: Mapping[str, People]
    """Of each tenant; their roots are pinned."""

    def __call__(self, *words: str, stdin: str | None = None) -> Ran:
        """Run a command as a user does, in this process."""
        out, err = io.StringIO(), io.StringIO()
        old = sys.stdin
        if stdin is not None:
            sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        out.reconfigure = lambda **_: None  # type: ignore[attr-defined]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([*words, "-C", str(self.directory)])
        finally:
            sys.stdin = old
        return Ran(status, out.getvalue(), err.getvalue())

    def add(self, address: str, password: str = "correct horse battery", tenant: str = "kddi") -> Ran:
        return self("account", "add", tenant, address, "--password-stdin", stdin=password + "\n")


def _new(network: str, slot: int, name: str, people: People) -> NewTenant:
    roots = {"pinned.roster_roots": tuple(str(key) for key in people.roots.keys)}
    domain, address = DomainName(f"{name}.example"), f"{network}.{slot + 1}"
    return NewTenant(TenantId(name), slot, domain, address, "", {**PORTS, **roots})


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Two tenants, running until the end of the module: no module finds rosters, stops or accounts of another."""
    base = Path(tempfile.mkdtemp(prefix="bulkhead-cli-"))
    directory = base / "i"
    try:
        number = free_number()
        network = network_of(number)
        people = {name: People(name) for name in TENANTS}
        new = [_new(network, slot, name, people[name]) for slot, name in enumerate(TENANTS)]
        make_installation(directory, "Test Carrier", new)
        set_value(directory, "bulkhead.toml", "uid_base", uid_base_of(number))
        with (base / "run.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bulkhead.cli.main", "run", "-C", str(directory)],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert process.stdout is not None
        with _deadline(process, READY_SECONDS):
            first = process.stdout.readline()
        if first != "ready\n":
            logs = "\n".join(path.read_text()[-2000:] for path in [base / "run.log", *directory.glob("log/*.log")])
            raise AssertionError(f"run printed {first!r}\n{logs}")
        yield Live(directory, process, people)
        process.send_signal(signal.SIGTERM)
        with _deadline(process, READY_SECONDS):
            rest = process.stdout.read()
        assert (rest, process.wait()) == ("", 0)
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def _deadline(process: "subprocess.Popen[str]", seconds: int) -> Iterator[None]:
    """Kill the process when this takes longer: whoever reads from it then sees its end."""

    def kill(*_: object) -> None:
        process.kill()

    old: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, kill)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
