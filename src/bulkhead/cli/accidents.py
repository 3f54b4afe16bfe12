"""Whether a stop may itself be an accident that a carrier reports: thresholds of users x hours, as data.

The rules are accidents.toml beside this file; one of that name in the installation's directory takes its place, for
counsel to correct. What is said here is a warning to look, and no legal advice.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.errors import ConfigError

FILE = "accidents.toml"
SHIPPED = Path(__file__).parent / FILE
RULES_MAX = 100


@dataclass(frozen=True, slots=True)
class AccidentRule:
    """At least so many users for at least so many hours. surfaces: names that it is about; empty: all."""

    regime: str
    users: int
    hours: float
    verify: str
    surfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """One rule, held against a stop. reached: null where the stop has no end; then `after_hours` says when."""

    rule: AccidentRule
    reached: bool | None
    after_hours: float | None

    def as_row(self) -> dict[str, Any]:
        """For --json."""
        return {
            "regime": self.rule.regime, "users": self.rule.users, "hours": self.rule.hours, "reached": self.reached,
            "after_hours": self.after_hours, "verify": self.rule.verify,
        }  # fmt: skip


def read_rules(installation: Path) -> tuple[AccidentRule, ...]:
    """The rules that hold here. Raises ConfigError on a file that is none."""
    path = installation / FILE
    try:
        document = tomllib.loads((path if path.exists() else SHIPPED).read_text(encoding="utf-8"))
        rules = tuple(
            AccidentRule(
                str(row["regime"]), int(row["users"]), float(row["hours"]), str(row["verify"]),
                tuple(map(str, row.get("surfaces", ()))),
            )
            for row in document["rule"][:RULES_MAX]
        )  # fmt: skip
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; each [[rule]] has regime, users, hours and verify") from None
    if any(rule.users < 1 or rule.hours < 0 for rule in rules):
        raise ConfigError(f"{path}: users is at least 1, hours at least 0")
    return rules


def judge(rules: tuple[AccidentRule, ...], surface: str, users: int, hours: float | None) -> list[Judged]:
    """Each rule that is about this surface. hours: how long the stop lasts; None: until it is lifted."""
    found = []
    for rule in rules:
        if rule.surfaces and surface not in rule.surfaces:
            continue
        if users < rule.users:
            found.append(Judged(rule, reached=False, after_hours=None))
        elif hours is None:
            found.append(Judged(rule, reached=None, after_hours=rule.hours))
        else:
            found.append(Judged(rule, reached=hours >= rule.hours, after_hours=rule.hours))
    return found
