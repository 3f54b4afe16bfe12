"""The operator's site is lost: the partner follows the runbook, in another network, and the mail is there."""

import contextlib
import hashlib
import imaplib
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live import PASSWORD, PORTS, free_number, uid_base_of

from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.config import set_value
from bulkhead.demo.endpoints import trust
from bulkhead.identifiers import DomainName, TenantId

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook-site-loss.md"
IP = shutil.which("ip")
HERE = Path(sys.executable).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or IP is None, reason="two network namespaces take root, and ip of iproute2"),
]
SECONDS = 120.0


def commands(prefix: str) -> list[tuple[str, str]]:
    """(command, what it prints) in the order of the page."""
    found: list[tuple[str, str]] = []
    for line in RUNBOOK.read_text().splitlines():
        if line.startswith(f"    {prefix} "):
            found.append((line.removeprefix(f"    {prefix} "), ""))
        elif line.startswith("    prints: ") and found:
            found[-1] = (found[-1][0], line.removeprefix("    prints: "))
    return found


class Network:
    """A network namespace with one address, which this process reaches."""

    def __init__(self, name: str, third: int) -> None:
        self.name, self.address, self._link = name, f"10.77.{third}.1", name[:12]
        for words in (
            f"netns add {name}", f"link add {self._link} type veth peer name eth0 netns {name}",
            f"addr add 10.77.{third}.2/24 dev {self._link}", f"link set {self._link} up",
            f"-n {name} addr add {self.address}/24 dev eth0", f"-n {name} link set eth0 up",
            f"-n {name} link set lo up",
        ):  # fmt: skip
            subprocess.run([str(IP), *words.split()], check=True, capture_output=True)

    def inside(self, *words: str) -> list[str]:
        return [str(IP), "netns", "exec", self.name, *words]

    def remove(self) -> None:
        subprocess.run([str(IP), "netns", "del", self.name], check=False, capture_output=True)
        subprocess.run([str(IP), "link", "del", self._link], check=False, capture_output=True)


@pytest.fixture
def networks() -> Iterator[tuple[Network, Network]]:
    number = free_number()
    made: list[Network] = []
    try:
        for letter, third in (("a", 2 * (number % 120)), ("b", 2 * (number % 120) + 1)):
            made.append(Network(f"bh{number}{letter}", third))
        yield made[0], made[1]
    finally:
        for network in made:
            network.remove()


def run(command: str, network: Network, **names: str) -> str:
    """What a command of the page prints, in that network; it may leave something running."""
    environment = {**os.environ, **names, "PATH": f"{HERE}:{os.environ['PATH']}"}
    with (Path(names["SITE"]).parent / "printed").open("w+") as out:
        done = subprocess.run(
            network.inside("bash", "-c", command), env=environment, stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
        )  # fmt: skip
        out.seek(0)
        printed = out.read()
    assert done.returncode == 0, f"{command}: {printed}"
    return printed


@contextlib.contextmanager
def imap(address: str, directory: Path, login: str) -> Iterator[imaplib.IMAP4_SSL]:
    tls = trust(directory)
    client = imaplib.IMAP4_SSL(address, int(str(PORTS["listen.imaps"])), ssl_context=_any_name(tls), timeout=30)
    client.login(login, PASSWORD)
    client.select("INBOX")
    yield client
    client.logout()


def hashes(client: imaplib.IMAP4_SSL) -> list[str]:
    _, found = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
    return sorted(hashlib.sha256(part[1]).hexdigest() for part in found if isinstance(part, tuple))


def _any_name(tls: ssl.SSLContext) -> ssl.SSLContext:
    tls.check_hostname = False  # the names point to the lost site until step 9
    return tls


def wait_port(address: str, port: int) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_the_partner_follows_the_runbook_and_serves_the_mail_of_a_site_that_is_gone(
    networks: tuple[Network, Network], tmp_path: Path
) -> None:
    ours, theirs = networks
    live, copies, there = tmp_path / "operator", tmp_path / "partner" / "copies", tmp_path / "partner" / "site"
    copies.mkdir(parents=True)
    settings = PORTS | {"resolver.zone_file": "example.zone"}
    tenant = NewTenant(TenantId("t0"), 0, DomainName("t0.example"), ours.address, "Tenant", settings)
    make_installation(live, "Test carrier", [tenant])
    set_value(live, "bulkhead.toml", "uid_base", uid_base_of(free_number()))
    keys = {f"{party.upper()}_KEY": str(tmp_path / f"{party}.key") for party in ("partner", "operator")}
    names = {"TENANT": "t0", "COPIES": str(copies), "LIVE": str(live), "SITE": str(there), "ADDRESS": theirs.address,
             "LOG_KEY": "", **keys}  # fmt: skip
    operator = subprocess.Popen(
        ours.inside(sys.executable, "-m", "bulkhead.cli.main", "run", "-C", str(live)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_port(ours.address, int(str(PORTS["listen.imaps"])))
        lines = "".join(f"{name}@t0.example,{PASSWORD}\n" for name in ("anna", "ben"))
        (tmp_path / "accounts").write_text(lines)
        run(f"bulkhead account add t0 --from-file {tmp_path}/accounts -C $LIVE", ours, **names)
        with imap(ours.address, live, "anna@t0.example") as client:
            for letter in "abcdef":
                client.append("INBOX", "", "", f"Subject: {letter}\r\n\r\n{letter * 5000}\r\n".encode())
            before = hashes(client)
        for command, _ in commands("$$"):
            printed = run(command.replace("rsync -a --delete", "cp -a"), ours, **names)
        names["LOG_KEY"] = next(iter(re.findall(r"\S+\+[0-9a-f]{8}\+\S+", printed)))
        run("bulkhead account suspend t0 ben@t0.example -C $LIVE", ours, **names)
        run("bulkhead ledger $TENANT export $COPIES/ledger -C $LIVE", ours, **names)  # the newest that anybody has
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(operator.pid, signal.SIGKILL)
        operator.wait()
    for party in ("partner", "operator"):
        shutil.copy(live / "recovery" / "t0" / f"{party}.key", keys[f"{party.upper()}_KEY"])
    zone = (live / "example.zone").read_bytes()
    ours.remove()
    shutil.rmtree(live)

    try:
        for command, expected in commands("$"):
            printed = run(command, theirs, **names)
            assert expected in printed, f"{command}: {printed}"
            if command.startswith("bulkhead init"):  # what tests alone need: other user ids, and a zone of their own
                set_value(there, "bulkhead.toml", "uid_base", uid_base_of(free_number()))
                (there / "example.zone").write_bytes(zone)
        with imap(theirs.address, there, "anna@t0.example") as client:
            assert hashes(client) == before and len(before) == 6
        with pytest.raises(imaplib.IMAP4.error), imap(theirs.address, there, "ben@t0.example"):
            pass
        with smtplib.SMTP(theirs.address, int(str(PORTS["listen.mx"])), "client.example", timeout=30) as mx:
            mx.sendmail("a@elsewhere.example", ["anna@t0.example"], b"Subject: after\r\n\r\nit goes on\r\n")
        end = time.monotonic() + SECONDS
        while True:
            with imap(theirs.address, there, "anna@t0.example") as client:
                if len(hashes(client)) == len(before) + 1:
                    break
            assert time.monotonic() < end
    finally:
        for pid in subprocess.run(
            [str(IP), "netns", "pids", theirs.name], capture_output=True, check=False
        ).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def test_every_name_in_the_runbooks_commands_is_in_its_table() -> None:
    text = RUNBOOK.read_text()
    used = {name for command, _ in commands("$") for name in re.findall(r"\$([A-Z_]+)", command)}
    assert used <= set(re.findall(r"^\| `\$([A-Z_]+)` \|", text, re.MULTILINE))
    assert len(commands("$")) >= 8 and len(commands("$$")) == 3
