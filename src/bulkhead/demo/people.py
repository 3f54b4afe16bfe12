"""The demonstration's subscribers, and the file in which their passwords lie: random for each installation."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.cli.secret_file import write_secret
from bulkhead.errors import ConfigError

ACCOUNTS_FILE = "demo-accounts.txt"
FILE_BYTES_MAX = 1 << 20
ACTIVE, DORMANT, CANCELLED = "active", "dormant", "cancelled"
LOCAL_PARTS: Sequence[tuple[str, str]] = (
    *((name, ACTIVE) for name in (
        "hanako.sato", "taro.suzuki", "yuki.takahashi", "aoi.tanaka", "haruto.ito",
        "sakura.watanabe", "ren.yamamoto", "mei.nakamura", "sota.kobayashi", "info",
    )),
    ("makoto.kato", DORMANT), ("emi.yoshida", DORMANT), ("ken.yamada", CANCELLED),
)  # fmt: skip
_HEAD = "# Subscribers of the demonstration: tenant,address,password,status. Made anew with every installation.\n"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One account. status: what it is once the demonstration is made."""

    tenant: str
    address: str
    password: str = field(repr=False)
    status: str


def make_people(tenants: Iterable[str]) -> list[Subscriber]:
    """10 active subscribers, 2 dormant and 1 cancelled for each tenant, under `<tenant>.example`."""
    return [
        Subscriber(tenant, f"{name}@{tenant}.example", f"demo-{secrets.token_hex(3)}-{secrets.token_hex(3)}", status)
        for tenant in tenants
        for name, status in LOCAL_PARTS
    ]


def write_people(directory: Path, people: Iterable[Subscriber]) -> Path:
    """Write the file, readable by its owner alone. Raises ConfigError where there is one."""
    path = directory / ACCOUNTS_FILE
    lines = "".join(f"{p.tenant},{p.address},{p.password},{p.status}\n" for p in people)
    write_secret(path, (_HEAD + lines).encode("ascii"), mode=0o600)
    return path


def read_people(directory: Path) -> list[Subscriber]:
    """The subscribers of the file. Raises ConfigError."""
    path = directory / ACCOUNTS_FILE
    try:
        text = path.read_bytes()[:FILE_BYTES_MAX].decode("ascii")
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: {directory} is no demonstration; make one: bulkhead demo -C DIR"
        ) from None
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    if not rows or any(len(row) != 4 for row in rows):
        raise ConfigError(f"{path} is not as the demonstration wrote it; make a new one: bulkhead demo -C DIR --fresh")
    return [Subscriber(*row) for row in rows]
