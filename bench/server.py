"""What a benchmark needs of a server, whichever it is."""

import secrets
from pathlib import Path
from typing import Protocol

USERS = [f"user{number:03d}" for number in range(200)]
PASSWORD = secrets.token_urlsafe(12)  # of every user, in this run
DOMAIN = "t0.example"


def address_of(number: int) -> str:
    """The recipient of message `number`: users in turn."""
    return f"{USERS[number % len(USERS)]}@{DOMAIN}"


class Server(Protocol):
    """A mail server that was set up in a directory of its own, with all of USERS, and runs."""

    name: str
    address: str
    smtp: int
    imaps: int
    pop3s: int

    def roots(self) -> list[int]:
        """The pids whose trees are the server."""

    def names(self) -> dict[int, str]:
        """What its processes are called, where the kernel's name for them does not say."""

    def about(self) -> dict[str, str]:
        """Versions and settings that a reader of the figures needs."""

    def stop(self) -> None:
        """End it."""


def loopback_network(pid: int) -> str:
    """The first three numbers of a loopback network that is this run's own."""
    return f"127.{60 + pid // 250 % 40}.{pid % 250 + 2}"


def folder(parent: Path, name: str, mode: int = 0o755) -> Path:
    """A new folder."""
    path = parent / name
    path.mkdir()
    path.chmod(mode)
    return path
