"""ORDERS: the one list of what officers may order, who executes it, how many must sign; and what goes without orders.

An order's effect is a request that its executor knows anyway, made from the order by the row's `effects`; so an order
can do nothing that PEERS does not already allow somebody. LOCAL_POWERS names what the command line of this host may
change besides, with the order that takes its place where there is one. docs/orders.md is made from here.

Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

HOUR_MS = 3_600_000
OFFLINE = "offline"  # executor of an order that a command executes where no cell runs
EXECUTORS = ("keyring", "auth", "queue", "directory", "store")  # in the order in which a command submits


class OrderKind(Enum):
    """When it takes effect. STOP narrows: at once, the ledger afterwards. OPEN widens: once the ledger has it.

    DESTROY cannot be undone: after a wait, within a number a day, once the ledger has it, unless withdrawn.
    """

    STOP = "stop"
    OPEN = "open"
    DESTROY = "destroy"


class Mode(Enum):
    """What an executor does. DO: the request itself. PERMIT: the local command line may then do it, in its time."""

    DO = "do"
    PERMIT = "permit"


class Given(Enum):
    """Where a field of the effect comes from, if it is no constant."""

    NOW = "now"  # the executor's clock, ms
    ISSUED = "issued"  # when the order was made, ms: a lift takes back no stop that came after it was signed
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Of:
    """A field that comes from the order's parameter of that name."""

    parameter: str


Source = Given | Of | str | int | bool


@dataclass(frozen=True, slots=True)
class Effect:
    """A request to one executor. fields: by name; those not named are the local command's to give (PERMIT)."""

    executor: str
    message: str
    fields: Mapping[str, Source]
    mode: Mode = Mode.DO
    once: bool = False  # PERMIT: one request alone


class Form(Enum):
    """What a parameter is."""

    ACCOUNT = "an account's id: 32 hexadecimal digits"
    ADDRESS = "an address of that account"
    SERIAL = "the serial of an order: 32 hexadecimal digits"
    KINDS = "1 main passwords, 2 app passwords, 3 both"
    DIGEST = "SHA-256 in 64 hexadecimal digits"
    LINES = "how many lines it has"
    SURFACES = "bits of surfaces (docs/containment.md)"
    SET = "SHA-256 of a set of accounts: 64 hexadecimal digits; left out: every account"
    UNTIL = "when the stop lapses, ms since 1970; left out: it does not"


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One action. partner, operator, anyone: signatures needed. daily: how many a UTC day, 0: no cap.

    passkey: whether a browser's key may sign. automatic: whether one signature by the role `automatic` is enough;
    such an order must lapse within an hour. lapses: the action that takes it back at `until`.
    """

    action: str
    kind: OrderKind
    sentence: str
    effects: tuple[Effect, ...]
    parameters: Mapping[str, Form]
    partner: int = 0
    operator: int = 0
    anyone: int = 0
    passkey: bool = False
    automatic: bool = False
    wait_ms: int = 0
    daily: int = 0
    lapses: str = ""
    holder: str = ""  # for one that lapses: the attribute of the executor's state that says whether it holds
    offline: str = ""  # the command that executes it where no cell runs, by the roster that it finds

    @property
    def executors(self) -> tuple[str, ...]:
        """Compartments, in the order in which a command submits; OFFLINE alone where a command executes it."""
        if self.offline:
            return (OFFLINE,)
        return tuple(name for name in EXECUTORS if any(effect.executor == name for effect in self.effects))


_STOP_FIELDS: Mapping[str, Source] = {"epoch": Given.NOW, "reason": Given.REASON}
_LIFT_FIELDS: Mapping[str, Source] = {"epoch": Given.ISSUED, "reason": Given.REASON}
_CONTAINERS = ("keyring", "auth", "queue", "store")
_SURFACES: Mapping[str, Source] = {"surfaces": Of("surfaces"), "accounts": Of("accounts")}
_ACCOUNT: Mapping[str, Form] = {"account": Form.ACCOUNT, "address": Form.ADDRESS}


def _states(number: int, status: int) -> tuple[Effect, ...]:
    """An account brought to a state of both halves, and to a status of directory."""
    return (
        Effect("keyring", "SetHalfState", {"account": Of("account"), "state": number}),
        Effect("auth", "SetLoginState", {"account": Of("account"), "state": number}),
        Effect("directory", "SetAccountStatus", {"address": Of("address"), "status": status, "reason": Given.REASON}),
    )


_ROTATE = tuple(
    Effect(name, message, {}, Mode.PERMIT) for name in ("keyring", "auth") for message in ("RotateKey", "DestroyKey")
)

_ROWS: tuple[OrderRow, ...] = (
    OrderRow(
        "stop-logins", OrderKind.STOP, "Nobody logs in any more.",
        (
            Effect(
                "keyring", "StopTenantSessions",
                {**_STOP_FIELDS, "end_sessions": False, "stop_logins": True},
            ),
            Effect("auth", "StopTenantLogins", _STOP_FIELDS),
        ),
        {"until": Form.UNTIL}, partner=1, passkey=True, automatic=True, lapses="lift-logins", holder="stop",
    ),
    OrderRow(
        "end-sessions", OrderKind.STOP, "Every live session ends; who logs in again may.",
        (
            Effect(
                "keyring", "StopTenantSessions",
                {**_STOP_FIELDS, "end_sessions": True, "stop_logins": False},
            ),
        ),
        {}, partner=1, passkey=True,
    ),
    OrderRow(
        "stop-outbound", OrderKind.STOP, "Nothing more leaves the cell for other servers; what is sent waits.",
        tuple(Effect(name, "StopOutbound", _STOP_FIELDS) for name in ("keyring", "queue")),
        {"until": Form.UNTIL}, partner=1, passkey=True, automatic=True, lapses="lift-outbound", holder="outbound",
    ),
    OrderRow(
        "stop-surfaces", OrderKind.STOP,
        "Surfaces are closed to a set of accounts or to all: logins by protocol, resets, outbound, inbound, sessions.",
        tuple(
            Effect(name, "StopSurfaces", {**_STOP_FIELDS, **_SURFACES, "until": Of("until")}) for name in _CONTAINERS
        ),
        {"surfaces": Form.SURFACES, "accounts": Form.SET, "until": Form.UNTIL}, partner=1, passkey=True, automatic=True,
    ),
    OrderRow(
        "revoke-credentials", OrderKind.STOP, "Main passwords, app passwords or both, as set now, admit nobody again.",
        tuple(
            Effect(name, "RevokeCredentials", {**_STOP_FIELDS, "which": Of("which")}) for name in ("keyring", "auth")
        ),
        {"which": Form.KINDS}, partner=2,
    ),
    OrderRow(
        "renew-mailboxes", OrderKind.STOP, "Every mailbox key is replaced at its account's next login.",
        (Effect("keyring", "RenewMailboxes", {"reason": Given.REASON}),), {}, partner=2,
    ),
    OrderRow(
        "suspend-account", OrderKind.STOP, "One account's sessions end; it neither logs in, nor sends, nor receives.",
        _states(2, 3), _ACCOUNT, partner=1, passkey=True,
    ),
    OrderRow(
        "withdraw", OrderKind.STOP, "An order that waits is not executed, nor taken later.", (),
        {"serial": Form.SERIAL}, anyone=1, passkey=True,
    ),
    OrderRow(
        "lift-logins", OrderKind.OPEN, "Logins again.",
        (
            Effect("keyring", "LiftSessionStop", _LIFT_FIELDS),
            Effect("auth", "LiftTenantStop", _LIFT_FIELDS),
        ),
        {}, partner=2,
    ),
    OrderRow(
        "lift-outbound", OrderKind.OPEN, "Outbound mail leaves again.",
        tuple(Effect(name, "LiftOutboundStop", _LIFT_FIELDS) for name in ("keyring", "queue")), {}, partner=2,
    ),
    OrderRow(
        "lift-surfaces", OrderKind.OPEN, "Surfaces are open again, to that set of accounts or to all.",
        tuple(Effect(name, "LiftSurfaces", {**_LIFT_FIELDS, **_SURFACES}) for name in _CONTAINERS),
        {"surfaces": Form.SURFACES, "accounts": Form.SET}, partner=2,
    ),
    OrderRow(
        "activate-account", OrderKind.OPEN, "A suspended account works again.", _states(1, 2), _ACCOUNT, partner=1,
    ),
    OrderRow(
        "recover-mailbox", OrderKind.OPEN, "One mailbox is opened by both recovery keys, for a new password.",
        (Effect("keyring", "GrantRecovery", {"account": Of("account")}, Mode.PERMIT, once=True),),
        {"account": Form.ACCOUNT}, partner=1, operator=1, daily=100,
    ),
    OrderRow(
        "rotate-keys", OrderKind.OPEN, "Version keys are rotated, and the old ones destroyed without a wait.",
        _ROTATE, {}, partner=1, operator=1,
    ),
    OrderRow(
        "export-mailboxes", OrderKind.OPEN, "Mailbox keys leave the cell, sealed to both recovery keys.",
        (Effect("keyring", "ExportKeys", {}, Mode.PERMIT),), {}, partner=2, operator=1,
    ),
    OrderRow(
        "restore-cell", OrderKind.OPEN, "The cell is made anew from a backup, with both recovery keys.", (), {},
        partner=2, offline="bulkhead restore",
    ),
    OrderRow(
        "promote-standby", OrderKind.OPEN, "The standby takes the place of the cell, with both recovery keys.", (), {},
        partner=2, offline="bulkhead standby promote",
    ),
    OrderRow(
        "provision", OrderKind.OPEN, "A file of accounts, addresses and switches is carried out, line by line.",
        (
            *(
                effect
                for name in ("keyring", "auth", "directory")
                for effect in (
                    Effect(name, "BeginProvision", {"root": Of("root"), "lines": Of("lines")}, Mode.PERMIT),
                    Effect(name, "ProvisionChunk", {"root": Of("root")}, Mode.PERMIT),
                )
            ),
            Effect("directory", "CarryOutChunk", {"root": Of("root")}, Mode.PERMIT),
        ),
        {"root": Form.DIGEST, "lines": Form.LINES}, partner=1,
    ),
    OrderRow(
        "cancel-account", OrderKind.DESTROY, "One account is destroyed: verifiers, mailbox key, mail, address.",
        (
            Effect("keyring", "SetHalfState", {"account": Of("account"), "state": 3}),
            Effect("auth", "SetLoginState", {"account": Of("account"), "state": 3}),
            Effect("store", "DestroyAccount", {"account": Of("account")}),
            Effect("queue", "DestroyQueued", {"account": Of("account"), "reverse_path": Of("address")}),
            Effect(
                "directory", "SetAccountStatus", {"address": Of("address"), "status": 5, "reason": Given.REASON}
            ),
        ),
        _ACCOUNT, partner=2, wait_ms=24 * HOUR_MS, daily=1000,
    ),
)  # fmt: skip

ORDERS: Mapping[str, OrderRow] = {row.action: row for row in _ROWS}
OPTIONAL: Mapping[str, int | bytes] = {"until": 0, "accounts": b""}  # what a parameter that is left out comes to
AUTOMATIC_DAILY = 3  # automatic orders of one action that an executor takes on a UTC day
AUTOMATIC_MS = HOUR_MS  # how far ahead an automatic order's lapse may be


# By compartment: requests of the command line that a signed provisioning file takes over once orders are asked for.
PROVISIONED: Mapping[str, frozenset[str]] = {
    "directory": frozenset(
        {
            "AddAccount", "AddAlias", "RemoveAlias", "SetForward", "SetServices", "SetQuota", "SetClass", "AddGroup",
            "SetMember", "RemoveGroup",
        }
    ),
    "keyring": frozenset({"CreateMailboxKeys"}),  # with a token for a first password
    "store": frozenset({"LimitAccount"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LocalPower:
    """A change that the command line of this host may ask of a compartment without an order. why: it stays so."""

    compartment: str
    message: str
    why: str


_SEALED = "what comes out opens with both recovery keys alone"
_PROVISION = "making what was not there, which nothing reaches; provisioning"
_CONTRACT = "what is measured and noticed, in the ledger"
_DESK = "needs a case, which an officer signs once there is a roster; in the ledger first"
_LOG = "an entry in the log, under the name of the command line"

LOCAL_POWERS: tuple[LocalPower, ...] = (
    LocalPower("directory", "AddDomain", _PROVISION),
    LocalPower("directory", "DefineClass", "what a class is; accounts get it by a provisioning file"),
    LocalPower("directory", "NoteBindings", _LOG),
    LocalPower("directory", "RemoveDomain", "narrows: no address is left in it"),
    LocalPower("keyring", "CreateMailboxKeys", f"without a token: {_PROVISION}"),
    LocalPower("store", "OpenAccount", _PROVISION),
    LocalPower("auth", "SetPassword", "needs a token of a new account, or of a recovery"),
    LocalPower("auth", "ChangePassword", "needs the password"),
    LocalPower("auth", "AddAppPassword", "needs the password"),
    LocalPower("auth", "RevokeAppPasswords", "narrows, for one account"),
    LocalPower("keyring", "BeginRecovery", "opens nothing without GrantRecovery"),
    LocalPower("queue", "RetryNow", "asks for what is due anyway"),
    *(
        LocalPower("store", message, "brings mail back to its own mailbox; in the ledger first")
        for message in ("UndeleteMessages", "RestoreMailbox", "RestoreMessages")
    ),
    *(
        LocalPower("store", message, "adds mail and names to an account, as a sender can; in the ledger first")
        for message in ("ImportMailbox", "ImportName", "ImportMessages")
    ),
    *(
        LocalPower(name, message, _DESK)
        for name, look in (("directory", "ShowCard"), ("store", "ShowUsage"), ("auth", "ShowLoginCard"))
        for message in ("OpenCase", "CloseCase", look)
    ),
    LocalPower("auth", "GiveConsent", "needs the password"),
    LocalPower("auth", "ActInCase", "needs a case, and the subscriber's code"),
    LocalPower("ledger", "AddCosignature", "needs a witness's signature"),
    *(
        LocalPower(name, "StageAccounts", "keeps ids for a stop to name; stops nobody")
        for name in ("auth", "keyring", "queue", "store")
    ),
    *(
        LocalPower("incident", message, _CONTRACT)
        for message in ("AdoptContract", "RecordMeasures", "GiveNotice", "RecordComponents")
    ),
    LocalPower("incident", "LearnRoster", "names what executors verify; orders under another are refused"),
    LocalPower("incident", "PlantCanaries", "makes accounts of nobody; in the ledger"),
    *(
        LocalPower(name, message, _SEALED)
        for name in ("directory", "auth", "keyring", "store", "queue", "ledger", "incident")
        for message in ("BeginBackup", "EscrowKeys")
    ),
    *(
        LocalPower("ledger", message, _LOG)
        for message in (
            "RecordDrill", "RecordCensus", "RecordOblivion", "RecordExport", "RecordUndelete", "RecordBackup",
            "RecordEscrow", "RecordRestore", "RecordImport", "RecordStandby",
        )
    ),
)  # fmt: skip

NOT_REFUSABLE: tuple[str, ...] = (
    "root of this host reads every process and every file, and replaces this program: no order binds root",
    "the installation's files (`tenants/ID.toml` with its pinned keys, `custody/`): whoever writes them is root, or "
    "the user who runs the cells",
    "`bulkhead restore` and `standby promote` make a cell where none runs, with both recovery keys: they verify "
    "`restore-cell` and `promote-standby` themselves, which binds whoever runs them unchanged; `import cell` makes one "
    "from an export, with the same keys, and asks for no order",
    "stopping a cell, or disabling its tenant",
)
