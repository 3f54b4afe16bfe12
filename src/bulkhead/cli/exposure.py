"""`exposure`: a ceiling of what a thief of one compartment's files would hold, counted where it lies, now."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from bulkhead.boundary.messages.to_directory import AccountCounts, CountAccounts
from bulkhead.boundary.messages.to_keyring import CountKeyring, KeyringCounts
from bulkhead.boundary.messages.to_queue import CountQueue, QueueCounts
from bulkhead.boundary.messages.to_store import CountStore, StoreCounts
from bulkhead.cli.account_steps import STATUS_NAMES
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.many import Answer, Asked, ask_all, chosen_tenants
from bulkhead.cli.output import print_json, print_table, say, time_text
from bulkhead.cli.records import Opened, open_auth
from bulkhead.cli.road import wait_for
from bulkhead.records.credential import State

COUNT_SECONDS = 300.0
STATE_NAMES = {state.value: state.name.lower().replace("_", " ") for state in State}

ADDRESS_CLEAR = "none: in clear to whoever reads directory's files"
ADDRESS_GONE = "HMAC under directory's key: shows an address only to who guesses it and has the key"
VERIFIER_AUTH = "AES-256-GCM-SIV; opened, it holds a salt and nothing to test a guess against without keyring"
VERIFIER_KEYRING = "AES-256-GCM-SIV; opened, it holds a keyed tag and no salt; no guess without auth"
MAILBOX_KEY = "AES-256-GCM-SIV; opened, still under the password's wrap key, or under both recovery keys"
MAIL = "AES-256-GCM, each message under its own key; store holds none of them"
QUEUED_ENVELOPE = "none: outbound envelopes in clear to whoever reads queue's files"
QUEUED_MAIL = "AES-256-GCM; its key is sealed to the queue key, which keyring holds"


def exposure(options: argparse.Namespace) -> int:
    """Print the rows."""
    installation, tenants = chosen_tenants(options)
    requests: list[tuple[str, Asked]] = [
        ("directory", CountAccounts()), ("auth", open_auth), ("keyring", CountKeyring()),
        ("store", CountStore()), ("queue", CountQueue()),
    ]  # fmt: skip
    as_of = int(time.time() * 1000)
    answers = wait_for(ask_all(installation, tenants, requests, COUNT_SECONDS))
    rows = [row for answer in answers if answer.reply is not None for row in rows_of(answer)]
    silent = [answer for answer in answers if answer.error is not None]
    if options.json:
        unanswered = [f"{answer.tenant}/{answer.compartment}" for answer in silent]
        print_json(options.command, {"as_of": as_of, "complete": not silent, "rows": rows, "unanswered": unanswered})
    else:
        head = ("TENANT", "ITEM", "STATUS", "COUNT", "HELD BY", "SCHEME", "PROTECTION")
        keys = ("tenant", "item", "status", "count", "held_by", "scheme", "protection")
        print_table(head, [tuple(row[key] for key in keys) for row in rows])
        print(f"as of {time_text(as_of)}; a ceiling: everything that a compartment holds, not what a thief has read")
    for answer in silent:
        say(f"not counted: {answer.tenant}/{answer.compartment}: {answer.error.public if answer.error else ''}")
    if silent and not rows and silent[0].error is not None:
        return exit_code_of(silent[0].error)
    return ExitCode.FINDING if silent else ExitCode.OK


def rows_of(answer: Answer) -> Iterator[dict[str, Any]]:
    """The rows that one compartment's counts make."""
    for item, status, scheme, count, protection in _of(answer.reply):
        yield {
            "tenant": answer.tenant, "item": item, "status": status, "scheme": scheme, "count": count,
            "held_by": answer.compartment, "protection": protection,
        }  # fmt: skip


def _of(reply: object) -> Iterator[tuple[str, str, str, int, str]]:
    match reply:
        case AccountCounts():
            for row in reply.rows:
                gone = STATUS_NAMES[row.status] == "purged"
                scheme, protection = ("tombstone", ADDRESS_GONE) if gone else ("clear", ADDRESS_CLEAR)
                yield "address", STATUS_NAMES[row.status], scheme, row.accounts, protection
        case Opened():
            for (_, scheme, state, version), count in sorted(reply.counts.items()):
                name = STATE_NAMES.get(state, "unreadable")
                yield "password verifier", name, f"{scheme} key {version}", count, VERIFIER_AUTH
        case KeyringCounts():
            key = f"key {reply.key_version}"
            yield "password verifier", "-", f"tight tag {key}", reply.credentials, VERIFIER_KEYRING
            yield "mailbox key", "-", f"X25519 seed {key}", reply.mailboxes, MAILBOX_KEY
        case StoreCounts():
            yield "stored mail", "-", "three sealed parts", reply.messages, MAIL
        case QueueCounts():
            yield "queued recipient", "-", "clear", reply.recipients, QUEUED_ENVELOPE
            yield "queued mail", "-", "two sealed parts", reply.messages, QUEUED_MAIL
        case _:
            raise ValueError(f"no exposure rows for {type(reply).__name__}")
