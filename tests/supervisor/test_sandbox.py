"""The lock as a compartment lives under it, from root and from an ordinary user; each trap of the design once."""

import argparse  # noqa: F401 - loaded before any fork, like all below: under the lock nothing can be imported
import asyncio
import asyncio.sslproto
import concurrent.futures.thread  # noqa: F401
import ctypes
import encodings.idna
import encodings.punycode
import json
import os
import resource
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import stringprep  # noqa: F401
import sys
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from tests.forked import ORDINARY_UID, OWN_UID, in_fork

from bulkhead.errors import ConfigError
from bulkhead.records.credential import StretchParameters
from bulkhead.records.stretch import stretch
from bulkhead.supervisor import landlock
from bulkhead.supervisor.sandbox import Lock, LockReport, Mechanism, Outcome, lock_down
from bulkhead.supervisor.syscalls import syscall

COMPARTMENT_UID = OWN_UID + 1
IS_ROOT = os.geteuid() == 0
STARTS = [
    pytest.param(
        "root",
        marks=pytest.mark.skipif(not IS_ROOT, reason="only root locks as root does"),
    ),
    "user",
]


@pytest.fixture
def room():
    """A directory that any user can reach; compartments' own directories are made in it."""
    path = Path(tempfile.mkdtemp(prefix="bulkhead-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=STARTS)
def start(request):
    return request.param


def lock_for(room: Path, start: str, *keep: int, **changes) -> Lock:
    own = room / "own"
    own.mkdir(mode=0o700, exist_ok=True)
    uid = COMPARTMENT_UID if start == "root" else None
    if IS_ROOT:
        os.chown(own, uid or ORDINARY_UID, uid or ORDINARY_UID)
    return Lock(root=str(own), keep_fds=frozenset(keep), uid=uid, gid=uid, **changes)


def locked(lock: Lock, function, start: str):
    """What `function` returns under the lock."""

    def child(out: int):
        lock_down(replace(lock, keep_fds=lock.keep_fds | {out}))
        return function()

    return in_fork(child, user=start == "user")


def report_of(lock: Lock, start: str) -> LockReport:
    found = in_fork(
        lambda out: lock_down(replace(lock, keep_fds=lock.keep_fds | {out})).as_dict(), user=start == "user"
    )
    return LockReport.from_dict(found)


def error_of(function) -> str:
    try:
        function()
    except OSError as error:
        return type(error).__name__
    return "succeeded"


def needs_namespaces(report: LockReport) -> None:
    if report.outcome(Mechanism.NAMESPACE) is not Outcome.APPLIED:
        pytest.skip("user namespaces are refused on this host")


def test_every_mechanism_is_reported_and_applied_from_root(room):
    if not IS_ROOT:
        pytest.skip("only root locks as root does")
    report = report_of(lock_for(room, "root"), "root")
    assert [step.mechanism for step in report.steps] == list(Mechanism)
    expected = Outcome.APPLIED if landlock.kernel_abi() >= 6 else Outcome.PARTIAL
    for step in report.steps:
        assert step.outcome is (expected if step.mechanism is Mechanism.LANDLOCK else Outcome.APPLIED), step


def test_an_ordinary_user_misses_its_own_uid_and_is_told(room):
    report = report_of(lock_for(room, "user"), "user")
    assert report.outcome(Mechanism.UID) is Outcome.MISSING
    assert report.outcome(Mechanism.SECCOMP) is Outcome.APPLIED
    needs_namespaces(report)
    assert report.outcome(Mechanism.CHROOT) is Outcome.APPLIED


def test_a_mechanism_left_out_is_told(room, start):
    for mechanism in Mechanism:
        lock = lock_for(room, start, mechanisms=frozenset(Mechanism) - {mechanism})
        assert report_of(lock, start).outcome(mechanism) is Outcome.MISSING


def test_the_report_survives_json(room, start):
    report = report_of(lock_for(room, start), start)
    assert LockReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report


def test_a_process_with_a_second_thread_is_not_locked(room, start):
    def child(out: int):
        end = threading.Event()
        threading.Thread(target=end.wait, daemon=True).start()
        try:
            lock_down(lock_for(room, start, out))
        except ValueError as error:
            return str(error)
        finally:
            end.set()

    lock_for(room, start)
    assert "first thread" in in_fork(child)


def test_root_without_a_uid_is_our_bug(room):
    if not IS_ROOT:
        pytest.skip("only root locks as root does")
    with pytest.raises(AssertionError, match="ValueError: started as root: the lock needs a uid"):
        in_fork(lambda out: lock_down(Lock(root=str(room), keep_fds=frozenset({out}))).as_dict())
    with pytest.raises(ValueError, match="root"):
        Lock(root=str(room), keep_fds=frozenset(), uid=0, gid=1)
    with pytest.raises(ValueError, match="duty"):
        Lock(root=str(room), keep_fds=frozenset(), sockets=frozenset({"listen"}))


def test_a_missing_directory_says_which_and_what_to_do(room, start):
    def child(out: int):
        try:
            lock_down(replace(lock_for(room, start, out, 1, 2), root=str(room / "nowhere")))
        except ConfigError as error:
            return str(error)

    lock_for(room, start)
    message = in_fork(child, user=start == "user")
    assert "nowhere" in message
    assert "check that" in message


def test_only_kept_descriptors_stay_and_the_standard_ones_become_null(room, start):
    kept, lost = os.pipe()

    def look():
        low = [os.fstat(fd).st_rdev == os.makedev(1, 3) for fd in (0, 1, 2)]
        return low, error_of(lambda: os.fstat(lost)), error_of(lambda: os.fstat(kept))

    try:
        assert locked(lock_for(room, start, kept), look, start) == [[True] * 3, "OSError", "succeeded"]
    finally:
        os.close(kept)
        os.close(lost)


def test_nothing_is_dumpable_no_privilege_can_be_gained_and_no_core_is_written(room, start):
    def look():
        dumpable = syscall("prctl", 3, 0, 0, 0, 0)
        no_new_privileges = syscall("prctl", 39, 0, 0, 0, 0)
        return dumpable, no_new_privileges, resource.getrlimit(resource.RLIMIT_CORE), os.getsid(0) == os.getpid()

    lock = lock_for(room, start, mechanisms=frozenset(Mechanism) - {Mechanism.SECCOMP})
    assert locked(lock, look, start) == [0, 1, [0, 0], True]


def test_no_capability_and_no_group_is_left(room, start):
    def look():
        data = ctypes.create_string_buffer(24)
        syscall("capget", b"\x22\x05\x08\x20\0\0\0\0", data)
        return any(data.raw), os.getgroups() if start == "root" else []

    lock = lock_for(room, start, mechanisms=frozenset(Mechanism) - {Mechanism.SECCOMP})
    assert locked(lock, look, start) == [False, []]


def test_a_new_file_is_for_its_owner_alone(room, start):
    def write():
        Path("/new").write_bytes(b"x")
        return Path("/new").stat().st_mode & 0o777

    assert locked(lock_for(room, start, files=True, writable=True), write, start) == 0o600


def sqlite_round_trip(path: str) -> list[object]:
    database = sqlite3.connect(path)
    mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE t(x)")
    with database:
        database.executemany("INSERT INTO t VALUES (?)", [(bytes(1000),)] * 2000)
    count = database.execute("SELECT count(*) FROM t").fetchone()[0]
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("VACUUM")
    database.close()
    return [mode, count]


def test_sqlite_with_wal_and_full_works_under_the_lock(room, start):
    lock = lock_for(room, start, files=True, writable=True)
    assert locked(lock, lambda: sqlite_round_trip("/a.db"), start) == ["wal", 2000]


def test_below_a_0700_parent_sqlite_opens_its_own_file_only_by_the_changed_root(room):
    if not IS_ROOT:
        pytest.skip("only root locks as root does")
    room.chmod(0o700)
    lock = lock_for(room, "root", files=True, writable=True)
    assert locked(lock, lambda: sqlite_round_trip("/a.db"), "root") == ["wal", 2000]
    unchanged = replace(lock, mechanisms=frozenset(Mechanism) - {Mechanism.CHROOT})
    with pytest.raises(AssertionError, match="unable to open database file"):
        locked(unchanged, lambda: sqlite_round_trip(lock.root + "/b.db"), "root")


def test_segments_can_be_written_synced_renamed_listed_and_removed(room, start):
    def work():
        Path("/segments").mkdir()
        descriptor = os.open("/segments/new", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.posix_fallocate(descriptor, 0, 8192)
        os.pwrite(descriptor, b"x" * 4096, 0)
        os.fdatasync(descriptor)
        os.ftruncate(descriptor, 4096)
        os.close(descriptor)
        Path("/segments/new").rename("/1")
        directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        names = sorted(entry.name for entry in Path("/").iterdir())
        Path("/1").unlink()
        return names

    assert locked(lock_for(room, start, files=True, writable=True), work, start) == ["1", "segments"]


def test_a_reader_cannot_write_and_one_without_files_cannot_open(room, start):
    lock = lock_for(room, start, files=True)
    (room / "own" / "pem").write_bytes(b"pem")
    (room / "own" / "pem").chmod(0o444)

    def try_both():
        return error_of(lambda: Path("/pem").read_bytes()), error_of(lambda: Path("/new").write_bytes(b""))

    assert locked(lock, try_both, start) == ["succeeded", "PermissionError"]
    assert locked(replace(lock, files=False), try_both, start) == ["PermissionError", "PermissionError"]


def test_a_late_import_fails(room, start):
    assert "colorsys" not in sys.modules

    def late():
        try:
            import colorsys  # noqa: F401
        except ImportError as error:
            return type(error).__name__
        return "imported"

    assert locked(lock_for(room, start, files=True, writable=True), late, start) == "ModuleNotFoundError"


def test_credentials_of_a_socketpair_name_its_maker_not_the_peer(room, start):
    ours, theirs = socket.socketpair()

    def ask():
        pid = int.from_bytes(theirs.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        return pid, os.getpid()

    with ours, theirs:
        named, child = locked(lock_for(room, start, theirs.fileno()), ask, start)
    assert named == os.getpid() != child


def test_abort_and_signals_to_oneself_work_and_to_the_parent_do_not(room, start):
    def signals():
        os.kill(os.getpid(), 0)
        return error_of(lambda: os.kill(os.getppid(), 0))

    assert locked(lock_for(room, start), signals, start) == "PermissionError"
    with pytest.raises(AssertionError, match=f"status -{int(signal.SIGABRT)}"):
        locked(lock_for(room, start), os.abort, start)


def hash_password(_: object = None) -> int:
    return len(stretch(b"password", bytes(16), StretchParameters()).tight)


def test_asyncio_hashes_in_threads_and_writes_streams_under_the_lock(room, start):
    async def main() -> list[object]:
        left, right = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=left)
        _, other = await asyncio.open_connection(sock=right)
        other.writelines([b"x" * 100_000] * 20)  # asyncio from 3.12 would use sendmsg here
        read = await asyncio.wait_for(reader.readexactly(2_000_000), 5)
        loop = asyncio.get_running_loop()
        hashes = await asyncio.gather(*(loop.run_in_executor(None, hash_password) for _ in range(4)))
        writer.close()
        other.close()
        return [len(read), hashes, len(AESGCM(bytes(16)).encrypt(bytes(12), b"x", None))]

    assert locked(lock_for(room, start), lambda: asyncio.run(main()), start) == [2_000_000, [32] * 4, 17]
    assert locked(lock_for(room, start), lambda: asyncio.selector_events._HAS_SENDMSG, start) is False


def make_pem(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o444)


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_gate_serves_tls_on_an_inherited_listener_with_a_loop_made_after_the_lock(room, start, factory):
    listener = socket.create_server(("127.0.0.1", 0))
    lock = lock_for(room, start, listener.fileno(), files=True, accept=True)
    make_pem(room / "own" / "pem")

    async def serve() -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/pem")
        served = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            served.set()

        server = await asyncio.start_server(answer, sock=listener, ssl=context)
        await asyncio.wait_for(served.wait(), 10)
        await asyncio.sleep(0.05)
        server.close()
        return "served"

    def client() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(socket.create_connection(listener.getsockname(), timeout=10)) as stream:
            stream.sendall(b"hello\n")
            os._exit(0 if stream.recv(10) == b"hello\n" else 1)

    pid = os.fork()
    if pid == 0:
        try:
            client()
        finally:
            os._exit(2)
    with listener:
        assert locked(lock, lambda: factory().run_until_complete(serve()), start) == "served"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def io_uring_descriptors_of_a_loop(lock: Lock, start: str) -> int:
    """Open io_uring descriptors of a process that made a uvloop after `lock`, counted from outside (as root)."""
    ready_read, ready_write = os.pipe()
    end_read, end_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            lock_down(replace(lock, keep_fds=frozenset({ready_write, end_read})))
            loop = uvloop.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            os.write(ready_write, b".")
            os.read(end_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.read(ready_read, 1)
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    os.close(end_write)
    os.waitpid(pid, 0)
    os.close(ready_read)
    os.close(end_read)
    assert any("eventpoll" in link for link in links)
    return sum("io_uring" in link for link in links)


def test_a_uvloop_made_under_the_lock_has_no_io_uring(room):
    if not IS_ROOT:
        pytest.skip("only root locks as root does")
    assert io_uring_descriptors_of_a_loop(lock_for(room, "root"), "root") == 0


def test_a_compartment_dies_with_its_parent(room, start):
    lock = lock_for(room, start)
    read_end, write_end = os.pipe()
    parent = os.fork()
    if parent == 0:
        ready_read, ready_write = os.pipe()
        me = os.getpid()
        if os.fork() == 0:
            try:
                if start == "user":
                    from tests.forked import become_ordinary_user

                    become_ordinary_user()
                lock_down(replace(lock, keep_fds=frozenset({write_end, ready_write})), parent=me)
                os.write(ready_write, b".")
                time.sleep(60)
            finally:
                os._exit(1)
        os.close(write_end)
        os.read(ready_read, 1)
        os._exit(0)
    os.close(write_end)
    os.waitpid(parent, 0)
    assert select.select([read_end], [], [], 5)[0], "it outlived its parent"
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_a_parent_lost_before_the_lock_is_noticed(room, start):
    lock = lock_for(room, start)
    with pytest.raises(AssertionError, match=f"status -{int(signal.SIGKILL)}"):
        in_fork(
            lambda out: lock_down(replace(lock, keep_fds=frozenset({out})), parent=999_999).as_dict(),
            user=start == "user",
        )


def test_the_dialer_connects_and_hands_over_but_does_not_listen(room, start):
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    ours, theirs = socket.socketpair()

    def dial():
        made = socket.create_connection(address, timeout=5)
        socket.send_fds(theirs, [b"x"], [made.fileno()])
        with socket.socket() as other:
            return error_of(lambda: other.bind(("127.0.0.1", 0)))

    lock = lock_for(room, start, theirs.fileno(), sockets=frozenset({"dial"}), send_descriptors=True)
    with listener, ours, theirs:
        assert locked(lock, dial, start) == "PermissionError"
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=descriptors[0]) as connected:
            assert connected.getpeername() == address


@pytest.mark.parametrize("abi", range(1, landlock.NEWEST_ABI + 1))
def test_a_plan_asks_for_no_right_that_its_abi_does_not_know(abi):
    bits = {1: 13, 2: 14, 3: 15}.get(abi, 15 if abi == 4 else 16)
    for duties in ({"read": True, "write": True}, {"read": True, "write": False}, {"read": False, "write": False}):
        plan = landlock.plan(abi, dial=False, **duties)
        assert plan.fs == (1 << bits) - 1
        assert plan.below_root & ~plan.fs == 0
        assert bool(plan.net) == (abi >= 4)
        assert bool(plan.scopes) == (abi >= 6)
        assert bool(plan.lacking) == (abi < 6)
        assert bool(plan.below_root & landlock.WRITE) == duties["write"]
    assert landlock.plan(abi, read=False, write=False, dial=True).net in {0, landlock.NET_BIND_TCP}


@pytest.mark.parametrize("abi", range(landlock.NEWEST_ABI + 1))
def test_each_landlock_abi_keeps_what_it_can_and_tells_the_rest(room, abi):
    if landlock.kernel_abi() < abi:
        pytest.skip(f"the kernel has Landlock ABI {landlock.kernel_abi()}")
    (room / "foreign").write_bytes(b"x")
    (room / "foreign").chmod(0o644)
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0bulkhead-test-{os.getpid()}-{abi}")
    abstract.listen()
    address, name = listener.getsockname(), abstract.getsockname()
    lock = lock_for(
        room, "user", files=True, writable=True, landlock_abi=abi,
        mechanisms=frozenset({Mechanism.LANDLOCK, Mechanism.DESCRIPTORS}),
    )  # fmt: skip

    def reach():
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
            return [
                error_of(lambda: Path(lock.root, "own").write_bytes(b"x")),
                error_of((room / "foreign").read_bytes),
                error_of(lambda: tcp.connect(address)),
                error_of(lambda: unix.connect(name)),
                error_of(lambda: os.kill(os.getppid(), 0)),
            ]

    refused = "PermissionError"
    with listener, abstract:
        found = locked(lock, reach, "user")
    # The parent is root where the tests are: then the signal is refused even without a scope.
    assert found == [
        "succeeded",
        refused if abi >= 1 else "succeeded",
        refused if abi >= 4 else "succeeded",
        refused if abi >= 6 else "succeeded",
        refused if abi >= 6 or IS_ROOT else "succeeded",
    ]
    outcome = report_of(lock, "user").outcome(Mechanism.LANDLOCK)
    assert outcome is (Outcome.MISSING if abi < 1 else Outcome.PARTIAL if abi < 6 else Outcome.APPLIED)


def test_idna_is_loaded_before_the_lock_because_names_are_encoded_under_it(room, start):
    assert encodings.idna.__name__
    assert locked(lock_for(room, start), lambda: "例え.jp".encode("idna").decode(), start) == "xn--r8jz45g.jp"


def test_where_user_namespaces_are_refused_the_report_says_what_is_missing_and_the_rest_stands(room):
    lock = lock_for(room, "user", files=True)
    (room / "foreign").write_bytes(b"x")
    (room / "foreign").chmod(0o644)

    def child(out: int):
        uid = os.geteuid()
        try:  # a namespace in which no further one can be made stands for a host that refuses them
            syscall("unshare", 0x10000000)
            Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (uid, uid))
            Path("/proc/sys/user/max_user_namespaces").write_bytes(b"0")
        except OSError:
            return None
        report = lock_down(replace(lock, keep_fds=frozenset({out}))).as_dict()
        return report, error_of((room / "foreign").read_bytes)

    answer = in_fork(child, user=True)
    if answer is None:
        pytest.skip("user namespaces are refused on this host already")
    report, reading = LockReport.from_dict(answer[0]), answer[1]
    missing = {step.mechanism for step in report.steps if step.outcome is Outcome.MISSING}
    assert missing == {Mechanism.NAMESPACE, Mechanism.CHROOT, Mechanism.UID}
    assert report.outcome(Mechanism.LIMITS) is Outcome.PARTIAL
    assert all(step.detail for step in report.steps if step.mechanism in missing)
    assert reading == "PermissionError"
