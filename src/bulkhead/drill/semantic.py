"""Semantic probes: what a compromised compartment gains from neighbours that keep every rule, as a table of rows.

A row says what it attempts, what success would mean, and how the same act is shown to work for whom it is meant for.
Its function does both and gives back the canaries that were reached, by column of the matrix. To add rows, write a
module `semantic_<subject>.py` in this package with a tuple PROBES: it is found by its name.

    PROBES = (
        SemanticProbe(
            name="access-reads-a-stranger", compartment="access", columns=(Column.STORED_MAIL,),
            attempts="a stranger's message under an own session's handle",
            success_means="reads stored mail of who never logged in there",
            control="the stranger's own worker reads the same message", run=read_a_stranger,
        ),
    )

    def read_a_stranger(range_: Range) -> Reached:
        victim = range_.accounts(range_.home)[1]
        ...
        return Reached.one(Column.STORED_MAIL, reached={...}, of={...}, control="" if worked else "no session")

A compartment that asks (a gate, `courier`, `auth`, ...) is played by `range_.twin(compartment)`, forked and locked by
the cell itself, on real edges to honest holders. One that answers (`directory`, `store`, `resolver`, ...) has no twin
among honest clients, who must never take one for their server: its row brings up honest neighbours of its own in
`range_.scratch()`, or changes what the honest one finds on disk.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import bulkhead.drill

if TYPE_CHECKING:
    from bulkhead.drill.range import Range

NAMES_MAX = 20  # canaries named in a document, of each count
ATTEMPT = ": attempt "  # in the name of what is no canary of the range
_PREFIX = "semantic_"


class Column(Enum):
    """A column of the matrix (docs/drill.md), in its order. The value is its name in JSON and in the budget."""

    OTHER_TENANTS = "other tenants"
    ADDRESSES = "addresses"
    VERIFIERS = "verifiers"
    TYPED_PASSWORDS = "typed passwords"
    STORED_MAIL = "stored mail"
    MAIL_IN_TRANSIT = "mail in transit"
    MAIL_ALTERED = "mail altered"
    MAIL_DESTROYED = "mail destroyed"
    KEYS = "keys"
    ORDERS = "orders"
    NETWORK = "network"
    PERSISTENCE = "persistence"
    AVAILABILITY = "availability"


class Mode(Enum):
    """How many live sessions a worker of a gate has: several, or one."""

    DEFAULT = "default"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Count:
    """Canaries by name: reached, of those that were tried. Names are unions over probes, so that none counts twice.

    A name is stable over runs and says what it is: a tenant, an address, `address/message number`, `compartment/file`;
    or, where what was tried is no canary of the range, `probe: attempt number`: the matrix counts those apart.
    """

    reached: frozenset[str]
    of: frozenset[str]

    @property
    def canaries(self) -> "Count":
        """Without attempts."""
        return Count(*(frozenset(n for n in names if ATTEMPT not in n) for names in (self.reached, self.of)))

    @property
    def attempts(self) -> "Count":
        """Attempts alone."""
        return Count(*(frozenset(n for n in names if ATTEMPT in n) for names in (self.reached, self.of)))

    def __or__(self, other: "Count") -> "Count":
        return Count(self.reached | other.reached, self.of | other.of | self.reached | other.reached)


@dataclass(frozen=True, slots=True)
class Reached:
    """What one run of a probe gave. control: empty when the positive control worked, else why not: then it is unproven.

    note: one line for the reader: what was tried how often and how it was answered. No secret in it.
    """

    counts: Mapping[Column, Count]
    control: str = ""
    note: str = ""

    @classmethod
    def one(
        cls, column: Column, *, reached: Iterable[str], of: Iterable[str], control: str = "", note: str = ""
    ) -> "Reached":
        """For a probe of one column."""
        return cls({column: Count(frozenset(reached), frozenset(of))}, control, note)


Run = Callable[["Range"], Reached]


@dataclass(frozen=True, slots=True)
class SemanticProbe:
    """A row of the table; the head of this module explains it.

    name: stable, lower case with hyphens: results, budgets and `--rows` go by it.   compartment: of PROCESSES.
    by_mode: what it reaches depends on how many live sessions a worker has: it is run once for each Mode.
    slow: for `make test-all` and `--all` only: over about three seconds.
    disturbs: it leaves its cell other than it was (something restarted, full or stopped): it runs after all others.
    by_charter: nothing is measured: all that the compartment has by its charter counts as reached.
    """

    name: str
    compartment: str
    columns: tuple[Column, ...]
    attempts: str
    success_means: str
    control: str
    run: Run
    by_mode: bool = False
    slow: bool = False
    disturbs: bool = False
    by_charter: bool = False


@functools.cache
def load_semantic() -> dict[str, SemanticProbe]:
    """Every row by name, module by module. Raises ValueError on two rows of one name, or a bad one: our bug."""
    found: dict[str, SemanticProbe] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(bulkhead.drill.__path__) if m.name.startswith(_PREFIX)):
        for row in importlib.import_module(f"bulkhead.drill.{module}").PROBES:
            if row.name in found or not row.columns:
                raise ValueError(f"{module}: {row.name} is there twice, or without a column")
            found[row.name] = row
    return found
