"""One Bulkhead cell with its shipped settings but for limits on one source, started by `bulkhead run`."""

import json
import subprocess
import sys
from pathlib import Path

from bench.server import DOMAIN, PASSWORD, USERS

from bulkhead import __version__
from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import set_value
from bulkhead.demo.running import Running
from bulkhead.identifiers import DomainName, TenantId

TENANT = "t0"
SESSIONS_MAX = 2500  # of one process of IMAP, whose descriptors are limited
COMMAND_SECONDS = 300
PORTS = {"listen.mx": 2525, "listen.submissions": 4465, "listen.submission": 4587, "listen.imaps": 4993,
         "listen.pop3s": 4995, "listen.console": 4443}  # fmt: skip


class BulkheadCell:
    """A running cell."""

    name = "Bulkhead"
    smtp, imaps, pop3s = PORTS["listen.mx"], PORTS["listen.imaps"], PORTS["listen.pop3s"]

    def __init__(
        self,
        directory: Path,
        address: str,
        uid_base: int,
        connections: int = 1024,
        *,
        workers: int = 0,
        quota_bytes: int = 0,
    ) -> None:
        """connections: to IMAP at once, all from one address, which the shipped settings would not let it.

        workers: of mx, 0 is one a processor; IMAP has one for each 2,500 connections.
        quota_bytes: of each account, 0 is what is shipped.
        """
        workers_of_access = 1 + connections // SESSIONS_MAX
        limits = {
            "access.connections_per_source_max": connections, "access.connections_max": connections,
            "access.sessions_max": SESSIONS_MAX, "access.recycle_sessions": 0, "access.workers": workers_of_access,
            "access.workers_max": workers_of_access, "submit.workers": 1, "mx.workers": workers,
            "auth.failures_per_network_minute": 6_000,
            "auth.failures_per_source_minute": 6_000,
        }  # fmt: skip
        if quota_bytes:
            limits["directory.default_quota_bytes"] = quota_bytes
        self.address, self._directory = address, directory
        new = NewTenant(TenantId(TENANT), 0, DomainName(DOMAIN), address, "Benchmark", {**PORTS, **limits})
        make_installation(directory, "Benchmark", [new])
        set_value(directory, "bulkhead.toml", "uid_base", uid_base)
        self._running = Running(directory)
        try:
            self._running.wait_ready()
            lines = "".join(f"{user}@{DOMAIN},{PASSWORD}\n" for user in USERS)
            self._command("account", "add", TENANT, "--from-file", "-", given=lines)
        except BaseException:
            self.stop()
            raise

    def roots(self) -> list[int]:
        """`bulkhead run` and all below it."""
        return [self._running.process.pid]

    def names(self) -> dict[int, str]:
        """Compartments."""
        rows = json.loads(self._command("status", "--json"))["processes"]
        return {int(row["pid"]): str(row["compartment"]) for row in rows if row["pid"]}

    def about(self) -> dict[str, str]:
        """Version, and what the cell's lock-down gave."""
        rows = json.loads(self._command("status", "--json"))["processes"]
        levels = sorted({str(row["level"]) for row in rows})
        return {"version": __version__, "level": ", ".join(levels), "mail store": "sealed; fdatasync, SQLite FULL"}

    def stop(self) -> None:
        """Stop the cell."""
        self._running.stop()

    def _command(self, *arguments: str, given: str = "") -> str:
        command = [sys.executable, "-m", "bulkhead.cli.main", *arguments, "-C", str(self._directory)]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if done.returncode and arguments[0] != "status":
            raise OSError(f"bulkhead {' '.join(arguments)}: {done.stderr}")
        return done.stdout
