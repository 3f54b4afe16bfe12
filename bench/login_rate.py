"""Logins a second through a real auth and a real keyring, each a process of its own, and the time of a revocation.

    .venv/bin/python -m bench.login_rate [--accounts 2000] [--seconds 4] [--at-once 64] [--sessions 16384] [--json FILE]

One process plays gates, store, ledger and command line; it shares the processors with the two. Argon2id is cheap here
(8 KiB, one pass) while accounts are made, and takes no part in what is measured: a login by app password has no hash,
nor has a cached one. `checked` is the answer to Authenticate; `with session` goes on to a session (of submit, which
store hears nothing of) and its end. Everything is on disk as always: --directory chooses where.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import resource
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from bench.machine import describe
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.auth import create as create_auth
from bulkhead.auth import process as auth_process
from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.facts import SessionEnded
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.revocation import RevokedKind
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents
from bulkhead.boundary.messages.to_store import GrantSessions, RevokeSessions
from bulkhead.boundary.peers import between
from bulkhead.directory import create as create_directory
from bulkhead.directory import process as directory_process
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, TenantId, new_id
from bulkhead.keyring import create as create_keyring
from bulkhead.keyring import process as keyring_process
from bulkhead.records.app_password import AppPassword
from bulkhead.records.credential import StretchParameters
from bulkhead.records.keyfile import KeySet
from bulkhead.records.mailbox import RecoveryKey

MODULES: tuple[tuple[Any, str], ...] = ((to_keyring, "keyring"), (to_auth, "auth"))
TENANT, ROOT_KEY = TenantId("bench"), bytes(range(32))
NEVER = 1_000_000
SETTINGS: dict[str, Any] = {
    "auth": {
        "failure_seconds": 1.0, "argon2_threads": 2, "argon2_queue_max": 65_536, "failures_per_source_minute": NEVER,
        "failures_per_network_minute": NEVER, "failures_per_gate_minute": NEVER, "failing_accounts_per_minute": NEVER,
        "delay_seconds_max": 900, "delay_network_seconds_max": 3600, "known_days": 90, "cache_minutes": 60,
        "breached": "mark", "main_password": ("imap", "pop", "submit"),
    },
    "keyring": {"session_seconds": 3600, "failures_per_hour": 600, "failing_accounts_per_hour": 1000},
    "directory": {"default_quota_bytes": 1 << 30, "postmaster": ""},
}  # fmt: skip
HOLDERS = ("auth", "keyring")
GATES = 4  # workers of access: sessions of one channel are bounded
MAIN = b"the main password"
Login = tuple[AccountId, bytes]


def violated(peer: Channel, _: int, violation: Exception) -> None:
    raise SystemExit(f"{peer}: {violation}")


def create_keys(root: Path, tenant: TenantId) -> dict[str, KeySet]:
    """New key files of auth, keyring and directory, and what is in them."""
    recovery = [RecoveryKey(1, X25519PrivateKey.generate().public_key()) for _ in range(2)]
    made = {
        "auth": create_auth.create_keys(), "keyring": create_keyring.create_keys(*recovery).keys,
        "directory": create_directory.create_keys(),
    }  # fmt: skip
    for name, keys in made.items():
        (root / name).mkdir(parents=True)
        (root / name / "keys.sealed").write_bytes(keys.seal(tenant, name, 1, ROOT_KEY))
    return made


async def serve(name: str, rest: "Rest", edges: list[tuple[socket.socket, Channel]]) -> None:
    """One holder, until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    exchange = Exchange(Channel(name, 0, 1), violated)
    host = Host(exchange.me, rest.tenant, rest.settings | {"id": str(rest.tenant)}, exchange, root_key=ROOT_KEY)
    os.chdir(rest.root / name)  # as after its chroot: this process is that holder's alone
    if name == "auth":
        service = await auth_process.start(host, parameters=StretchParameters(8, 1, 1))
    elif name == "keyring":
        service = await keyring_process.start(host)
    else:
        service = await directory_process.start(host)
    for sock, peer in edges:
        exchange.attach(sock, peer, 1)
    await stopped.wait()
    await service.stop()


class Rest:
    """Everything of a tenant but its holders, in this process; pids of those. The holders' keys are there already."""

    def __init__(
        self, root: Path, tenant: TenantId = TENANT, settings: dict[str, Any] | None = None,
        holders: Sequence[str] = HOLDERS,
    ) -> None:  # fmt: skip
        self.root, self.tenant, self.settings, self.holders = root, tenant, settings or SETTINGS, holders
        self.pids: dict[str, int] = {}
        self.ended = self.revoked = 0
        self._edges: list[tuple[str, Channel, socket.socket, Channel]] = []

    def fork(self) -> None:
        """Start them. Before any loop runs here."""
        ours = {name: Channel(name, 0, 1) for name in ("store", "ledger", "cli", "submit")}
        ours |= {f"access{number}": Channel("access", number, 1) for number in range(GATES)}
        theirs = {name: Channel(name, 0, 1) for name in self.holders}
        ends: dict[str, list[tuple[socket.socket, Channel]]] = {name: [] for name in self.holders}
        for one, other in itertools.combinations(self.holders, 2):
            if between(one, other) is not None:
                left, right = socket.socketpair()
                ends[one].append((left, theirs[other]))
                ends[other].append((right, theirs[one]))
        for name, (label, channel) in itertools.product(self.holders, ours.items()):
            if between(name, channel.compartment) is not None:
                mine, end = socket.socketpair()
                ends[name].append((end, channel))
                self._edges.append((label, channel, mine, theirs[name]))
        for name in self.holders:
            self.pids[name] = os.fork()
            if not self.pids[name]:
                asyncio.run(serve(name, self, ends[name]))
                os._exit(0)
        for end, _ in itertools.chain(*ends.values()):
            end.close()

    def connect(self) -> dict[str, Exchange]:
        """An exchange for each of the others."""
        exchanges: dict[str, Exchange] = {}
        for label, channel, sock, peer in self._edges:
            exchange = exchanges.get(label)
            if exchange is None:
                exchange = exchanges[label] = Exchange(channel, violated)
                exchange.serve(self, {GrantSessions: _grant, RevokeSessions: _revoke, AppendEvents: _append}
                               if label in ("store", "ledger") else {}, {SessionEnded: _ended})  # fmt: skip
            exchange.attach(sock, peer, 1)
        return exchanges

    def cpu(self, name: str) -> float:
        """Seconds of processor that it has used."""
        fields = Path(f"/proc/{self.pids[name]}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGTERM)
        for pid in self.pids.values():
            os.waitpid(pid, 0)


def _grant(_: Rest, __: Channel, ___: GrantSessions, ____: object) -> Done:
    return Done()


def _revoke(rest: Rest, _: Channel, request: RevokeSessions, __: object) -> Done:
    rest.revoked += len(request.handles)
    return Done()


def _append(_: Rest, __: Channel, request: AppendEvents, ___: object) -> Appended:
    return Appended(len(request.events))


def _ended(rest: Rest, _: Channel, __: SessionEnded) -> None:
    rest.ended += 1


async def many(count: int, at_once: int, act: Callable[[int], Awaitable[None]]) -> None:
    """act(0) to act(count - 1), so many at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await act(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))


class Bench:
    """The measurements."""

    def __init__(
        self, rest: Rest, options: argparse.Namespace, main: list[Login] | None = None, app: list[Login] | None = None
    ) -> None:
        self._rest, self._options = rest, options
        self._to = rest.connect()
        self._main, self._app = main or [], app or []

    async def ask(self, who: str, whom: str, request: Any) -> Any:
        return await self._to[who].to(whom).call(request, timeout=120.0)

    async def prepare(self) -> None:
        """Accounts with a main and an app password each, every one used once."""

        async def make(_: int) -> None:
            account, secret = AccountId(new_id()), secrets.token_bytes(16)
            token = (await self.ask("cli", "keyring", to_keyring.CreateMailboxKeys(stamp(), account))).token
            await self.ask("cli", "auth", to_auth.SetPassword(stamp(), account, MAIN, token, Scope.ALL))
            add = to_auth.AddAppPassword(stamp(), account, MAIN, secret, Scope.IMAP | Scope.SUBMIT, "bench")
            cred = (await self.ask("cli", "auth", add)).cred
            self._main.append((account, MAIN))
            self._app.append((account, AppPassword(cred, secret).text().encode()))

        await many(self._options.accounts, 64, make)
        await self.warm()

    async def warm(self, logins: list[Login] | None = None) -> None:
        """One login of each."""

        async def one(number: int) -> None:
            await self.check(chosen[number])

        chosen = [*self._main, *self._app] if logins is None else logins
        await many(len(chosen), 64, one)

    async def admits(self, login: Login) -> bool:
        """Whether it is let in."""
        try:
            await self.check(login)
        except Refused:
            return False
        return True

    async def check(self, login: Login, scope: int = Scope.IMAP, gate: str = "access0") -> bytes:
        nonce = secrets.token_bytes(16)
        await self.ask(gate, "auth", to_auth.Authenticate(*login, scope, "192.0.2.1", nonce))
        return nonce

    async def whole(self, login: Login) -> None:
        nonce = await self.check(login, Scope.SUBMIT, "submit")
        session = await self.ask("submit", "keyring", to_keyring.RedeemLogin(nonce, login[0], Scope.SUBMIT))
        await self.ask("submit", "keyring", to_keyring.EndSession(session.handle))

    async def rate(self, logins: list[Login], act: Callable[[Login], Awaitable[Any]]) -> dict[str, float]:
        """Logins a second, their times in ms, and processor time of each process in microseconds a login."""
        times: list[float] = []
        end = time.perf_counter() + self._options.seconds
        at = 0
        cpu = {name: self._rest.cpu(name) for name in self._rest.pids}
        own = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])

        async def worker() -> None:
            nonlocal at
            while (began := time.perf_counter()) < end:
                at += 1
                await act(logins[at % len(logins)])
                times.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(self._options.at_once)))
        took = time.perf_counter() - began
        times.sort()
        used = {name: (self._rest.cpu(name) - before) / len(times) * 1e6 for name, before in cpu.items()}
        used["driver"] = (sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - own) / len(times) * 1e6
        return {
            "a_second": round(len(times) / took), "p50_ms": round(times[len(times) // 2] * 1e3, 2),
            "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 2),
            **{f"cpu_us_{name}": round(value, 1) for name, value in used.items()},
        }  # fmt: skip

    async def revocation(self) -> dict[str, float]:
        """Many live sessions, and all of their credentials revoked at once."""
        opened = await self._open_sessions()
        epoch = time.time_ns() // 1_000_000
        began = time.perf_counter()
        by_keyring, _ = await asyncio.gather(
            self.ask("cli", "keyring", to_keyring.RevokeCredentials(stamp(), epoch, RevokedKind.ALL, "bench")),
            self.ask("cli", "auth", to_auth.RevokeCredentials(stamp(), epoch, RevokedKind.ALL, "bench")),
        )
        return await self._until_told(began, opened, by_keyring.sessions)

    async def reset(self, ids: bytes) -> dict[str, float]:
        """Many live sessions of a set of accounts, and all passwords of the set void at once. ids: ascending."""
        opened, digest = await self._open_sessions(), hashlib.sha256(ids).digest()
        surfaces, modules = Surface.RESET_MAIN | Surface.RESET_APP | Surface.SESSIONS, MODULES
        began = time.perf_counter()
        for module, name in modules:
            await self._to["cli"].to(name).call(module.StageAccounts(stamp(), digest), ids, timeout=120.0)
        staged, epoch = time.perf_counter() - began, time.time_ns() // 1_000_000
        began = time.perf_counter()
        by_keyring, _ = await asyncio.gather(
            self.ask("cli", "keyring", to_keyring.StopSurfaces(stamp(), epoch, surfaces, digest, 0, "bench")),
            self.ask("cli", "auth", to_auth.StopSurfaces(stamp(), epoch, surfaces, digest, 0, "bench")),
        )
        found = await self._until_told(began, opened, by_keyring.sessions)
        return found | {"accounts": len(ids) // 16, "staged_ms": round(staged * 1e3, 1)}

    async def _open_sessions(self) -> float:
        """As many as were asked for; seconds."""
        wanted, sessions = self._options.sessions, []

        async def open_one(number: int) -> None:
            gate, login = f"access{number % GATES}", self._app[number % len(self._app)]
            nonce = await self.check(login, gate=gate)
            redeem = to_keyring.RedeemLogin(nonce, login[0], Scope.IMAP)
            sessions.append((await self.ask(gate, "keyring", redeem)).handle)

        began = time.perf_counter()
        await many(wanted, 64, open_one)
        return time.perf_counter() - began

    async def _until_told(self, began: float, opened: float, sessions: int) -> dict[str, float]:
        """Seconds until the answer, which is there, and until every gate was told."""
        answered, wanted = time.perf_counter() - began, self._options.sessions
        while self._rest.ended < wanted or self._rest.revoked < wanted:
            await asyncio.sleep(0.002)
        return {
            "sessions": sessions, "opened_a_second": round(wanted / opened),
            "answered_ms": round(answered * 1e3, 1),
            "last_gate_told_ms": round((time.perf_counter() - began) * 1e3, 1),
        }  # fmt: skip

    async def run(self) -> dict[str, Any]:
        await self.prepare()
        found: dict[str, Any] = {"accounts": self._options.accounts, "at_once": self._options.at_once}
        found["app password, checked"] = await self.rate(self._app, self.check)
        found["app password, with session"] = await self.rate(self._app, self.whole)
        found["cached, checked"] = await self.rate(self._main, self.check)
        found["cached, with session"] = await self.rate(self._main, self.whole)
        found["revocation"] = await self.revocation()
        return found


def stamp() -> Stamp:
    return Stamp.fresh("cli:bench", 300.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--sessions", type=int, default=16_384)
    parser.add_argument("--directory", default=None)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        create_keys(Path(directory), TENANT)
        rest = Rest(Path(directory))
        rest.fork()

        async def work() -> dict[str, Any]:
            return await Bench(rest, options).run()

        try:
            found = asyncio.run(work())
        finally:
            rest.stop()
        found["machine"] = describe(Path(directory))
    text = json.dumps(found, indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
