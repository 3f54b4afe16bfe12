"""TERMS: what a contract can promise, each with its unit and its limits; and a contract.toml read as promises.

    schema = 1
    [backup]
    hours = 26          # the newest backup is never older

A term that is not in the file is not promised. An unknown one is an error that names the nearest.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bulkhead.errors import ConfigError

TEXT_MAX = 16 * 1024  # octets of a contract.toml
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Term:
    """One row of TERMS. least: whether the promise is a floor; else a ceiling. minimum, maximum: of the promise."""

    name: str
    unit: str
    minimum: int
    maximum: int
    least: bool
    sentence: str


def _terms(*rows: tuple[str, str, int, int, bool, str]) -> Mapping[str, Term]:
    return MappingProxyType({row[0]: Term(*row) for row in rows})


TERMS = _terms(
    ("notice.hours", "hours", 1, 720, False,
     "From an alarm in the ledger (a canary used with the right password, a compartment that broke the boundary, a "
     "drill over budget) to the operator's notice of it."),
    ("patch.days", "days", 1, 365, False,
     "From the publication of an advisory on a component, of whatever severity, to its fix in this cell."),
    ("patch.high_days", "days", 1, 365, False, "The same for those of severity high, critical or unknown."),
    ("patch.critical_days", "days", 1, 365, False, "The same for those of severity critical or unknown."),
    ("patch.check_days", "days", 1, 365, False, "Since components were last compared with advisories."),
    ("patch.feed_days", "days", 1, 365, False, "Age of the youngest advisory that they were compared with."),
    ("blast_radius.over", "cells", 0, 1000, False, "Cells of the last drill's matrix that are over budget."),
    ("blast_radius.unproven", "rows", 0, 1000, False, "Rows of the last drill that show nothing."),
    ("blast_radius.drill_days", "days", 1, 365, False, "Since the last drill whose result is in the ledger."),
    ("credentials.faults", "records", 0, 1_000_000, False, "Records that the last audit could not open."),
    ("credentials.legacy", "passwords", 0, 100_000_000, False,
     "Passwords still wrapped in an imported digest, at the last audit."),
    ("credentials.audit_days", "days", 1, 365, False, "Since the last audit of the credentials."),
    ("keys.rotation_days", "days", 1, 3650, False,
     "Since each of auth's and keyring's keys was last rotated; counted from the tenant's first day before that."),
    ("backup.hours", "hours", 1, 8760, False, "Since the last backup."),
    ("backup.verify_days", "days", 1, 365, False, "Since a backup was last verified."),
    ("retention.undelete_days", "days", 1, 365, True, "How long a deleted message can be asked back."),
    ("exit.export_days", "days", 1, 3650, False,
     "Since the tenant's mail was last exported whole: whoever can leave, does it now and then."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promise:
    """A term, and the number that was agreed."""

    term: Term
    value: int


def parse_contract(text: str) -> tuple[Promise, ...]:
    """The promises of a contract.toml, in the order of TERMS. Raises ConfigError: every problem, one a line."""
    if len(text.encode()) > TEXT_MAX:
        raise ConfigError(f"a contract has at most {TEXT_MAX} octets")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the contract is not valid TOML: {str(error)[:200]}") from None
    problems: list[str] = []
    if document.pop("schema", None) != SCHEMA:
        problems.append(f"schema = {SCHEMA} is missing")
    values: dict[str, int] = {}
    for section, rows in document.items():
        if not isinstance(rows, dict):
            problems.append(f"{section[:60]}: unknown; a term stands in its section")
            continue
        for key, value in rows.items():
            problem = _problem(f"{section}.{key}", value)
            if problem:
                problems.append(problem)
            else:
                values[f"{section}.{key}"] = value
    if not problems and not values:
        problems.append("it promises nothing")
    if problems:
        raise ConfigError("the contract is not accepted:\n" + "\n".join(problems[:50]))
    return tuple(Promise(term, values[name]) for name, term in TERMS.items() if name in values)


def _problem(name: str, value: object) -> str:
    term = TERMS.get(name)
    if term is None:
        near = difflib.get_close_matches(name[:100], TERMS, n=1)
        hint = f"did you mean {near[0]}?" if near else "docs/contract.md has the terms"
        return f"unknown term {name[:60]}: {hint}"
    if isinstance(value, bool) or not isinstance(value, int) or not term.minimum <= value <= term.maximum:
        return f"{name}: must be an integer, {term.minimum} to {term.maximum} ({term.unit})"
    return ""
