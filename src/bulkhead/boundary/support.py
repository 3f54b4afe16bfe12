"""SUPPORT_ACTS: the one list of what the support desk may do in a case, who may, and what needs the subscriber's code.

What is not here the desk cannot do: no act reads mail, opens a key or sets a password. docs/support.md is made from it.
Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

HOUR_MS = 3_600_000
CASE_LIFE_MAX_MS = 8 * HOUR_MS
CASES_PER_HOUR = 30  # that one officer opens
LOOKS_PER_HOUR = 60  # cards that one officer is shown
CONSENT_LIFE_MS = 15 * 60_000
CONSENT_DIGITS = 8
CONSENT_TRIES = 5  # wrong codes after which the right one is void
CASE_ROLES = ("partner-support", "partner-admin", "partner-security")
CASE_HOLDERS = ("directory", "store", "auth")  # each verifies a case itself, in this order


@dataclass(frozen=True, slots=True)
class SupportAct:
    """One act. number: what ActInCase names. widens: in the ledger before; else with its effect."""

    name: str
    number: int
    sentence: str
    consent: bool
    widens: bool
    roles: tuple[str, ...] = CASE_ROLES


_ROWS = (
    SupportAct(
        "unlock", 1, "The waits and counts of wrong passwords against the account are forgotten.",
        consent=True, widens=True,
    ),
    SupportAct(
        "revoke-app-passwords", 2, "Every app password of the account is revoked; its sessions end.",
        consent=True, widens=False,
    ),
    SupportAct("end-sessions", 3, "Every live session of the account ends.", consent=True, widens=False),
    SupportAct(
        "request-recovery", 4, "An order of recovery is written for officers to sign; nothing changes.",
        consent=False, widens=True, roles=("partner-support", "partner-admin"),
    ),
)  # fmt: skip

SUPPORT_ACTS: Mapping[int, SupportAct] = {row.number: row for row in _ROWS}
ACT_NUMBERS: Mapping[str, int] = {row.name: row.number for row in _ROWS}


def support_table() -> str:
    """Markdown: acts by role."""
    head = "| act | what | " + " | ".join(f"`{role}`" for role in CASE_ROLES) + " | subscriber's code | ledger |"
    lines = [head, "|---|---|" + "---|" * (len(CASE_ROLES) + 2)]
    lines.append("| look (`show`) | The masked card. |" + " yes |" * len(CASE_ROLES) + " no | before |")
    for row in _ROWS:
        may = " | ".join("yes" if role in row.roles else "no" for role in CASE_ROLES)
        when = "before" if row.widens else "with it"
        lines.append(f"| `{row.name}` | {row.sentence} | {may} | {'needed' if row.consent else 'no'} | {when} |")
    return "\n".join(lines)
