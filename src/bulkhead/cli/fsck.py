"""`fsck`: every holder checks what it keeps, while it goes on serving."""

import argparse
from typing import Any

from bulkhead.boundary.messages.to_directory import CheckDirectory
from bulkhead.boundary.messages.to_incident import CheckIncident
from bulkhead.boundary.messages.to_ledger import CheckLedger
from bulkhead.boundary.messages.to_queue import CheckQueue
from bulkhead.boundary.messages.to_store import CheckStore
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.many import Answer, Asked, ask_all, chosen_tenants
from bulkhead.cli.output import print_json, print_table, printable
from bulkhead.cli.records import check_keyring, open_auth
from bulkhead.cli.road import wait_for

CHECK_SECONDS = 3600.0
_EXAMINED = ("messages", "records", "entries", "accounts")  # the number that a report leads with


def fsck(options: argparse.Namespace) -> int:
    """Print what each found; 1 on findings, 5 where bytes failed their proof, 3 or 4 where one could not be asked."""
    installation, tenants = chosen_tenants(options)
    requests: list[tuple[str, Asked]] = [
        ("directory", CheckDirectory()), ("auth", open_auth), ("keyring", check_keyring),
        ("store", CheckStore(options.deep)), ("queue", CheckQueue()), ("ledger", CheckLedger()),
        ("incident", CheckIncident()),
    ]  # fmt: skip
    answers = wait_for(ask_all(installation, tenants, requests, CHECK_SECONDS))
    rows = [_row(answer) for answer in answers]
    codes = [_code(answer) for answer in answers]
    if options.json:
        print_json(options.command, {"sound": not any(codes), "checks": rows})
    else:
        _print(rows)
    return max(codes, default=ExitCode.OK)


def _row(answer: Answer) -> dict[str, Any]:
    reply = answer.reply
    examined = next((getattr(reply, name) for name in _EXAMINED if hasattr(reply, name)), 0)
    return {
        "tenant": answer.tenant, "compartment": answer.compartment, "examined": examined,
        "problems": list(reply.problems) if reply else [], "error": answer.error.public if answer.error else None,
    }  # fmt: skip


def _code(answer: Answer) -> ExitCode:
    if answer.error is not None:
        return exit_code_of(answer.error)
    return ExitCode.FINDING if answer.reply.problems else ExitCode.OK


def _print(rows: list[dict[str, Any]]) -> None:
    print_table(
        ("TENANT", "COMPARTMENT", "EXAMINED", "FOUND"),
        [(row["tenant"], row["compartment"], row["examined"], _found(row)) for row in rows],
    )
    for row in rows:
        for problem in row["problems"]:
            print(f"{row['tenant']}/{row['compartment']}: {printable(problem)}")


def _found(row: dict[str, Any]) -> str:
    if row["error"] is not None:
        return f"not checked: {row['error']}"
    return f"{len(row['problems'])} problems" if row["problems"] else "sound"
