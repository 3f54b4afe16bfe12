"""How bad a flaw is: the base score of CVSS version 3 computed, else what the record's own database says. PURE.

Source: CVSS v3.1 specification, section 7.1 (base metrics) and 7.4 (metric values), appendix A (rounding).
"""

import math
from collections.abc import Mapping
from enum import IntEnum

VECTOR_MAX = 200  # characters
_AV = {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}
_AC = {"L": 0.77, "H": 0.44}
_UI = {"N": 0.85, "R": 0.62}
_PR = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
_CIA = {"H": 0.56, "L": 0.22, "N": 0.0}


class Severity(IntEnum):
    """Qualitative severity, section 5; the numbers are those of messages and tables. UNKNOWN counts as CRITICAL."""

    UNKNOWN = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def counts_as(self) -> "Severity":
        """What a promise takes it for: nobody has said that an unknown one is harmless."""
        return Severity.CRITICAL if self is Severity.UNKNOWN else self


WORDS: Mapping[str, Severity] = {
    "NONE": Severity.LOW, "LOW": Severity.LOW, "MODERATE": Severity.MEDIUM, "MEDIUM": Severity.MEDIUM,
    "HIGH": Severity.HIGH, "CRITICAL": Severity.CRITICAL,
}  # fmt: skip


def base_score(vector: str) -> float | None:
    """0.0 to 10.0 of a vector of CVSS 3.0 or 3.1; None where it is no such vector."""
    parts = vector.split("/") if len(vector) <= VECTOR_MAX else [""]
    metrics = dict(part.partition(":")[::2] for part in parts[1:])
    if parts[0] not in {"CVSS:3.0", "CVSS:3.1"} or len(metrics) != len(parts) - 1:
        return None
    try:
        scope = metrics["S"]
        exploitability = 8.22 * _AV[metrics["AV"]] * _AC[metrics["AC"]] * _PR[scope][metrics["PR"]] * _UI[metrics["UI"]]
        base = 1 - math.prod(1 - _CIA[metrics[name]] for name in "CIA")
    except KeyError:
        return None
    changed = scope == "C"
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    return _round_up(min(1.08 * (impact + exploitability) if changed else impact + exploitability, 10))


def severity_of(score: float) -> Severity:
    """The word for a score, section 5."""
    for least, severity in ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM)):
        if score >= least:
            return severity
    return Severity.LOW


def _round_up(value: float) -> float:
    """To one decimal, upwards: appendix A, in whole numbers so that no binary fraction changes the result."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10
