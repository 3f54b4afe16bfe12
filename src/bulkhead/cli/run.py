"""`run` and `cell run`: they start supervisors, and load nothing but them. Standard library only."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bulkhead.cli.output import say
from bulkhead.config.load import Installation, check_files, load_installation
from bulkhead.errors import ConfigError, Refused
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.memfd import read_sealed_memfd
from bulkhead.supervisor.parent import end_with_parent

LEVELS_MAX = 1 << 20
PROBE_SECONDS = 120
SLOTS = 64
ADDED = ("incident",)  # holders that came after the first builds: a tenant may be older
ADDED_GATES = ("console",)  # gates that did
KEY_FILE = "keys.sealed"  # as bulkhead.holder.keys names it, which no supervisor loads


def run(options: argparse.Namespace) -> int:
    """Probe the sandbox, then run every cell in the foreground until SIGTERM or Ctrl-C."""
    _without_tls()
    from bulkhead.supervisor.installation import run_installation

    directory = Path(options.directory).absolute()
    installation = load_installation(directory)
    check_files(installation)
    for tenant in installation.tenants.values():
        if not tenant.disabled:
            check_keys(Layout(directory, tenant.id))
    levels = find_levels(installation)
    check_level(installation, str(levels["level"]))
    say(f"sandbox level {levels['level']}: {levels['probes']} hostile acts tried under {levels['profiles']} locks")
    for line in what_is_missing(levels):
        say(f"  {line}")
    if (taken := taken_uid(installation)) is not None:
        say(
            f"  user id {taken[0]} is in use by process {taken[1]}: two installations on one host share thread limits "
            "and no wall between their files; give this one another uid_base in bulkhead.toml before it has mail"
        )
    return run_installation(directory, levels)


def keys_lacking(layout: Layout) -> list[str]:
    """Compartments newer than this tenant that have no keys yet: `upgrade` makes them, with words."""
    if not layout.root_key("keyring").exists():  # whose keys are not here at all lacks others first
        return []
    paths = {name: (layout.root_key(name), layout.home(name) / KEY_FILE) for name in ADDED}
    return [name for name, both in paths.items() if not all(path.exists() for path in both)]


def gates_lacking(layout: Layout) -> list[str]:
    """Gates newer than this tenant that have no certificate yet."""
    return [gate for gate in ADDED_GATES if layout.pem("mx").exists() and not layout.pem(gate).exists()]


def check_keys(layout: Layout) -> None:
    """Raises ConfigError where a compartment came with a newer build than the one that made the tenant."""
    lacking = [f"keys of {name}" for name in keys_lacking(layout)]
    lacking += [f"certificate of {gate}" for gate in gates_lacking(layout)]
    if lacking:
        raise ConfigError(
            f"{layout.tenant} has no {', no '.join(lacking)}. Where an older build made it: "
            f"bulkhead upgrade {layout.tenant}, then start again; else restore from your copy"
        )


def taken_uid(installation: Installation) -> tuple[int, int] | None:
    """A user id of this installation under which a process runs already, and that process; None as an ordinary user."""
    if os.geteuid() != 0:
        return None
    base = installation.settings.integer("uid_base")
    slots = [tenant.slot for tenant in installation.tenants.values()]
    ours = range(base, base + SLOTS * (max(slots, default=0) + 1))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except OSError:  # it ended meanwhile
                continue
            uid = int(status.partition("\nUid:\t")[2].split("\t", 1)[0] or -1)
            if uid in ours:
                return uid, int(entry.name)
    return None


def _end_with_parent() -> None:
    """Stop in order when `run` is gone, however it went: a cell without it would hold addresses and lock for ever."""
    if not end_with_parent(os.getppid()):  # it died before the request: no signal will come
        raise ConfigError("`bulkhead run` ended while its cell started; start it again")


def _without_tls() -> None:
    """asyncio would load OpenSSL, which no supervisor uses: 1.5 MiB a cell, and code that may have flaws."""
    sys.modules["ssl"] = None  # type: ignore[assignment]  # makes a later import fail, as in the vault image


def cell_run(options: argparse.Namespace) -> int:
    """Run one cell in the foreground. The levels come from `run` by descriptor; alone, the cell probes itself."""
    _without_tls()
    from bulkhead.supervisor.process import run_cell

    directory = Path(options.directory).absolute()
    installation = load_installation(directory)
    tenant = installation.tenant(options.tenant)
    check_keys(Layout(directory, tenant.id))
    if options.levels_fd is not None:
        levels = json.loads(read_sealed_memfd(options.levels_fd, LEVELS_MAX))
        os.close(options.levels_fd)
        _end_with_parent()
    else:
        levels = find_levels(installation)
        check_level(installation, str(levels["level"]))
    return run_cell(directory, tenant.id, levels)


def find_levels(installation: Installation) -> dict[str, Any]:
    """What the probes show on this host, now. Raises ConfigError when they cannot be run."""
    taken = [tenant.slot for tenant in installation.tenants.values()]
    uid = installation.settings.integer("uid_base") + SLOTS * (max(taken, default=0) + 1)
    command = [sys.executable, "-I", "-B", "-m", "bulkhead.cli.probe_levels", str(uid)]
    try:
        probed = subprocess.run(
            command, capture_output=True, timeout=PROBE_SECONDS, check=False, stdin=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"the sandbox probes did not end within {PROBE_SECONDS} s; is the host overloaded?") from None
    if probed.returncode != 0:
        words = probed.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise ConfigError(f"the sandbox cannot be probed on this host: {words[0]}")
    levels: dict[str, Any] = json.loads(probed.stdout)
    return levels


def check_level(installation: Installation, level: str) -> None:
    """Raises Refused where this installation may not run at that level (design: production refuses)."""
    if not installation.settings.boolean("production"):
        return
    if level > "B":
        raise Refused(
            f"production = true, and the sandbox reaches level {level} on this host: hostile code in one compartment "
            "could reach the host; use a kernel with seccomp and Landlock, and start as root",
            code="level",
        )
    tenants = [tenant for tenant in installation.tenants.values() if not tenant.disabled]
    if level > "A" and len(tenants) > 1 and level not in installation.settings.texts("accept_level"):
        raise Refused(
            f"production = true with {len(tenants)} tenants, and the sandbox reaches level {level}: "
            f'run one tenant a host, or accept it by name in bulkhead.toml: accept_level = ["{level}"]',
            code="level",
        )


def what_is_missing(levels: dict[str, Any]) -> list[str]:
    """One line for each thing that keeps a compartment from level A, or that could not be proven."""
    lines: dict[str, list[str]] = {}
    for name, row in levels.get("compartments", {}).items():
        for what in row["missing"]:
            lines.setdefault(f"missing: {what}", []).append(name)
        for what in row["unproven"]:
            lines.setdefault(f"unproven, as it fails unlocked too: {what}", []).append(name)
    return [f"{text} [{', '.join(names)}]" for text, names in lines.items()]
