"""What no single row of SETTINGS can say: settings that must agree with each other. Standard library only.

Each rule gives problems as text; none raises. It sees only values that their own rows have accepted.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from bulkhead.config.schema import INSTALLATION_FILE
from bulkhead.config.values import Value

NAMES = ("names.mx", "names.submit", "names.access", "names.web", "names.console")
PORTS = (
    "listen.mx", "listen.submissions", "listen.submission", "listen.imaps", "listen.pop3s", "listen.imap",
    "listen.pop3", "listen.console",
)  # fmt: skip

NOT_ABOVE: tuple[tuple[str, str], ...] = (
    ("mx.connections_per_source_max", "mx.connections_max"),
    ("submit.connections_per_source_max", "submit.connections_max"),
    ("access.connections_per_source_max", "access.connections_max"),
    ("console.connections_per_source_max", "console.connections_max"),
    ("auth.failures_per_source_minute", "auth.failures_per_network_minute"),
    ("auth.failures_per_network_minute", "auth.failures_per_gate_minute"),
    ("auth.delay_seconds_max", "auth.delay_network_seconds_max"),
    ("queue.retry_first_seconds", "queue.retry_max_seconds"),
    ("queue.retry_max_seconds", "queue.expire_seconds"),
    ("queue.warn_seconds", "queue.expire_seconds"),
)
"""Pairs of which the first must not be above the second."""
ARGON2ID_SECONDS = 0.1  # one hash of 19 MiB and 2 passes, on a slow machine whose other threads hash too

LEGACY_SECONDS = 0.5
"""Before it, the dearest digest that an import takes (docs/import.md has what was measured), on such a machine."""


def within(file: str, values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    """(key, problem) of one file. The key tells whose origin to name."""
    if file == INSTALLATION_FILE:
        return
    stem = PurePosixPath(file).stem
    if values["id"] != stem:
        yield "id", f'id = "{values["id"]}": must be the name of its file: "{stem}"'
    for lower, upper in NOT_ABOVE:
        low, high = values[lower], values[upper]
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield lower, f"{lower} = {low}: must not be above {upper}, which is {high}"
    yield from _of_failures(values)
    yield from _distinct(values, PORTS, "two listeners cannot share a port")
    yield from _distinct(values, NAMES, "no two compartments share a name, so that a stolen key serves only one")


def failure_floor(_: Mapping[str, Value]) -> float:
    """Seconds that the slowest login of this tenant computes: an answer before that would tell by its time.

    A tenant that imported digests needs LEGACY_SECONDS more, which `account import` asks for: no file says who did.
    """
    return ARGON2ID_SECONDS


def _of_failures(values: Mapping[str, Value]) -> Iterator[tuple[str, str]]:
    key, floor = "auth.failure_seconds", failure_floor(values)
    seconds = values[key]
    if isinstance(seconds, float) and seconds < floor:
        yield key, f"{key} = {seconds}: must be at least {floor:g}, which the slowest login here takes"
    key, minute = "keyring.failing_accounts_per_hour", values["auth.failing_accounts_per_minute"]
    accounts = values[key]
    if isinstance(accounts, int) and isinstance(minute, int) and accounts < 120 * minute:
        yield key, f"{key} = {accounts}: must be at least {120 * minute}, what auth lets strangers try in an hour"


def _distinct(values: Mapping[str, Value], keys: Sequence[str], why: str) -> Iterator[tuple[str, str]]:
    seen: dict[Value, str] = {}
    for key in keys:
        value = values[key]
        if not value:
            continue
        if value in seen:
            yield key, f"{key} = {value}: already {seen[value]}; {why}"
        seen.setdefault(value, key)


def between_tenants(tenants: Sequence[tuple[str, Mapping[str, Value]]], retired_slots: Sequence[int]) -> Iterator[str]:
    """Problems between tenants, each given as (file, values): shared slots, addresses, names; retired slots taken.

    A disabled tenant keeps its slot; its address and names are free for another.
    """
    slots: dict[Value, str] = {}
    names: dict[Value, str] = {}
    addresses: dict[str, str] = {}
    for file, values in tenants:
        slot = values["slot"]
        if slot in retired_slots:
            yield f"{file}: slot = {slot}: retired in {INSTALLATION_FILE}; take another, a slot is never given twice"
        if slot in slots:
            yield f"{file}: slot = {slot}: {slots[slot]} has it; take another, a slot is never given twice"
        slots.setdefault(slot, file)
        if values["disabled"]:
            continue
        for key in NAMES:
            if values[key] and names.get(values[key], file) != file:
                yield f"{file}: {key} = {values[key]}: {names[values[key]]} has it; each tenant has its own names"
            names.setdefault(values[key], file)
        address = str(values["listen.address"])
        if address in addresses:
            yield f"{file}: listen.address = {address}: {addresses[address]} has it; each tenant has its own address"
        addresses.setdefault(address, file)
    wild = [address for address in addresses if ipaddress.ip_address(address).is_unspecified]
    if len(addresses) > 1:
        for address in wild:
            yield f"{addresses[address]}: listen.address = {address}: takes every address; give each tenant its own"
