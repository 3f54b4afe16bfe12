"""Two compartments compromised together: what each reaches, and what they can do only together. Computed from PEERS.

A rule names the two and the messages of PEERS that it rests on; without one of them the rule is void. What a pair
yields beyond its parts is bounded by its own cell all the same: no edge leads from one cell to another. PURE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.processes import PROCESSES, Reach
from bulkhead.drill.matrix import Line
from bulkhead.drill.semantic import Column, Count, Mode

Edge = tuple[str, str, str]  # client, server, request


@dataclass(frozen=True, slots=True)
class Rule:
    """What two can do together. everything: columns in which all of their tenant's canaries are then reached."""

    pair: frozenset[str]
    everything: tuple[Column, ...]
    means: str
    needs: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """gains: column to (together, the most that one of them has alone, of).   means: of the rules that hold."""

    compartments: tuple[str, str]
    gains: Mapping[Column, tuple[int, int, int]]
    reached: Mapping[Column, int]
    means: tuple[str, ...]
    weight: int
    sampled: str = ""  # what came of trying it live; empty where it was computed alone

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "compartments": list(self.compartments),
            "weight": self.weight,
            "reached": {column.value: number for column, number in self.reached.items()},
            "gains": {
                column.value: {"together": together, "alone": alone, "of": of}
                for column, (together, alone, of) in self.gains.items()
            },
            "means": list(self.means),
            "sampled": self.sampled,
        }


def _rule(one: str, two: str, everything: Sequence[Column], means: str, *needs: Edge) -> Rule:
    return Rule(frozenset((one, two)), tuple(everything), means, needs)


RULES: tuple[Rule, ...] = (
    _rule("auth", "keyring", (Column.VERIFIERS, Column.TYPED_PASSWORDS, Column.KEYS),
          "both halves of every verifier with their keys: passwords are guessed offline, one Argon2id a guess",
          ("auth", "keyring", "CheckHalf")),
    _rule("keyring", "store", (Column.STORED_MAIL, Column.MAIL_ALTERED, Column.MAIL_DESTROYED),
          "ciphertext and the keys of whoever logs in meanwhile: the stored mail of those, in time of all active",
          ("keyring", "store", "GrantSessions")),
    _rule("access", "keyring", (Column.STORED_MAIL, Column.MAIL_ALTERED, Column.MAIL_DESTROYED, Column.KEYS),
          "keyring grants this worker any mailbox at store: what is there can be taken, and read for whoever logs in "
          "meanwhile",
          ("keyring", "store", "GrantSessions"), ("access", "store", "ReadParts")),
    _rule("queue", "keyring", (Column.MAIL_IN_TRANSIT,),
          "sealed outbound mail and the queue key: every waiting message is read",
          ("courier", "keyring", "OpenQueued")),
    _rule("queue", "courier", (Column.MAIL_IN_TRANSIT, Column.MAIL_ALTERED, Column.MAIL_DESTROYED),
          "queue says that all is due, courier has each key opened: every waiting message is read, as fast as keyring "
          "counts", ("courier", "queue", "TakeWork"), ("courier", "keyring", "OpenQueued")),
    _rule("directory", "keyring", (Column.MAIL_IN_TRANSIT,),
          "keyring signs a key of its own, directory hands it out: new mail of anybody is sealed to the attacker",
          ("mx", "directory", "ResolveRecipient"), ("cli", "keyring", "CreateMailboxKeys")),
    _rule("auth", "access", (Column.STORED_MAIL, Column.MAIL_ALTERED, Column.MAIL_DESTROYED, Column.KEYS),
          "a password typed at any gate is replayed at access: the mail of whoever logs in meanwhile",
          ("access", "auth", "Authenticate"), ("access", "keyring", "RedeemLogin")),
    _rule("submit", "access", (Column.TYPED_PASSWORDS,),
          "a password typed at submit is replayed at access, where its mail is opened",
          ("access", "auth", "Authenticate"), ("submit", "auth", "Authenticate")),
    _rule("mx", "store", (Column.MAIL_ALTERED,),
          "mail that mx saw in clear is known to store by its sealed form: it can be matched and withheld by content",
          ("mx", "store", "DeliverMail")),
    _rule("directory", "mx", (Column.MAIL_IN_TRANSIT,),
          "which addresses exist, and their mail as it arrives", ("mx", "directory", "ResolveRecipient")),
    _rule("directory", "mx", (),
          "directory signs forwards to anybody, mx hands their mail over: mail of their own making leaves in the "
          "tenant's name, as much a day as queue allows", ("mx", "queue", "EnqueueForward")),
)  # fmt: skip
WEIGHTS: Mapping[Column, int] = {
    Column.OTHER_TENANTS: 100, Column.VERIFIERS: 40, Column.STORED_MAIL: 30, Column.TYPED_PASSWORDS: 15,
    Column.KEYS: 10, Column.MAIL_IN_TRANSIT: 10, Column.ADDRESSES: 8, Column.MAIL_ALTERED: 5,
    Column.MAIL_DESTROYED: 5, Column.ORDERS: 5, Column.NETWORK: 2, Column.PERSISTENCE: 1, Column.AVAILABILITY: 1,
}  # fmt: skip
"""How bad a column is that only both together reach: for the order in which pairs are named, and nothing else."""


def holds(rule: Rule) -> bool:
    """Whether PEERS still has every message that the rule rests on."""
    return all(any((p.client, p.server) == (c, s) and r in p.requests for p in PEERS) for c, s, r in rule.needs)


def compute(lines: Sequence[Line], everything: Mapping[Column, frozenset[str]]) -> list[Pair]:
    """Every pair of the compartments in the matrix's default mode, the worst first. everything: canaries at home."""
    own = {line.compartment: line for line in lines if line.mode is Mode.DEFAULT}
    found = [_pair(one, two, own, everything) for one, two in combinations(own, 2)]
    return sorted(found, key=lambda pair: (-pair.weight, pair.compartments))


def _pair(one: str, two: str, own: Mapping[str, Line], everything: Mapping[Column, frozenset[str]]) -> Pair:
    rules = [rule for rule in RULES if rule.pair == {one, two} and holds(rule)]
    reached: dict[Column, int] = {}
    gains: dict[Column, tuple[int, int, int]] = {}
    weight = 0.0
    for column in Column:
        counts = [own[name].cells[column].count.canaries for name in (one, two)]
        alone = max(len(count.reached) for count in counts)
        both = counts[0] | counts[1]
        if any(column in rule.everything for rule in rules):
            both |= Count(everything.get(column, frozenset()), frozenset())
        of = len(both.of | everything.get(column, frozenset()))
        if both.reached:
            reached[column] = len(both.reached)
        if len(both.reached) > alone:
            gains[column] = (len(both.reached), alone, of)
            weight += WEIGHTS[column] * (len(both.reached) - alone) / of
    means = [rule.means for rule in rules]
    outside = [name for name in (one, two) if PROCESSES[name].reach in {Reach.ACCEPTED, Reach.HANDED, Reach.DIALS}]
    if len(outside) == 1 and reached:
        means.append(f"{outside[0]} has the network: what the other reaches leaves the machine")
    return Pair((one, two), gains, reached, tuple(means), round(weight))
