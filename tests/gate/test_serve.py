"""Connections on real sockets: how many, from whom, for how long; TLS and its injection; stop and reload."""

import asyncio
import gc
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.gate.cell import (
    DOMAIN,
    HOSTNAMES,
    SECTION,
    Cell,
    Client,
    Test,
    authority,
    client_context,
    run_with,
    settings,
)

from bulkhead.boundary.host import Load
from bulkhead.cli.certificates import issue
from bulkhead.gate.message import worker
from bulkhead.gate.serve import YIELD_STEP, source_key

NAME = HOSTNAMES["mx"]
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(test: Test, compartment: str = "mx", **changes: Any) -> None:
        run_with(test, compartment, ["mx"] if compartment == "mx" else ["submissions", "submission"], **changes)

    return go


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


def reset(client: Client) -> None:
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


# --- how many ---


def test_a_source_over_its_limit_is_told_so_and_let_in_again_when_one_has_left(run: Run) -> None:
    async def test(cell: Cell) -> None:
        clients = [await Client.open(cell.ports["mx"]) for _ in range(3)]
        late = await Client.open(cell.ports["mx"], greet=False)
        assert re.fullmatch(rb"421 4\.3\.2 [^\r]+\r\n", await late.rest())
        await clients[0].expect("QUIT", "221")
        await clients[0].close()
        await until(lambda: cell.service._crowd.count == 2)
        await Client.open(cell.ports["mx"])

    run(test, connections_per_source_max=3)


def test_a_full_gate_leaves_clients_waiting_and_takes_them_when_there_is_room(run: Run) -> None:
    async def test(cell: Cell) -> None:
        clients = [await Client.open(cell.ports["mx"]) for _ in range(3)]
        waiting = asyncio.create_task(Client.open(cell.ports["mx"]))
        await asyncio.sleep(0.2)
        assert not waiting.done() and cell.service._crowd.count == 3
        reset(clients[1])
        await (await asyncio.wait_for(waiting, 60)).expect("NOOP", "250")

    run(test, connections_max=3)


def test_both_listeners_of_a_process_share_one_limit(run: Run) -> None:
    async def test(cell: Cell) -> None:
        clear = await Client.open(cell.ports["submission"])
        secure = await Client.open(cell.ports["submissions"], tls=HOSTNAMES["submit"])
        waiting = asyncio.create_task(Client.open(cell.ports["submission"]))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        reset(clear)
        await asyncio.wait_for(waiting, 60)
        await secure.expect("NOOP", "250")

    run(test, "submit", connections_max=2)


def test_connections_that_end_badly_leave_nothing_behind(run: Run) -> None:
    async def test(cell: Cell) -> None:
        for _ in range(20):
            reset(await Client.open(cell.ports["mx"], greet=False))
            client = await Client.open(cell.ports["mx"])
            await client.send(b"EHLO x\r\nMAIL FROM:<a@b.example>")
            reset(client)
        await until(lambda: cell.service._crowd.count == 0)
        assert cell.service._crowd._sources == {} and not cell.service._listeners[0]._connections

    run(test)


def test_a_listener_out_of_descriptors_accepts_again_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(cell: Cell) -> None:
        listener = cell.service._listeners[0]
        real = listener._sock

        class Starved:
            failures = 1

            def accept(self) -> Any:
                if self.failures:
                    self.failures -= 1
                    raise OSError(24, "Too many open files")
                return real.accept()

            def fileno(self) -> int:
                return real.fileno()

        listener._sock = Starved()
        started = time.monotonic()
        await Client.open(cell.ports["mx"])
        assert time.monotonic() - started > 0.4
        listener._sock = real

    run(test)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_one_source_is_an_ipv4_address_or_an_ipv6_64(source: str, key: str) -> None:
    assert source_key(source) == key


# --- for how long ---


def test_a_silent_client_is_told_421_and_a_busy_one_is_not(run: Run) -> None:
    async def test(cell: Cell) -> None:
        silent, busy = await Client.open(cell.ports["mx"]), await Client.open(cell.ports["mx"])
        started = time.monotonic()
        rest = asyncio.create_task(silent.rest())
        for _ in range(8):
            await asyncio.sleep(0.2)
            await busy.expect("NOOP", "250")
        assert (await rest).startswith(b"421 4.4.2")
        assert time.monotonic() - started < 20

    run(test, idle_seconds=1)


@pytest.mark.parametrize("phase", ["command", "data"])
def test_a_client_that_feeds_single_octets_is_as_good_as_silent(run: Run, phase: str) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        if phase == "data":
            await client.expect("MAIL FROM:<a@b.example>", "250")
            await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
            await client.expect("DATA", "354")
        rest = asyncio.create_task(client.rest())
        started = time.monotonic()
        while not rest.done():
            client.writer.write(b"x\r\n" if phase == "data" else b"x")
            await asyncio.sleep(0.1)
            assert time.monotonic() - started < 20
        assert (await rest).startswith(b"421 4.4.2")

    run(test, idle_seconds=1)


def test_a_slow_but_steady_message_is_taken(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        await client.expect("MAIL FROM:<a@b.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
        await client.expect("DATA", "354")
        for _ in range(20):
            await client.send(b"Subject: slow\r\n" * 10)
            await asyncio.sleep(0.1)
        await client.expect("\r\nbody\r\n.", "250")

    run(test, idle_seconds=1)


def test_time_that_store_takes_is_not_the_clients(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        cell.store_gate.clear()
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        answer = asyncio.create_task(client.deliver("a@b.example", [f"user@{DOMAIN}"], b"Subject: x\r\n\r\n"))
        await cell.store_asked.wait()
        await asyncio.sleep(2.2)
        cell.store_gate.set()
        assert (await answer).startswith("250")
        await client.expect("NOOP", "250")

    run(test, idle_seconds=1)


def test_a_client_that_reads_nothing_is_ended_and_costs_bounded_memory(run: Run) -> None:
    async def test(cell: Cell) -> None:
        sock = socket.create_connection(("127.0.0.1", cell.ports["mx"]))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        connection = None
        sent = 0
        try:
            async with asyncio.timeout(60):
                while True:
                    await loop.sock_sendall(sock, b"EHLO x\r\n" * 1000)
                    sent += 8000
                    connection = next(iter(cell.service._listeners[0]._connections), connection)
                    if connection is not None and connection._transport is not None:
                        assert connection._transport.get_write_buffer_size() < 2 << 20
        except OSError:
            pass
        await until(lambda: cell.service._crowd.count == 0)
        sock.close()

    run(test, idle_seconds=1)


# --- TLS ---


@pytest.mark.parametrize("split", [False, True])
def test_what_is_sent_in_clear_behind_starttls_is_never_obeyed(run: Run, split: bool) -> None:
    async def test(cell: Cell) -> None:
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        injected = b"MAIL FROM:<injected@b.example>\r\n"
        if not split:
            await client.send(b"STARTTLS\r\n" + injected)
            assert (await client.rest()).startswith(b"554 5.5.0")
            return
        await client.send(b"STARTTLS\r\n")
        await client.send(injected)
        rest = await client.rest()
        assert b"250" not in rest and b"554" not in rest[4:]

    run(test)


def test_a_command_that_races_the_reply_to_starttls_is_gone_after_the_handshake(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        await client.expect("MAIL FROM:<a@b.example>", "250")
        await client.expect("RSET", "250")
        await client.start_tls(NAME)
        await client.expect("MAIL FROM:<a@b.example>", "503")  # EHLO of before is forgotten too
        await client.expect("EHLO x", "250")
        await client.expect("STARTTLS", "503")

    run(test)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_no_tls_is_no_session_gives_its_place_back_at_once_and_writes_no_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(cell: Cell) -> None:
        garbage = await Client.open(cell.ports["submissions"], greet=False)
        await garbage.send(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
        rest = await garbage.rest()
        assert b"220" not in rest and b"250" not in rest
        context = client_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", cell.ports["submissions"], ssl=context, server_hostname="imap.kddi.example"
            )
        old = client_context()
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.open_connection(
                "127.0.0.1", cell.ports["submissions"], ssl=old, server_hostname=HOSTNAMES["submit"]
            )
        reset(await Client.open(cell.ports["submissions"], greet=False))
        half = await Client.open(cell.ports["submissions"], greet=False)
        half.writer.write_eof()
        await until(lambda: cell.service._crowd.count == 0)

    run(test, "submit")
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def test_a_handshake_that_does_not_end_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.gate.connection.HANDSHAKE_SECONDS", 0.5)
    monkeypatch.setattr("bulkhead.gate.serve.HANDSHAKE_SECONDS", 0.5)

    async def test(cell: Cell) -> None:
        slow = await Client.open(cell.ports["submissions"], greet=False)
        await slow.send(b"\x16\x03\x01")
        clear = await Client.open(cell.ports["submission"])
        await clear.expect("EHLO x", "250")
        await clear.expect("STARTTLS", "220")
        assert await slow.rest() == b""
        assert await clear.rest() == b""
        await until(lambda: cell.service._crowd.count == 0)

    run(test, "submit")


# --- stop, reload ---


def test_stop_tells_waiting_sessions_421_and_lets_a_delivery_finish(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        idle, mid, busy = [await Client.open(cell.ports["mx"]) for _ in range(3)]
        for client in (mid, busy):
            await client.expect("EHLO x", "250")
            await client.expect("MAIL FROM:<a@b.example>", "250")
            await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
            await client.expect("DATA", "354")
        await mid.send(b"Subject: unfinished\r\n")
        cell.store_gate.clear()
        await busy.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
        await cell.store_asked.wait()
        asyncio.get_running_loop().call_later(0.3, cell.store_gate.set)
        stopping = asyncio.create_task(cell.service.stop())
        assert (await idle.rest()).startswith(b"421 4.3.2")
        assert (await mid.rest()).startswith(b"421 4.3.2")
        assert re.fullmatch(rb"250 [^\r]+\r\n421 4\.3\.2 [^\r]+\r\n", await busy.rest())
        for client in (idle, mid, busy):
            await client.close()
        await stopping
        assert len(cell.deliveries) == 1

    run(test)


def test_stop_ends_whatever_clients_and_store_do(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        stubborn = await Client.open(cell.ports["mx"])
        await stubborn.expect("EHLO x", "250")
        await stubborn.start_tls(NAME)
        waiting = await Client.open(cell.ports["mx"])
        await waiting.expect("EHLO x", "250")
        cell.store_gate.clear()
        answer = asyncio.create_task(waiting.deliver("a@b.example", [f"user@{DOMAIN}"], b"Subject: x\r\n\r\n"))
        await cell.store_asked.wait()
        await cell.service.stop()
        assert (await answer).startswith("421 4.3.2")
        cell.store_gate.set()

    run(test)


def test_a_retiring_worker_accepts_no_more_and_ends_with_its_last_session(run: Run) -> None:
    async def test(cell: Cell) -> None:
        shared = cell.service._listeners[0]._sock.dup()  # as another worker has it
        client = await Client.open(cell.ports["mx"])
        retiring = asyncio.create_task(cell.service.retire(30))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(Client.open(cell.ports["mx"], greet=False))
        await asyncio.sleep(0.1)
        await client.expect("NOOP", "250")
        assert not retiring.done()
        shared.accept()[0].close()  # the late one was left to the others
        (await late).writer.close()
        await client.expect("QUIT", "221")
        await asyncio.wait_for(retiring, 60)

    run(test)


def test_a_retiring_workers_sessions_are_told_to_come_again_when_its_time_is_over(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await Client.open(cell.ports["mx"])
        await asyncio.wait_for(cell.service.retire(0.1), 2)
        await cell.service.stop()
        assert (await client.rest()).startswith(b"421")

    run(test)


def test_a_worker_accepts_no_more_after_its_number_of_sessions_and_says_so(run: Run) -> None:
    told: list[Load] = []

    async def test(cell: Cell) -> None:
        cell.service._crowd._tell = told.append
        clients = [await Client.open(cell.ports["mx"]) for _ in range(3)]
        assert told[-1] == Load(3, 3, 3, full=True) and not told[-3].full
        waiting = asyncio.create_task(Client.open(cell.ports["mx"]))
        for client in clients:
            await client.expect("QUIT", "221")
        await until(lambda: told[-1] == Load(0, 0, 3, full=True))
        assert not waiting.done()
        waiting.cancel()

    run(test, recycle_sessions=3)


def test_workers_that_share_a_socket_leave_clients_to_those_with_fewer(run: Run) -> None:
    async def test(cell: Cell) -> None:
        clients = [await Client.open(cell.ports["mx"]) for _ in range(YIELD_STEP)]
        listener = cell.service._listeners[0]
        other = listener._sock.dup()  # as another worker has it
        loop, taken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(other.fileno(), taken.set)
        late = asyncio.create_task(Client.open(cell.ports["mx"]))
        await taken.wait()  # it sees the client while this worker holds back
        loop.remove_reader(other.fileno())
        other.close()
        await (await late).expect("NOOP", "250")  # nobody else took it
        for client in clients:
            await client.expect("QUIT", "221")
        await until(lambda: cell.service._crowd.count == 1)
        await cell.service.stop()

    run(test, workers=2)


def test_a_strict_worker_has_one_connection(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await Client.open(cell.ports["mx"])
        waiting = asyncio.create_task(Client.open(cell.ports["mx"]))
        await asyncio.sleep(0.1)
        await client.expect("QUIT", "221")
        await asyncio.sleep(0.1)
        assert not waiting.done() and cell.service._crowd.full
        waiting.cancel()

    run(test, mode="strict")


def test_a_new_certificate_and_new_limits_hold_without_a_restart(run: Run) -> None:
    def serial(client: Client) -> int:
        return int(client.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)

    async def test(cell: Cell) -> None:
        old = await Client.open(cell.ports["submissions"], tls=HOSTNAMES["submit"])
        Path("gate.pem").unlink()  # as the supervisor does once it is loaded
        await cell.service.reload(settings(cell))
        same = await Client.open(cell.ports["submissions"], tls=HOSTNAMES["submit"])
        assert serial(same) == serial(old)
        pem = issue(authority(), [HOSTNAMES["submit"]], ["127.0.0.1"], now=datetime.now(UTC))
        Path("gate.pem").write_text(pem)
        await cell.service.reload(settings(cell, message_bytes_max=65536, connections_per_source_max=4))
        new = await Client.open(cell.ports["submissions"], tls=HOSTNAMES["submit"])
        assert serial(new) != serial(old)
        assert "SIZE 65536" in await new.say("EHLO x")
        assert "SIZE 36700160" in await old.say("EHLO x")
        await Client.open(cell.ports["submission"])
        late = await Client.open(cell.ports["submission"], greet=False)
        assert (await late.rest()).startswith(b"421")
        Path("gate.pem").write_text("no PEM")
        with pytest.raises(ssl.SSLError):
            await cell.service.reload(settings(cell))

    run(test, "submit")


# --- size ---


def test_a_message_of_35_megabytes_costs_bounded_memory_and_never_holds_the_loop(run: Run) -> None:
    line = b"q" * 76 + b"\r\n"
    message = b"Subject: big\r\n\r\n" + line * ((35_000_000 - 16) // len(line))

    async def test(cell: Cell) -> None:
        cell.add("user"), cell.add("other")
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        await client.expect("MAIL FROM:<a@b.example>", "250")
        await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
        await client.expect("DATA", "354")
        for at in range(0, len(message), 1 << 18):
            await client.send(message[at : at + (1 << 18)])
        await asyncio.sleep(0.2)
        steps = _Steps()
        await client.send(b".\r\n")
        assert (await client.reply())[0].startswith("250")
        longest = steps.stop()
        assert longest < 0.02, f"one step took {longest * 1000:.0f} ms of CPU"
        assert cell.messages()[0][1].endswith(message)
        assert cell.service._budget._left == 256 << 20

    run(test)


def test_without_a_second_thread_large_messages_are_delivered_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test(cell: Cell) -> None:
        cell.add("user")
        client = await Client.open(cell.ports["mx"])
        await client.expect("EHLO x", "250")
        text = b"Subject: big\r\n\r\n" + b"v" * 500_000 + b"\r\n"
        for _ in range(2):
            assert (await client.deliver("a@b.example", [f"user@{DOMAIN}"], text)).startswith("250")

    worker.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        run(test)
    worker.cache_clear()
    assert caplog.text.count("no second thread") == 1


class _Steps:
    """The longest time on the CPU, of this thread, between two turns of the loop.

    What pytest loaded is kept from the collector meanwhile, as the image keeps what it loaded: a walk over all of it
    takes longer than any step.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        self._loop = asyncio.get_running_loop()
        self._last, self._longest, self._on = time.thread_time(), 0.0, True
        self._turn()

    def _turn(self) -> None:
        now = time.thread_time()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        if self._on:
            self._loop.call_soon(self._turn)

    def stop(self) -> float:
        self._on = False
        gc.unfreeze()
        return self._longest


def test_when_messages_under_way_fill_the_memory_the_next_is_put_off(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("user")
        cell.service._budget._left = 100_000
        first, second = await Client.open(cell.ports["mx"]), await Client.open(cell.ports["mx"])
        for client in (first, second):
            await client.expect("EHLO x", "250")
            await client.expect("MAIL FROM:<a@b.example>", "250")
            await client.expect(f"RCPT TO:<user@{DOMAIN}>", "250")
            await client.expect("DATA", "354")
        text = b"Subject: x\r\n\r\n" + b"w" * 60_000 + b"\r\n"
        await first.send(text)
        await asyncio.sleep(0.1)
        await second.send(text + b".\r\n")
        assert (await second.reply())[0].startswith("452 4.3.0")
        await first.send(b".\r\n")
        assert (await first.reply())[0].startswith("250")
        assert (await second.deliver("a@b.example", [f"user@{DOMAIN}"], text)).startswith("250")
        assert cell.service._budget._left == 100_000

    run(test)


def test_an_idle_tls_connection_costs_less_than_64_kib(run: Run) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def test(cell: Cell) -> None:
        count = 200
        loop, context = asyncio.get_running_loop(), client_context()
        pid = os.fork()
        if pid == 0:  # the clients live elsewhere, so that only our side is measured
            _hold(cell.ports["submissions"], count, context)
        before = resident()
        await until(lambda: cell.service._crowd.count == count)
        await asyncio.sleep(0.5)
        each = (resident() - before) / count
        os.kill(pid, 9)
        await loop.run_in_executor(None, os.waitpid, pid, 0)
        print(f"{each / 1024:.1f} KiB a connection")
        assert each < 64 * 1024

    run(test, "submit", connections_max=512, connections_per_source_max=512)


def _hold(port: int, count: int, context: ssl.SSLContext) -> None:
    try:
        held = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port))
            held.append(context.wrap_socket(sock, server_hostname=HOSTNAMES["submit"]))
            held[-1].recv(100)
        time.sleep(60)
    finally:
        os._exit(0)


def test_the_settings_of_these_tests_are_those_of_a_gate() -> None:
    assert {"connections_max", "connections_per_source_max", "message_bytes_max"} < set(SECTION)
