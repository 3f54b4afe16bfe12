"""Reading mail, measured side by side: Dovecot mdbox and one Bulkhead cell, in turns, on the same machine, over TLS.

Each is filled with the same messages (Bulkhead over SMTP, Dovecot over LMTP), then does every row of imap_rows and
idles. What counts is CPU of the server's process trees, until it rests again, and wall time as a ratio.

Run: make bench-imap [SMALL=10000] [BIG=100000] [IDLE=5000] [REPEATS=3]        figures: docs/performance.md
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from bench.bulkhead_cell import BulkheadCell
from bench.figures import open_files_allowed, wait_for_rest
from bench.imap_idle import idle
from bench.imap_rows import Row, appends, listing, logins, one_by_one, pop3, searches
from bench.machine import describe
from bench.mail_mix import MailMix
from bench.postfix_dovecot import PostfixDovecot, missing
from bench.server import DOMAIN, USERS, Server, folder, loopback_network
from bench.smtp_load import SmtpLoad

SCHEMA = "bulkhead-bench/imap/1"
UID_BASE = 710_000
LOGINS = 50  # users of a login row
POP3_MESSAGES = 1000
FILL_CONNECTIONS = 16  # mx takes 10,000 messages on one
READERS, BIG_READER, POP3_READERS = USERS[:8], USERS[8], USERS[9:17]
STRONG, WEAK = USERS[100 : 100 + LOGINS], USERS[150 : 150 + LOGINS]
IDLERS = USERS
NEEDLE_EVERY = 100  # one message in so many has the word that the BODY search looks for


def fill(server: Server, port: int, hello: bytes, user: str, mix: MailMix, count: int) -> None:
    """Deliver `count` messages to one user."""

    def message(number: int) -> bytes:
        text = mix.message(number)
        return text + b"zymurgy\r\n" if number % NEEDLE_EVERY == 0 else text

    load = SmtpLoad(message, lambda _: f"{user}@{DOMAIN}", range(count), hello)
    uvloop.run(load.run(server.address, port, FILL_CONNECTIONS))
    if load.refusals:
        raise OSError(f"{server.name} refused {len(load.refusals)} messages, one with: {load.refusals[0]}")


class Bench:
    """Both servers and what was measured."""

    def __init__(self, options: argparse.Namespace, servers: list[tuple[Server, int, bytes]]) -> None:
        self.options, self.servers = options, servers
        self.rows: list[dict[str, Any]] = []
        self.idle: list[dict[str, Any]] = []

    def keep(self, server: Server, repeat: int, rows: Iterator[Row]) -> None:
        """Measure rows as they come, and say them."""
        for row in rows:
            entry = {"server": server.name, "row": row.name, "unit": row.unit, "repeat": repeat, **asdict(row.figures)}
            self.rows.append(entry)
            say(f"{server.name}: {row.name}: {entry['wall_ms']:g} ms, CPU {entry['cpu_ms']:g} ms")

    def run_reading(self, repeat: int) -> None:
        """Every row that needs a mailbox of `--small` messages."""
        mix, plain = MailMix(), MailMix(shares=(1, 0, 0))
        small, reader, popper = self.options.small, READERS[repeat], POP3_READERS[repeat]
        for server, port, hello in self.servers:
            fill(server, port, hello, reader, mix, small)
            fill(server, port, hello, popper, plain, POP3_MESSAGES)
            wait_for_rest(server)
            label = f"{small // 1000}k"
            self.keep(server, repeat, listing(server, reader, label, small))
            self.keep(server, repeat, searches(server, reader, small))
            self.keep(server, repeat, one_by_one(server, reader, small))
            self.keep(server, repeat, appends(server, reader, mix))
            self.keep(server, repeat, pop3(server, popper, POP3_MESSAGES))

    def run_logins(self) -> None:
        """Logins: Dovecot with the same Argon2id, and with its default hash."""
        for server, _, _ in self.servers:
            self.keep(server, 0, logins(server, STRONG, ""))
            self.keep(server, 0, logins(server, WEAK, " (Dovecot: BLF-CRYPT, its default)"))

    def run_big(self) -> None:
        """The listing of a big mailbox of short messages."""
        mix = MailMix(shares=(1, 0, 0))
        for server, port, hello in self.servers:
            fill(server, port, hello, BIG_READER, mix, self.options.big)
            wait_for_rest(server)
            self.keep(server, 0, listing(server, BIG_READER, f"{self.options.big // 1000}k", self.options.big))

    def run_idle(self) -> None:
        """Many idle sessions."""
        for server, port, hello in self.servers:
            figures = asdict(uvloop.run(idle(server, IDLERS, self.options.idle, port, hello)))
            self.idle.append({"server": server.name, **figures})
            say(f"{server.name}: {json.dumps(figures)}")


def medians(rows: list[dict[str, Any]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Row -> server -> median CPU and wall, microseconds per unit."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["row"], {}).setdefault(row["server"], []).append(row)
    return {
        name: {
            server: (
                round(statistics.median(run["cpu_ms"] / run["units"] for run in runs) * 1000, 2),
                round(statistics.median(run["wall_ms"] / run["units"] for run in runs) * 1000, 2),
            )
            for server, runs in by_server.items()
        }
        for name, by_server in found.items()
    }


def table(rows: dict[str, dict[str, tuple[float, float]]], idles: list[dict[str, Any]]) -> str:
    """Markdown: CPU and wall per unit of both, and how far Bulkhead is ahead (above 1)."""
    lines = ["| per message, command or login | Dovecot CPU, us | Bulkhead CPU, us | ahead, CPU | Dovecot wall, us "
             "| Bulkhead wall, us | ahead, wall |", "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, servers in rows.items():
        if len(servers) == 2:
            peer, own = servers[PostfixDovecot.name], servers[BulkheadCell.name]
            cpu, wall = peer[0] / max(own[0], 0.01), peer[1] / max(own[1], 0.01)
            lines.append(
                f"| {name} | {peer[0]:g} | {own[0]:g} | **{cpu:.2f}** | {peer[1]:g} | {own[1]:g} | {wall:.2f} |"
            )
    for one in idles:
        lines.append(
            f"\nIDLE, {one['connections']} connections, {one['server']}: {one['bytes_each'] / 1024:.1f} KiB each; told"
            f" after p50 {one['latency_p50_ms']} ms, p99 {one['latency_p99_ms']} ms; {one['notified']} of"
            f" {one['expected']}"
        )
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress."""
    print(f"bench-imap: {text}", file=sys.stderr, flush=True)


def start(options: argparse.Namespace, directory: Path, stack: ExitStack) -> list[tuple[Server, int, bytes]]:
    """The servers, running, each with the port and greeting that fill it."""
    network, servers = loopback_network(os.getpid()), list[tuple[Server, int, bytes]]()
    if "peer" in options.servers:
        say("setting up Dovecot")
        schemes = {user: "BLF-CRYPT" if user in WEAK else "ARGON2ID" for user in USERS}
        peer = PostfixDovecot(folder(directory, "peer"), f"{network}.2", schemes)
        stack.callback(peer.stop)
        servers.append((peer, peer.lmtp, b"LHLO"))
    if "bulkhead" in options.servers:
        say(f"setting up a Bulkhead cell with {len(USERS)} accounts")
        own = BulkheadCell(directory / "cell", f"{network}.1", UID_BASE, connections=max(1024, options.idle + 200))
        stack.callback(own.stop)
        servers.append((own, own.smtp, b"EHLO"))
    return servers


def main() -> None:
    """Measure, print the table, write the raw figures."""
    parser = argparse.ArgumentParser(prog="bench-imap")
    parser.add_argument("--small", type=int, default=10_000, help="messages of a mailbox (default: 10000)")
    parser.add_argument("--big", type=int, default=100_000, help="messages of the big mailbox, 0: none")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections, 0: none")
    parser.add_argument("--repeats", type=int, default=3, help="mailboxes of --small, at most 8")
    parser.add_argument("--servers", nargs="+", choices=("peer", "bulkhead"), default=["peer", "bulkhead"])
    parser.add_argument("--directory", default=None, help="where the servers keep their mail (default: /tmp)")
    parser.add_argument("--output", type=Path, default=None, help="a file for the raw figures, JSON")
    options = parser.parse_args()
    if "peer" in options.servers and (reason := missing()):
        sys.exit(f"bench-imap: {reason}")
    if open_files_allowed(options.idle + 1000) < options.idle + 200:
        sys.exit("bench-imap: too few open files allowed; ask for fewer with --idle")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        machine = describe(directory)
        bench = Bench(options, start(options, directory, stack))
        about = {server.name: server.about() for server, _, _ in bench.servers}
        if options.repeats:
            bench.run_logins()
        for repeat in range(options.repeats):
            bench.run_reading(repeat)
        if options.big:
            bench.run_big()
        if options.idle:
            bench.run_idle()
    by_row = medians(bench.rows)
    print(table(by_row, bench.idle))
    if options.output:
        parameters = {"small": options.small, "big": options.big, "idle": options.idle, "repeats": options.repeats}
        result = {
            "schema": SCHEMA, "taken": time.strftime("%Y-%m-%d"), "machine": machine, "servers": about,
            "parameters": parameters, "rows": bench.rows, "idle": bench.idle, "medians": by_row,
        }  # fmt: skip
        options.output.write_text(json.dumps(result, indent=1) + "\n")
        say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
