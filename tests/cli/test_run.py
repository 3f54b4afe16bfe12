"""Which sandbox level an installation may run at."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.live import free_number, uid_base_of

from bulkhead.cli.init import make_installation, six_isps
from bulkhead.cli.run import check_level, find_levels, taken_uid, what_is_missing
from bulkhead.config import load_installation, set_value
from bulkhead.errors import Refused
from bulkhead.supervisor.landlock import kernel_abi


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "new"
    make_installation(path, "", six_isps()[:2])
    set_value(path, "bulkhead.toml", "uid_base", uid_base_of(free_number()))
    return path


@pytest.mark.parametrize(
    ("production", "accepted", "tenants", "runs"),
    [
        (False, (), 2, "ABCD"),
        (True, (), 2, "A"),
        (True, ("B",), 2, "AB"),
        (True, (), 1, "AB"),
    ],
)
def test_production_refuses_weak_sandboxes(
    directory: Path, production: bool, accepted: tuple[str, ...], tenants: int, runs: str
) -> None:
    set_value(directory, "bulkhead.toml", "production", production)
    set_value(directory, "bulkhead.toml", "accept_level", accepted)
    set_value(directory, "tenants/stnet.toml", "disabled", tenants == 1)
    installation = load_installation(directory)
    for level in "ABCD":
        if level in runs:
            check_level(installation, level)
        else:
            with pytest.raises(Refused, match="production = true"):
                check_level(installation, level)


def test_the_probes_give_every_compartment_a_level(directory: Path) -> None:
    levels = find_levels(load_installation(directory))
    assert levels["probes"] > 45
    assert levels["profiles"] == 4
    assert levels["level"] == max(row["level"] for row in levels["compartments"].values())
    assert what_is_missing(levels) or levels["level"] == "A"


def test_what_is_missing_is_said_once_for_all_compartments() -> None:
    row = {"level": "B", "missing": ["landlock missing: ABI 0"], "unproven": ["io-uring (host)"]}
    lines = what_is_missing({"compartments": {"mx": row, "store": row}})
    assert lines == [
        "missing: landlock missing: ABI 0 [mx, store]",
        "unproven, as it fails unlocked too: io-uring (host) [mx, store]",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives compartments user ids")
def test_a_user_id_that_another_process_has_is_found(tmp_path: Path) -> None:
    make_installation(tmp_path / "i", "Carrier", ())
    base = uid_base_of(free_number())
    set_value(tmp_path / "i", "bulkhead.toml", "uid_base", base)
    installation = load_installation(tmp_path / "i")
    assert taken_uid(installation) is None
    pid = os.fork()
    if pid == 0:
        os.setuid(base + 9)
        time.sleep(120)
        os._exit(0)
    try:
        until = time.monotonic() + 60
        while taken_uid(installation) is None and time.monotonic() < until:
            time.sleep(0.01)
        assert taken_uid(installation) == (base + 9, pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.skipif(os.geteuid() != 0 or kernel_abi() < 6, reason="level A needs root and Landlock's scopes (ABI 6)")
def test_every_compartments_own_lock_lets_no_hostile_act_succeed(directory: Path) -> None:
    levels = find_levels(load_installation(directory))
    assert (levels["level"], what_is_missing(levels)) == ("A", [])
