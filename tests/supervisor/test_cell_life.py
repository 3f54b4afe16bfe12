"""A live cell: what dies comes back, what lies is not believed, what floods is ended, what stops leaves nothing."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.live import Live
from tests.supervisor.cells import SECONDS, alive, running, unit_of, until

from bulkhead.boundary.processes import PROCESSES, Image
from bulkhead.cli.certificates import read_ca, write_gates
from bulkhead.config import load_installation
from bulkhead.errors import TemporaryFailure
from bulkhead.supervisor import cell as module
from bulkhead.supervisor import control
from bulkhead.supervisor.cell import Cell, Unit
from bulkhead.supervisor.control import ControlChannel, Op, Peer
from bulkhead.supervisor.restart import Allowance, Backoff
from bulkhead.supervisor.unit import MESSAGES_PER_MINUTE


async def comes_back(cell: Cell, unit: Unit, act: object, seconds: float = 8.0) -> None:
    """`act()` ends the unit; it must be started again as another process."""
    pid, incarnation = unit.pid, unit.incarnation
    act()  # type: ignore[operator]
    await until(lambda: unit.incarnation > incarnation and cell.ready, seconds)
    assert unit.pid != pid and not alive(pid)


async def test_every_compartment_and_every_image_comes_back_after_kill_9(solo: Path) -> None:
    async with running(solo) as cell:
        others = {unit: unit.pid for unit in cell.units}
        for unit in list(cell.units):
            await comes_back(cell, unit, lambda unit=unit: os.kill(unit.pid, signal.SIGKILL))
            del others[unit]
            assert all(other.pid == pid for other, pid in others.items())  # nobody else was touched
            others = {unit: unit.pid for unit in cell.units}
        assert {unit.restarts for unit in cell.units} == {1}
        for image in Image:
            units = [unit for unit in cell.units if unit.process.image is image]
            pids = [unit.pid for unit in units]
            rest = {unit: unit.pid for unit in cell.units if unit.process.image is not image}
            os.kill(cell.image_pids()[image.value], signal.SIGKILL)
            await until(lambda units=units, pids=pids: not {u.pid for u in units} & set(pids) and cell.ready)
            assert not [pid for pid in pids if alive(pid)]
            assert all(unit.pid == pid for unit, pid in rest.items())


async def test_a_holders_report_restarts_the_sender_and_a_gates_report_only_itself(solo: Path) -> None:
    async with running(solo) as cell:
        mx, store, courier, resolver = (unit_of(cell, name) for name in ("mx", "store", "courier", "resolver"))

        def report(reporter: Unit, sender: Unit, generation: int | None = None) -> None:
            edge = reporter.edges[sender.process.name, 0] if generation is None else generation
            peer = Peer(sender.process.slot, 0, sender.incarnation, edge)
            cell._on_unit_message(reporter, Op.VIOLATION, control.pack_peer(peer), None)

        holder, old = store.pid, store.edges["mx", 0]
        await comes_back(cell, mx, lambda: report(store, mx))
        assert store.pid == holder
        assert store.edges["mx", 0] == mx.edges["store", 0] != old
        await comes_back(cell, mx, lambda: report(mx, store))
        assert store.pid == holder
        other = courier.pid
        await comes_back(cell, resolver, lambda: report(resolver, courier))
        assert courier.pid == other
        before = {unit: unit.pid for unit in cell.units}
        for _ in range(50):
            report(store, mx, old)  # of an edge that was replaced
        await asyncio.sleep(0.2)
        assert {unit: unit.pid for unit in cell.units} == before


async def test_a_worker_that_was_starting_when_the_settings_changed_takes_them_too(
    solo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(solo) as cell:
        access, equip, send = unit_of(cell, "access"), cell._equip, cell._send_content
        sent: list[tuple[Op, str]] = []

        def equip_and_reload(unit: Unit) -> None:
            equip(unit)
            cell.reload(cell.installation)

        def record(unit: Unit, op: Op, content: bytes) -> None:
            if unit is access:
                sent.append((op, unit.state))
            send(unit, op, content)

        monkeypatch.setattr(cell, "_equip", equip_and_reload)
        monkeypatch.setattr(cell, "_send_content", record)
        await comes_back(cell, access, lambda: os.kill(access.pid, signal.SIGKILL))
        assert sent == [(Op.SETTINGS, "locked"), (Op.RELOAD, "started")]
        await until(lambda: not access.reloading)
        assert not (solo / "cells" / "solo" / "access" / "gate.pem").exists()


class Liar:
    """Takes the compartment's end of a live unit's control channel: what a compromised process could say."""

    def __init__(self, cell: Cell, unit: Unit) -> None:
        assert unit.channel is not None
        cell._loop.remove_reader(unit.channel.fileno())
        ours, theirs = control.control_pair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.channel, self._old = ControlChannel(theirs), unit.channel
        unit.channel = ControlChannel(ours)
        cell._loop.add_reader(ours.fileno(), cell._on_unit, unit, unit.channel)

    def close(self) -> None:
        self.channel.close()
        self._old.close()


LIES = {
    "a second LOCKED": (Op.LOCKED, b"\0" * 976),
    "a second STARTED": (Op.STARTED, b""),
    "RELOADED unasked": (Op.RELOADED, b""),
    "an image's words": (Op.EXITED, b"\0" * 15),
    "the supervisor's words": (Op.FORK, b"\0" * 280),
    "a report of the wrong size": (Op.VIOLATION, b"\0"),
}


async def test_a_compartment_that_lies_floods_or_falls_silent_is_ended(solo: Path) -> None:
    async with running(solo) as cell:
        queue = unit_of(cell, "queue")
        store = unit_of(cell, "store")
        holder = store.pid
        for op, payload in LIES.values():
            liar = Liar(cell, queue)
            await comes_back(cell, queue, lambda liar=liar, op=op, p=payload: liar.channel.tell(op, p), 15)
            liar.close()
            queue.backoff = Backoff()
        for say in (b"", b"\xff", b"\0" * 4097):
            liar = Liar(cell, queue)
            await comes_back(cell, queue, lambda liar=liar, say=say: liar.channel.sock.send(say), 15)
            liar.close()
            queue.backoff = Backoff()
        for op, payload in ((Op.FULL, b""), (Op.VIOLATION, control.pack_peer(Peer(13, 0, 1, 1)))):
            liar = Liar(cell, queue)

            def flood(liar: Liar = liar, op: Op = op, payload: bytes = payload) -> None:
                async def pour() -> None:
                    with contextlib.suppress(OSError):
                        for _ in range(20 * MESSAGES_PER_MINUTE):
                            if not liar.channel.tell(op, payload):
                                await asyncio.sleep(0)

                cell._loop.create_task(pour())

            await comes_back(cell, queue, flood, 15)
            liar.close()
            queue.backoff = Backoff()
        assert store.pid == holder


async def test_a_compartment_that_does_not_take_its_orders_is_ended(solo: Path) -> None:
    async with running(solo) as cell:
        ledger = unit_of(cell, "ledger")
        os.kill(ledger.pid, signal.SIGSTOP)

        def connect_for_ever() -> None:
            for _ in range(2000):
                end = cell.console_edge(ledger.process.slot)
                if end is not None:
                    end.close()

        await comes_back(cell, ledger, connect_for_ever)


async def test_a_compartment_that_never_starts_is_ended(solo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.3)
    async with running(solo) as cell:
        queue = unit_of(cell, "queue")
        send = Cell._send
        held: list[Op] = []

        def withhold(self: Cell, unit: Unit, op: Op, payload: bytes = b"", descriptor: int | None = None) -> None:
            if unit is queue and op is Op.START and not held:
                held.append(op)
            else:
                send(self, unit, op, payload, descriptor)

        monkeypatch.setattr(Cell, "_send", withhold)
        await comes_back(cell, queue, lambda: os.kill(queue.pid, signal.SIGKILL))
        assert held and queue.restarts == 2


async def test_twins_have_a_limit(solo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TWINS_MAX", 1)
    async with running(solo) as cell:
        twin = cell.add_twin(PROCESSES["mx"])
        with pytest.raises(TemporaryFailure, match="too many twins"):
            cell.add_twin(PROCESSES["mx"])
        await until(lambda: twin.state == "started")
        assert {peer for peer, _ in twin.edges} == {"directory", "queue", "store"}
        cell.end(twin)
        await until(lambda: twin not in cell.units)


# --- as the operator runs it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> Iterator[Live]:
    """An installation of its own, since these tests stop and reload it."""
    with tempfile.TemporaryDirectory(prefix="bh-") as directory:  # short: a socket's path has 108 bytes
        live = Live(Path(directory) / "i", 1)
        try:
            yield live
        finally:
            live.stop()


def serial(live: Live, port: int) -> tuple[int, ssl.SSLSocket]:
    """Serial number of the certificate that a fresh client sees, and its open session."""
    from cryptography import x509

    raw = socket.create_connection((live.endpoints["t0"].address, port), timeout=10)
    session = live.tls.wrap_socket(raw, server_hostname=live.endpoints["t0"].address)
    certificate = session.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number, session


def test_sighup_serves_a_new_certificate_without_a_restart_and_old_sessions_live_on(alone: Live) -> None:
    before = {row["compartment"]: row["pid"] for row in alone.processes()}
    homes = [alone.directory / "cells" / "t0" / gate for gate in ("mx", "submit", "access")]
    port = alone.endpoints["t0"].imaps
    old, session = serial(alone, port)
    assert session.recv(1000).startswith(b"* OK")
    for _ in range(3):  # also twice in a row, before the first was taken in
        tenant = load_installation(alone.directory).tenant("t0")
        write_gates(alone.directory, read_ca(alone.directory), tenant, now=datetime.now(UTC))
        alone.running.process.send_signal(signal.SIGHUP)
    end, new = time.monotonic() + SECONDS, old
    while new == old and time.monotonic() < end:
        new, other = serial(alone, port)
        other.close()
        time.sleep(0.05)
    assert new != old
    while any((home / "gate.pem").exists() for home in homes) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [home for home in homes if (home / "gate.pem").exists()]
    current = {row["compartment"]: row["pid"] for row in alone.processes()}
    assert current == before
    session.sendall(b"a NOOP\r\n")
    assert b"a OK" in session.recv(1000)
    session.close()


def test_a_certificate_that_cannot_be_loaded_leaves_the_old_one_served_and_no_key_behind(alone: Live) -> None:
    port = alone.endpoints["t0"].imaps
    old, session = serial(alone, port)
    session.close()
    path = alone.directory / "tls" / "t0" / "access.pem"
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"no certificate")
    alone.running.process.send_signal(signal.SIGHUP)
    home = alone.directory / "cells" / "t0" / "access" / "gate.pem"
    end, seen = time.monotonic() + 5, False
    while time.monotonic() < end and not (seen and not home.exists()):
        seen = seen or home.exists() or time.monotonic() > end - 4
        time.sleep(0.001)
    assert not home.exists()
    assert serial(alone, port)[0] == old
    path.write_bytes(good)


def test_kill_9_of_a_supervisor_leaves_no_process_and_the_cell_comes_back(alone: Live) -> None:
    rows = alone.processes()
    pids = [row["pid"] for row in rows]
    (supervisor,) = [row["pid"] for row in rows if row["compartment"] == "supervisor"]
    os.kill(supervisor, signal.SIGKILL)
    end = time.monotonic() + SECONDS
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [pid for pid in pids if alive(pid)]
    assert alone.wait_pid("t0", "access", 0) not in pids


def test_sigterm_stops_everything(alone: Live) -> None:
    pids = [row["pid"] for row in alone.processes() if row["pid"]]
    assert len(pids) >= len(PROCESSES)
    alone.running.process.send_signal(signal.SIGTERM)
    assert alone.running.process.wait(SECONDS) == 0
    assert not [pid for pid in pids if alive(pid)]
    alone.stop()


def test_waits_double_up_to_their_longest_and_are_forgotten_after_a_calm_life() -> None:
    backoff = Backoff()
    waits = [backoff.next_delay(0.1) for _ in range(12)]
    assert waits[:3] == [0.05, 0.1, 0.2] and waits[-1] == 10.0 and waits == sorted(waits)
    assert backoff.next_delay(31) == 0.05


def test_an_allowance_is_saved_up_to_a_minute_and_no_further() -> None:
    allowance = Allowance(60)
    assert [allowance.spend(100.0) for _ in range(61)] == [True] * 60 + [False]
    assert allowance.spend(101.0) and not allowance.spend(101.0)
    assert sum(allowance.spend(10_000.0) for _ in range(100)) == 60
