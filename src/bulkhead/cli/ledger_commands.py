"""The rows of `ledger TENANT ...` in COMMANDS. Standard library only.

With --key, TENANT is the directory of an export (or a proof's file), and nothing of an installation is read: these
commands run at the partner, with the partner's own key material. `ledger verify DIR` is taken as `ledger DIR verify`.
"""

from collections.abc import Mapping

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, Command, option, positional

_ENDS = (*LIVE, ExitCode.INTEGRITY)
_FOUND = (ExitCode.FINDING, *LIVE, ExitCode.INTEGRITY)
_KEY = option(
    "--key", "KEY", "The log's key, `name+keyid+base64` or a file with it: TENANT is then an export's directory.",
    default="",
)  # fmt: skip
_WITNESS = option("--witness", "KEY", "The witness's public key, or a file: its line must be there.", default="")
_ALARM: Mapping[str, str] = {
    "alarm": "`fork`, `rollback`, `withheld`, `damaged`, `unknown-signer`, `stale` or `gap`; null where all is well",
    "problem": "what is wrong, with the file's name; null",
}
_TREE: Mapping[str, str] = {
    "tenant": "the tenant's id, or the export's directory",
    "origin": "the log's name",
    "size": "entries verified",
    "root": "the tree's root, hex",
}
_WITNESS_OPTIONS = (
    _KEY,
    option("--witness-key", "FILE", "The witness's private key.", required=True),
    option("--state", "DIR", "Where it remembers what it cosigned (default: FILE.state).", default=""),
    option("--to", "OUT", "Write the cosigned checkpoint there.", default=""),
    option("--late", "MINUTES", "No entry newer than this is the alarm `stale` (default 30; 0: never).", type=int,
           default=30),
)  # fmt: skip
_WITNESS_KEYS: Mapping[str, str] = {
    **_TREE, **_ALARM,
    "alarms": "every alarm of this look, one object each",
    "alarms[].alarm": "its name",
    "alarms[].problem": "what was seen",
    "cosigned": "POSIX seconds of the cosignature; null where none was made",
    "before": "entries that were cosigned before; 0 for none",
    "newest": "when the newest entry was true, ms since 1970; 0 without one",
    "carried": "whether the live log carries the cosignature",
}  # fmt: skip

LEDGER_COMMANDS = (
    Command(
        ("ledger", "list"), "List entries of the log.", "bulkhead.cli.ledger:list_entries",
        (
            option("--first", "N", "From this entry on.", type=int, default=0),
            option("--limit", "N", "At most so many (default 1000; 0: all).", type=int, default=1000),
        ),
        tenant_between=True, exits=_ENDS,
        json_keys={
            "tenant": "the tenant's id",
            "size": "entries in the log",
            "entries": "one object an entry",
            "entries[].index": "its place, from 0",
            "entries[].time": "when it was true, ms since 1970",
            "entries[].kind": "what happened",
            "entries[].actor": "who did it",
            "entries[].subjects": "accounts as HMACs, hex, a list",
            "entries[].details": "details as JSON text",
        },
    ),
    Command(
        ("ledger", "export"), "Copy the log into a directory, as C2SP tlog-tiles; what is there already stays.",
        "bulkhead.cli.ledger_export:export",
        (positional("to", "The directory: missing, empty, or an earlier export.", metavar="DIR"),),
        tenant_between=True, exits=_ENDS,
        json_keys={
            **_TREE, "key": "the log's public key, `name+keyid+base64`: give it to the partner by another way, once",
            "before": "entries that were there before", "files": "files written", "octets": "their octets",
            "cosigned": "whether the checkpoint carries the witness's line",
        },
        text="Reads only what is new, and compares it with the signed root before the new checkpoint takes its name; "
        "the directory is whole at every moment. The partner checks it without an installation: "
        "`bulkhead ledger verify DIR --key KEY`.",
    ),
    Command(
        ("ledger", "verify"), "Check that every entry is in the tree that the ledger signed.",
        "bulkhead.cli.ledger:verify",
        (
            _KEY, _WITNESS,
            option("--since", "FILE", "A checkpoint kept from earlier: must be a prefix.", default=""),
            option("--previous", "FILE", "The same.", dest="since"),
            option("--keep", "FILE", "Write the verified checkpoint there, for the next --since.", default=""),
            option("--processes", "N", "How many check an export (default: one a processor).", type=int, default=0),
        ),
        tenant_between=True, exits=_ENDS,
        json_keys={
            **_TREE, **_ALARM,
            "extends": "size of the earlier checkpoint that it extends, or null",
            "cosigned": "POSIX seconds of --witness's cosignature, or null",
        },
        text="Live: reads every entry, hashes it, and compares with the checkpoint signed under `pinned.ledger_key`. "
        "With --key: checks every byte of an export offline. Exits with 5 and the alarm's name where something does "
        "not match.",
    ),
    Command(
        ("ledger", "prove"), "Prove that one entry is in the log, or that the log extends a checkpoint.",
        "bulkhead.cli.ledger:prove",
        (
            positional("index", "The entry's place, from 0.", type=int, nargs="?"),
            _KEY,
            option("--from", "FILE", "Instead of an entry: an earlier checkpoint that the log extends.",
                   dest="since", default=""),
            option("--to", "FILE", "Write the proof there, as C2SP tlog-proof or as tlog-witness' add-checkpoint.",
                   default=""),
        ),
        tenant_between=True, exits=_ENDS,
        json_keys={
            "tenant": "the tenant's id, or the export's directory",
            "index": "the entry's place; null for a proof of consistency",
            "size": "size of the tree of the checkpoint",
            "old": "size of the earlier checkpoint; null for an entry",
            "entry": "the entry's bytes, text; null for a proof of consistency",
            "leaf": "its leaf hash, hex; null for a proof of consistency",
            "hashes": "the proof (RFC 9162 sections 2.1.3 and 2.1.4), hex, a list",
            "checkpoint": "the signed checkpoint",
        },
    ),
    Command(
        ("ledger", "check"), "Check a proof, or a page of entries from the API.", "bulkhead.cli.ledger_offline:check",
        (
            option("--key", "KEY", "The log's key; TENANT is the proof's file.", required=True),
            option("--since", "FILE", "For a proof of consistency: the earlier checkpoint.", default=""),
            _WITNESS,
        ),
        tenant_between=True, in_installation=False, exits=(ExitCode.INTEGRITY,),
        json_keys={
            "proves": "`inclusion`, `consistency`, or `entries` of an answer to `GET /v1/ledger/entries`",
            "next": "index behind the last of `entries`, or null",
            "origin": "the log's name", "size": "size of the tree",
            "index": "the entry's place, or null", "entry": "the entry's text, or null",
            "old": "size of the earlier tree, or null", "cosigned": "POSIX seconds of --witness's line, or null",
        },
    ),
    Command(
        ("ledger", "cosign"), "Sign the newest checkpoint as its witness, if it extends the last that was signed.",
        "bulkhead.cli.ledger_watch:cosign", _WITNESS_OPTIONS, tenant_between=True, exits=_FOUND,
        json_keys=_WITNESS_KEYS,
        text="Of a live cell (over the road), or with --key of an export. What was cosigned is remembered durably "
        "before the line is given out; a checkpoint that contradicts it is kept as evidence and never signed. The live "
        "log takes the line at once; for an export give OUT to `ledger TENANT attach`.",
    ),
    Command(
        ("ledger", "watch"), "Look again and again: verify what is new, cosign it, raise alarms.",
        "bulkhead.cli.ledger_watch:watch",
        (*_WITNESS_OPTIONS,
         option("--every", "SECONDS", "How often (default 0: once, for a timer).", type=int, default=0)),
        tenant_between=True, exits=_FOUND, json_keys=_WITNESS_KEYS,
        text="One line a look. `stale` and `gap` are told and watching goes on; what the bytes themselves prove ends "
        "it with 5. A cell that does not answer is `stale` when it stays away. docs/ledger.md has the alarms.",
    ),
    Command(
        ("ledger", "attach"), "Hand a cosigned checkpoint to the live log, which carries it from then on.",
        "bulkhead.cli.ledger_watch:attach",
        (positional("note", "What `cosign --to` wrote.", metavar="FILE"),),
        tenant_between=True, exits=_ENDS,
        json_keys={"tenant": "the tenant's id", "size": "entries that the witness has seen",
                   "cosigned": "when it signed, POSIX seconds"},
        text="Taken only when the witness that `pinned.ledger_witness` names has signed it, and the log's own entries "
        "lead to it.",
    ),
    Command(
        ("ledger", "witness-key"), "Make the key of the tenant's witness; at the partner.",
        "bulkhead.cli.ledger_keys:witness_key",
        (
            option("--to", "FILE", "The new private key; only its owner may read it.", required=True),
            option("--name", "NAME", "The witness's name in every cosignature (default: witness/TENANT).", default=""),
        ),
        tenant_between=True, in_installation=False,
        text="Prints the public key, which goes into the tenant's file as `pinned.ledger_witness`.",
    ),
    Command(
        ("ledger", "key"), "Print the log's public key, which the partner gives as --key.",
        "bulkhead.cli.ledger_keys:log_key_text", tenant_between=True,
        text="From the tenant's file; nothing has to run. The partner must get it by a way of its own, once.",
    ),
    Command(
        ("ledger", "subject-key"), "Give out the key by which the log names accounts; for the partner.",
        "bulkhead.cli.ledger_keys:subject_key",
        (option("--to", "FILE", "The new file; only its owner may read it.", required=True),),
        tenant_between=True, exits=(ExitCode.INTEGRITY,),
        text="Opens the ledger's key file with its root key, offline; run where the cell's files are, as their owner.",
    ),
    Command(
        ("ledger", "subject"), "Name accounts as the log does: what to look for in an export.",
        "bulkhead.cli.ledger_keys:subject",
        (
            positional("account", "Account ids, `acc_...`.", nargs="+"),
            option("--subject-key", "FILE", "What `ledger TENANT subject-key` wrote.", required=True),
        ),
        tenant_between=True, in_installation=False, exits=(ExitCode.INTEGRITY,),
        json_keys={"subjects": "one object an account", "subjects[].account": "its id",
                   "subjects[].subject": "as the log names it, hex"},
    ),
)  # fmt: skip
