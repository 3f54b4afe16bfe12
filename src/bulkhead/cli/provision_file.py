"""A provisioning file as the command line reads it: what it comes to, and its lines."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from bulkhead.errors import ConfigError, Refused
from bulkhead.records.provision import LINE_MAX, chunk_hash, chunks_of, parse_header, parse_line, root_of

_OF_HALVES = (b'"password"', b'"account"', b'"line"')
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
    halves: bool = False  # whether auth and keyring have a part of it

    @property
    def root(self) -> bytes:
        """What is signed."""
        return root_of(self.lines, bytes(self.hashes))


def plan_of(path: Path, tenant: str, *, parse: bool) -> Plan:
    """Read a file. Raises ConfigError where it is none of this tenant."""
    plan = Plan()
    try:
        with path.open("rb") as stream:
            for chunk in chunks_of(file_lines(stream)):
                plan.hashes += chunk_hash(chunk.data)
                plan.halves |= any(name in chunk.data for name in _OF_HALVES)
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


def file_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their LF; one without end is cut where it is too long."""
    while line := stream.readline(LINE_MAX + 2):
        yield line
