"""Messages to `incident`: canaries, what is asked about logins, the contract. Account ids, never an address."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.backup import BeginBackupBase, EscrowKeysBase, ReadBackupBase
from bulkhead.boundary.messages.fields import (
    U32,
    U63,
    AccountId,
    Digest32,
    Done,
    Mutation,
    Name,
    Reply,
    Request,
    Tag16,
    Text,
)
from bulkhead.boundary.messages.standby import BeginStandbyBase, ReadStandbyBase, RenewLeaseBase

CANARIES_MAX = 500  # of one request
COPIES_MAX = 400
TERMS_MAX = 64  # of a contract
Network = Annotated[bytes, Meta(max_length=16)]


class LoginConfirmed(Reply, frozen=True):
    """canary: let nobody in."""

    canary: bool


class ConfirmLogin(Request[LoginConfirmed], frozen=True, tag=1):
    """The password was right, and came from a network from which it was not right before. Is it a canary's?"""

    account: AccountId
    network: Network


class Canary(Reply, frozen=True):
    """account: its id, in the copy that it was planted in. decoy: what directory answers for its name without it."""

    account: AccountId
    decoy: AccountId


class PlantCanaries(Mutation[Done], frozen=True, tag=10):
    """Know these for canaries of this copy from now on: `live`, or the id of a backup or an export. Refused: `full`."""

    copy: Name
    canaries: Annotated[tuple[Canary, ...], Meta(min_length=1, max_length=CANARIES_MAX)]


class CanaryNetwork(Reply, frozen=True):
    """From where canaries of a copy were used. network: empty where it is not known. Times are ms."""

    network: Name
    password_right: bool
    first: U63
    last: U63
    count: U63


class CanaryCopy(Reply, frozen=True):
    """One copy. right, wrong: uses with the right and with a wrong password. networks: the newest."""

    copy: Name
    canaries: U32
    since: U63
    right: U63
    wrong: U63
    first: U63
    last: U63
    networks: Annotated[tuple[CanaryNetwork, ...], Meta(max_length=20)]


class CanaryCopies(Reply, frozen=True):
    """Every copy."""

    copies: Annotated[tuple[CanaryCopy, ...], Meta(max_length=COPIES_MAX)]


class ListCanaries(Request[CanaryCopies], frozen=True, tag=11):
    """Copies with their hits; never which accounts."""


class IncidentReport(Reply, frozen=True):
    """What `fsck` found."""

    records: U63
    problems: Annotated[tuple[Text, ...], Meta(max_length=100)]


class CheckIncident(Request[IncidentReport], frozen=True, tag=12):
    """Check the list."""


class BeginBackup(BeginBackupBase, frozen=True, tag=13):
    """Take a snapshot of `incident`'s own records, for a backup."""


class ReadBackup(ReadBackupBase, frozen=True, tag=14):
    """That snapshot, sealed to both recovery keys."""


class EscrowKeys(EscrowKeysBase, frozen=True, tag=15):
    """`incident`'s key set, sealed to both recovery keys, for a restore elsewhere."""


ContractText = Annotated[str, Meta(max_length=16 * 1024)]
FactsJson = Annotated[bytes, Meta(max_length=32 * 1024)]


class TermRow(Reply, frozen=True):
    """One promise as it was last measured. standing: 1 kept, 2 broken, 3 not measured. measured, entry: -1 for none.

    since: ms, from when on it stands so. In RecordMeasures it is not read.
    """

    name: Name
    promised: U63
    measured: Annotated[int, Meta(ge=-1, le=1 << 53)]
    standing: Annotated[int, Meta(ge=1, le=3)]
    entry: Annotated[int, Meta(ge=-1, le=1 << 53)]
    why: Name
    since: U63 = 0


class ContractState(Reply, frozen=True):
    """text: the contract in force; empty where none is. adopted, checked: ms; 0: never. facts: of the last measure."""

    text: ContractText
    adopted: U63
    checked: U63
    facts: FactsJson
    terms: Annotated[tuple[TermRow, ...], Meta(max_length=TERMS_MAX)]


class AdoptContract(Mutation[Done], frozen=True, tag=20):
    """Make this the contract in force; its hash goes into the ledger, and what was measured by an older one is void."""

    text: ContractText


class ReadContract(Request[ContractState], frozen=True, tag=21):
    """The contract with its last measurement."""


class RecordMeasures(Mutation[Done], frozen=True, tag=22):
    """Keep a measurement; a promise that is broken since, or kept again, is an entry of the ledger.

    contract: SHA-256 of the text that was measured by. Refused: `stale` where another one is in force.
    """

    contract: Digest32
    checked: U63
    facts: FactsJson
    terms: Annotated[tuple[TermRow, ...], Meta(max_length=TERMS_MAX)]


class GiveNotice(Mutation[Done], frozen=True, tag=23):
    """The operator tells the partner what an entry of the ledger means; it becomes an entry itself."""

    entry: U63
    text: Text


SEVERITIES = ("unknown", "low", "medium", "high", "critical")
ADVISORIES_MAX = 100  # open ones of a tenant; the worst, then the oldest


class AdvisoryRow(Reply, frozen=True):
    """A known flaw of a component that compartments load. version: the one that has it. severity: 0 unknown, 1 to 4.

    published: ms, by the record; came: ms, when it was first brought here. record: SHA-256 of it.
    compartments: which load the component themselves, with commas. opened, closed: ms, not read in RecordComponents;
    why: it was closed.
    """

    advisory: Annotated[str, Meta(min_length=1, max_length=64)]
    component: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Name
    severity: Annotated[int, Meta(ge=0, le=4)]
    published: U63
    came: U63
    record: Digest32
    compartments: Text
    opened: U63 = 0
    closed: U63 = 0
    why: Name = ""


class ComponentState(Reply, frozen=True):
    """How it stood at the last comparison. checked: ms; 0: never. components, records: how many were compared.

    inventory: SHA-256 of what is installed, zeros before the first. newest: ms, of the youngest record. unsure: records
    that name a component and do not tell whether this version is meant. left: open ones beyond the hundred.
    """

    checked: U63
    components: U32
    inventory: Digest32
    records: U32
    newest: U63
    unsure: U32
    left: U32
    rows: Annotated[tuple[AdvisoryRow, ...], Meta(max_length=2 * ADVISORIES_MAX)]


class RecordComponents(Mutation[Done], frozen=True, tag=40):
    """Keep a comparison whole: what is not in `rows` any more is closed, and each change is an entry of the ledger.

    A row with `why` says of one that was open why it closes. Refused: `stale` where a newer one is kept.
    """

    checked: U63
    components: U32
    inventory: Digest32
    records: U32
    newest: U63
    unsure: U32
    left: U32
    rows: Annotated[tuple[AdvisoryRow, ...], Meta(max_length=2 * ADVISORIES_MAX)]


class ReadComponents(Request[ComponentState], frozen=True, tag=41):
    """Advisories that are open, and the newest closed ones, with the last comparison."""


class AutomaticKey(Reply, frozen=True):
    """public: of the key that signs automatic orders, Ed25519; empty: there is none.

    version: of the roster that they are made under; 0: none. officer: the key's name in it; empty: it is not in it.
    """

    public: Annotated[bytes, Meta(max_length=32)]
    version: U32
    officer: Annotated[str, Meta(max_length=31)]


class AutomaticOfficer(Reply, frozen=True):
    """A machine of a roster: its name, and the id of a key."""

    name: Name
    key: Tag16


class LearnRoster(Mutation[AutomaticKey], frozen=True, tag=27):
    """The roster in force, by version and hash, and its machines. Executors verify; here it is only named."""

    version: U32
    hash: Digest32
    officers: Annotated[tuple[AutomaticOfficer, ...], Meta(max_length=16)]


class ReadAutomatic(Request[AutomaticKey], frozen=True, tag=28):
    """The public key for the next roster."""


class BeginStandby(BeginStandbyBase, frozen=True, tag=24):
    """Begin to ship what `incident` changes to a standby, with a new base."""


class ReadStandby(ReadStandbyBase, frozen=True, tag=25):
    """The next piece of that, sealed."""


class RenewLease(RenewLeaseBase, frozen=True, tag=26):
    """The standby's lease for `incident`."""
