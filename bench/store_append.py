"""Appends through a real edge into a store of its own process: rate, CPU of the store, syncs per message.

    .venv/bin/python bench/store_append.py [--callers 16] [--messages 20000] [--bytes 4096] [--profile FILE]

The callers' process and the store's share a socketpair, as mx and store do. CPU is the store process's own user and
system time. The store lies in a fresh directory below --directory (default: the system's place for temporary files).
"""

import argparse
import asyncio
import cProfile
import os
import resource
import socket
import tempfile
import time
from pathlib import Path

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.identifiers import AccountId, EmailId, new_id
from bulkhead.store.disk import Disk
from bulkhead.store.process import open_store

STORE, MX, CLI = Channel("store", 0, 1), Channel("mx", 0, 1), Channel("cli", 0, 1)
ACCOUNTS = 50


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve(directory: str, mx: socket.socket, cli: socket.socket, control: int, profile: str) -> None:
    os.chdir(directory)
    exchange = Exchange(STORE, print)
    store = await open_store(exchange, Disk(), 1 << 26)
    exchange.attach(mx, MX, 1)
    exchange.attach(cli, CLI, 1)
    loop = asyncio.get_running_loop()
    profiler = cProfile.Profile() if profile else None
    while (order := await loop.run_in_executor(None, os.read, control, 1)) != b"q":
        if order == b"p" and profiler:
            profiler.enable()
        os.write(control, f"{cpu():20.6f}".encode())
    if profiler:
        profiler.disable()
        profiler.dump_stats(profile)
    await store.stop()


async def measure(options: argparse.Namespace, mx: socket.socket, cli: socket.socket, control: int) -> None:
    exchange = Exchange(MX, print)
    exchange.attach(mx, STORE, 1)
    operator = Exchange(CLI, print)
    operator.attach(cli, STORE, 1)
    accounts = [AccountId(new_id()) for _ in range(ACCOUNTS)]
    for account in accounts:
        await operator.to("store").call(to_store.OpenAccount(Stamp.fresh("bench"), account, 0))
    body = os.urandom(options.bytes)

    async def caller(count: int) -> None:
        store = exchange.to("store")
        for number in range(count):
            copy = to_store.Copy(
                accounts[number % ACCOUNTS], EmailId(new_id()), b"x" * 87, options.bytes, 600, 900,
                options.bytes - 1500, 1_700_000_000,
            )  # fmt: skip
            await store.call(to_store.DeliverMail(Stamp.fresh("bench"), (copy,)), body)

    async def clock() -> float:
        os.write(control, b"p")
        return float(await asyncio.get_running_loop().run_in_executor(None, os.read, control, 20))

    await asyncio.gather(*(caller(50) for _ in range(options.callers)))
    before, used = await operator.to("store").call(to_store.CountStore()), await clock()
    start = time.perf_counter()
    await asyncio.gather(*(caller(options.messages // options.callers) for _ in range(options.callers)))
    seconds = time.perf_counter() - start
    after, used = await operator.to("store").call(to_store.CountStore()), await clock() - used
    count = after.messages - before.messages
    print(f"appends              {count} of {options.bytes} bytes, {options.callers} callers")
    print(f"per second           {count / seconds:,.0f}")
    print(f"store CPU each       {used / count * 1e6:.0f} us")
    print(f"syncs per message    {(after.syncs - before.syncs) / count:.3f}")
    print(f"messages per commit  {count / (after.transactions - before.transactions):.1f}")
    os.write(control, b"q")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--directory", default=None)
    parser.add_argument("--profile", default="")
    options = parser.parse_args()
    ours, theirs = socket.socketpair(), socket.socketpair()
    control, far_control = socket.socketpair()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        child = os.fork()
        if not child:
            profile = str(Path(options.profile).resolve()) if options.profile else ""
            asyncio.run(serve(directory, ours[1], theirs[1], far_control.fileno(), profile))
            os._exit(0)
        asyncio.run(measure(options, ours[0], theirs[0], control.fileno()))
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
