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
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram's value. bounds: rising. counts: of each bucket alone, one more than bounds. total: the sum seen."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. sentence: its HELP. samples: labels and value of each; of a histogram Buckets."""

    name: str
    kind: Kind
    sentence: str
    samples: tuple[tuple[Labels, float | Buckets], ...]


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
        if isinstance(value, Buckets):
            yield from _buckets(family.name, labels, value)
        else:
            yield _line(family.name, labels, value)


def _buckets(name: str, labels: Labels, value: Buckets) -> Iterable[str]:
    """Cumulative, the last for +Inf; then sum and count."""
    if len(value.counts) != len(value.bounds) + 1:
        raise ValueError(f"{name}: a histogram counts once more than it has bounds")
    seen = 0
    for bound, count in zip((*value.bounds, math.inf), value.counts, strict=True):
        seen += count
        yield _line(f"{name}_bucket", {**labels, "le": number(bound)}, seen)
    yield _line(f"{name}_sum", labels, value.total)
    yield _line(f"{name}_count", labels, seen)


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{escaped(text, quote=True)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {number(value)}\n"


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
