"""The text format of Prometheus, version 0.0.4: a table of metrics and their samples in, octets out. PURE.

Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format". Samples of one metric stand together,
behind one HELP and one TYPE line.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
Labels = Mapping[str, str]


class Kind(Enum):
    """How a value behaves: a counter only goes up, and begins at 0 with its process."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. sentence: its HELP. samples: labels and value of each."""

    name: str
    kind: Kind
    sentence: str
    samples: tuple[tuple[Labels, float], ...]


def exposition(families: Iterable[Family]) -> str:
    """The whole text; a metric without samples is left out. Raises ValueError on a name that is none: our bug."""
    return "".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterable[str]:
    if not _NAME.fullmatch(family.name):
        raise ValueError(f"{family.name!r} is no name of a metric")
    yield f"# HELP {family.name} {escaped(family.sentence)}\n"
    yield f"# TYPE {family.name} {family.kind.value}\n"
    for labels, value in family.samples:
        for label in labels:
            if not _LABEL.fullmatch(label) or label.startswith("__"):
                raise ValueError(f"{label!r} is no name of a label")
        inside = ",".join(f'{label}="{escaped(text, quote=True)}"' for label, text in labels.items())
        yield f"{family.name}{{{inside}}} {number(value)}\n"


def escaped(text: str, *, quote: bool = False) -> str:
    """`text` with backslash and line feed escaped, in a label's value the quotation mark too."""
    plain = text.replace("\\", r"\\").replace("\n", r"\n")
    return plain.replace('"', r"\"") if quote else plain


def number(value: float) -> str:
    """As Go's ParseFloat reads it, no digit lost."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
