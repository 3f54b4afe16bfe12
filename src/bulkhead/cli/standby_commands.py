"""The rows of `standby ...` in COMMANDS. Standard library only."""

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.tree import LIVE, ORDER, ROSTER, TENANT, Command, option

_FROM = option("--from", "DIR", "The place that the primary ships to.", dest="source", required=True)
_KEY = option("--key", "FILE", "The standby's key.", required=True)
_IDENTITY = option("--identity", "FILE", "This side's key of the link, by `standby link-key`.", default="")
_PEER = option("--peer", "FILE", "The other side's certificate, as `standby link-key` printed it there.", default="")

STANDBY_COMMANDS = (
    Command(
        ("standby", "key"), "Make the key of a tenant's standby, and print what the primary's settings need.",
        "bulkhead.cli.standby:key",
        (TENANT, option("--out", "FILE", "Where to; it stays at the standby.", required=True)),
        in_installation=False,
    ),
    Command(
        ("standby", "link-key"), "Make one side's key of the link, and print the certificate that the other side pins.",
        "bulkhead.cli.standby_link:link_key",
        (TENANT, option("--out", "FILE", "Where to; it stays at this side.", required=True)),
        in_installation=False,
        text="Once at the primary and once at the standby. No authority and no name is in it, and it never ends.",
    ),
    Command(
        ("standby", "serve"), "Receive what a primary ships over the network into a place. Runs until ended.",
        "bulkhead.cli.standby_link:serve",
        (
            TENANT,
            option("--at", "ADDRESS:PORT", "Where to listen.", required=True),
            option("--place", "DIR", "The place, from which `standby follow` takes it.", required=True),
            _IDENTITY, _PEER,
            option("--room", "GIB", "GiB that may lie in the place (default: 64); a standby without a standby key "
                   "keeps all of it there.", default="64"),
        ),
        in_installation=False,
        text="Has no key of the standby and opens nothing. Let it run on after a promotion: an old primary learns of "
        "it here.",
    ),
    Command(
        ("standby", "ship"), "Ship a running cell's changes to a standby, and bring its leases back. Runs until ended.",
        "bulkhead.cli.standby_ship:ship",
        (
            TENANT,
            option("--to", "WHERE", "The standby's receiver, `tls://HOST:PORT`, or its place, a directory mounted "
                   "here.", required=True),
            _IDENTITY, _PEER,
        ),
        exits=LIVE,
        text="Carries sealed pieces and opens none. Where it is away longer than `standby.lease_seconds`, the cell "
        "answers no change. docs/standby.md has the set-up.",
    ),
    Command(
        ("standby", "hand-over"), "Have a cell answer no change any more, so that its standby takes over with no loss.",
        "bulkhead.cli.standby_ship:hand_over", (TENANT,), exits=LIVE,
    ),
    Command(
        ("standby", "follow"), "Keep a standby: apply what is shipped, and grant leases. Runs until ended.",
        "bulkhead.cli.standby:follow", (TENANT, _FROM, _KEY), exits=(ExitCode.INTEGRITY,),
    ),
    Command(
        ("standby", "promote"), "Make a standby the cell, with both recovery keys, once its primary answers nothing.",
        "bulkhead.cli.standby_promote:promote",
        (
            TENANT, _FROM, _KEY,
            option("--partner-key", "FILE", "The partner's recovery key.", required=True),
            option("--operator-key", "FILE", "The operator's recovery key.", required=True),
            option("--address", "IP", "The address of its listeners here (default: the one it had).", default=""),
            ORDER, ROSTER,
        ),
        exits=(ExitCode.INTEGRITY, ExitCode.REFUSED),
        json_keys={
            "tenant": "the tenant's id",
            "term": "the term under which it answers: leases and streams of an older one count for nothing",
            "handed_over": "whether the primary had handed over: then nothing is lost",
            "waited": "seconds until every lease that was granted had surely ended",
            "applied": "seconds for what lay there and was not applied yet",
            "seconds": "how long it took in all",
            "mark": "ms since 1970: what the primary answered until then is here; later changes may be missing",
            "accounts": "accounts",
            "entries": "ledger entries after the oldest stream's last change, whose acts were done again",
            "statuses": "accounts that were given the status they came to since",
            "must_reset": "accounts that must set a new password",
            "app_passwords": "app passwords that are revoked",
            "halves_apart": "credentials whose halves did not agree",
            "queued": "messages that wait to be sent",
        },
        text="End `standby follow` first. Waits until the last lease that was granted has ended, unless the primary "
        "handed over. Cut anywhere, the same command goes on. docs/standby.md has the steps.",
    ),
    Command(
        ("standby", "status"), "Say how far each holder's stream is behind; at the primary or at the standby.",
        "bulkhead.cli.standby:status", (TENANT,), exits=(ExitCode.FINDING, *LIVE),
        json_keys={
            "tenant": "the tenant's id",
            "streams": "one object a holder",
            "streams[].compartment": "the holder",
            "streams[].stream": "the stream's name; empty: nothing is shipped",
            "streams[].behind": "seconds: age of the oldest change that the standby has not; at the standby, of what "
            "it has",
            "streams[].octets": "octets that the standby has not",
            "streams[].lease": "seconds that the lease still lasts",
            "streams[].note": "what is wrong, in words; empty: nothing",
            "streams[].mode": "`off`, `async`, `sync`; at the standby `standby`",
        },
        text="Exits with 1 where a holder ships nothing.",
    ),
)  # fmt: skip
