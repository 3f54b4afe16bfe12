"""Delivery, measured side by side: Postfix + Dovecot mdbox and one Bulkhead cell, in turns, on the same machine.

Each takes the same messages over the same number of plain SMTP connections, and is done when an IMAP client sees every
message in its mailbox. What counts is CPU per message (user and system time of the server's process trees, kernel
threads not included): both servers and the client share the machine, so wall time holds only as a ratio.

Run: make bench-deliver [MESSAGES=20000] [REPEATS=3]        figures: docs/performance.md
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop
from bench.bulkhead_cell import BulkheadCell
from bench.imap_watch import Inboxes
from bench.machine import describe
from bench.mail_mix import MailMix
from bench.postfix_dovecot import PostfixDovecot, missing
from bench.process_cpu import by_name, machine_busy, total, tree_usage
from bench.server import DOMAIN, PASSWORD, USERS, Server, address_of, folder, loopback_network
from bench.smtp_load import SmtpLoad

SCHEMA = "bulkhead-bench/deliver/1"
UID_BASE = 700_000
WARM_UP = 200  # messages before the first measurement


async def measure(server: Server, mix: MailMix, numbers: range, connections: int) -> dict[str, Any]:
    """One repetition on one server."""
    inboxes = await Inboxes.open(server.address, server.imaps, [(f"{user}@{DOMAIN}", PASSWORD) for user in USERS])
    expected = await inboxes.counts()
    for number in numbers:
        expected[number % len(USERS)] += 1
    load = SmtpLoad(mix.message, address_of, numbers)
    names = server.names()
    before = {root: tree_usage(root) for root in server.roots()}
    busy, client, begun = machine_busy(), time.process_time(), time.perf_counter()
    await load.run(server.address, server.smtp, connections)
    accepted = time.perf_counter() - begun
    if load.refusals:
        raise OSError(f"{server.name} refused {len(load.refusals)} messages, one with: {load.refusals[0]}")
    await inboxes.wait(expected)
    visible = time.perf_counter() - begun
    after = {root: tree_usage(root) for root in server.roots()}
    busy, client = machine_busy() - busy, time.process_time() - client
    await inboxes.close()
    count = len(numbers)
    cpu = sum(total(after[root]) - total(before[root]) for root in before)
    parts: dict[str, float] = {}
    for root, first in before.items():
        for name, seconds in by_name(first, after[root], names).items():
            parts[name] = parts.get(name, 0.0) + seconds
    ordered = sorted(load.seconds)
    return {
        "server": server.name,
        "messages": count,
        "cpu_ms_per_message": round(cpu / count * 1000, 4),
        "cpu_ms_per_message_by_process": {name: round(used / count * 1000, 4) for name, used in parts.items()},
        "accepted_per_second": round(count / accepted, 1),
        "visible_per_second": round(count / visible, 1),
        "latency_p50_ms": round(ordered[count // 2] * 1000, 2),
        "latency_p99_ms": round(ordered[count * 99 // 100] * 1000, 2),
        "client_cpu_ms_per_message": round(client / count * 1000, 4),
        "machine_cpu_s_of_others": round(busy - client - cpu, 2),
    }


def medians(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per server, the median of every figure."""
    found: dict[str, dict[str, float]] = {}
    for server in dict.fromkeys(run["server"] for run in runs):
        own = [run for run in runs if run["server"] == server]
        figures = [name for name, value in own[0].items() if isinstance(value, float)]
        found[server] = {name: statistics.median(run[name] for run in own) for name in figures}
    return found


def ratios(by_server: dict[str, dict[str, float]]) -> dict[str, float]:
    """Peer to Bulkhead: above 1, Bulkhead is ahead."""
    if len(by_server) < 2:
        return {}
    peer, own = by_server[PostfixDovecot.name], by_server[BulkheadCell.name]
    return {
        "cpu: peer / Bulkhead": round(peer["cpu_ms_per_message"] / own["cpu_ms_per_message"], 2),
        "rate until visible: Bulkhead / peer": round(own["visible_per_second"] / peer["visible_per_second"], 2),
        "latency p50: peer / Bulkhead": round(peer["latency_p50_ms"] / own["latency_p50_ms"], 2),
    }


def table(by_server: dict[str, dict[str, float]]) -> str:
    """The medians as Markdown."""
    rows = {
        "server CPU per message, ms": "cpu_ms_per_message",
        "messages a second, until visible in the mailbox": "visible_per_second",
        "messages a second, until accepted": "accepted_per_second",
        "latency MAIL to 250, p50, ms": "latency_p50_ms",
        "latency MAIL to 250, p99, ms": "latency_p99_ms",
    }
    lines = [f"| median | {' | '.join(by_server)} |", f"|---|{'---:|' * len(by_server)}"]
    for title, name in rows.items():
        lines.append(f"| {title} | {' | '.join(f'{figures[name]:g}' for figures in by_server.values())} |")
    return "\n".join(lines)


def start(options: argparse.Namespace, directory: Path, stack: ExitStack) -> list[Server]:
    """Both servers, running."""
    network, servers = loopback_network(os.getpid()), list[Server]()
    if "peer" in options.servers:
        say("setting up Postfix and Dovecot")
        servers.append(PostfixDovecot(folder(directory, "peer"), f"{network}.2"))
        stack.callback(servers[-1].stop)
    if "bulkhead" in options.servers:
        say(f"setting up a Bulkhead cell with {len(USERS)} accounts")
        servers.append(BulkheadCell(directory / "cell", f"{network}.1", UID_BASE, workers=options.workers))
        stack.callback(servers[-1].stop)
    return servers


def say(text: str) -> None:
    """Progress."""
    print(f"bench-deliver: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print the table, write the raw figures."""
    parser = argparse.ArgumentParser(prog="bench-deliver")
    parser.add_argument("--messages", type=int, default=3000, help="of one repetition (default: 3000)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0, help="processes of mx (default: one a processor)")
    parser.add_argument("--servers", nargs="+", choices=("peer", "bulkhead"), default=["peer", "bulkhead"])
    parser.add_argument("--directory", default=None, help="where the servers keep their mail (default: /tmp)")
    parser.add_argument("--output", type=Path, default=None, help="a file for the raw figures, JSON")
    options = parser.parse_args()
    if "peer" in options.servers and (reason := missing()):
        sys.exit(f"bench-deliver: {reason}")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        machine = describe(directory)
        servers = start(options, directory, stack)
        about = {server.name: server.about() for server in servers}
        mix, runs, first = MailMix(), list[dict[str, Any]](), 0
        for server in servers:
            uvloop.run(measure(server, mix, range(WARM_UP), options.connections))
        for repeat in range(options.repeats):
            numbers = range(first, first := first + options.messages)
            for server in servers:
                runs.append(uvloop.run(measure(server, mix, numbers, options.connections)))
                say(f"{repeat + 1}/{options.repeats} {json.dumps(runs[-1])}")
    by_server = medians(runs)
    result = {
        "schema": SCHEMA,
        "taken": time.strftime("%Y-%m-%d"),
        "machine": machine,
        "servers": about,
        "parameters": {"messages": options.messages, "repeats": options.repeats, "connections": options.connections,
                       "mx_workers": options.workers,
                       "users": len(USERS), "mix": "70 % 4 KB, 25 % 30 KB, 5 % 300 KB", "tls": False},
        "runs": runs,
        "medians": by_server,
        "ratios": ratios(by_server),
    }  # fmt: skip
    print(table(by_server))
    for title, ratio in result["ratios"].items():
        print(f"{title}: {ratio}")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
        say(f"wrote {options.output}")


if __name__ == "__main__":
    main()
