"""One compartment's life after the fork: lock, loop, settings and edges by the control channel, its process.py.

Nothing is read before the lock stands. The order is fixed: drop descriptors, change root, drop uid, restrict, loop.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
from types import ModuleType
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.faults import log_fault
from bulkhead.boundary.happenings import Happening
from bulkhead.boundary.host import Gate, Host, Load, Service
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES, Disk, Image, Process, Reach
from bulkhead.boundary.terms import Channel
from bulkhead.errors import BoundaryViolation, ConfigError
from bulkhead.identifiers import TenantId
from bulkhead.supervisor import control
from bulkhead.supervisor.cell_log import log_plainly
from bulkhead.supervisor.control import ControlChannel, Fork, Op, Peer
from bulkhead.supervisor.lock import MIB, Lock
from bulkhead.supervisor.memfd import read_sealed_memfd
from bulkhead.supervisor.memory import give_back, keep_blocks
from bulkhead.supervisor.sandbox import lock_down, prepare_filter

STOP_SECONDS = 3.0
LOAD_SECONDS = 0.25  # between two words on a gate's load
REST_SECONDS = 2.0  # without a connection, until a gate gives back what the last ones took
BY_SLOT = {process.slot: process for process in PROCESSES.values()}
_log = logging.getLogger("bulkhead.child")


def lock_for(process: Process, fork: Fork, keep: frozenset[int]) -> Lock:
    """What this compartment keeps, from its row of PROCESSES alone."""
    as_root = os.geteuid() == 0
    return Lock(
        root=fork.root,
        keep_fds=keep,
        uid=fork.uid if as_root else None,
        gid=fork.gid if as_root else None,
        files=process.disk is not Disk.EMPTY,
        writable=process.disk is Disk.DATA,
        sockets=frozenset({"dial"}) if process.reach is Reach.DIALS else frozenset(),
        accept=process.reach is Reach.ACCEPTED,
        send_descriptors=process.reach is Reach.DIALS,
        memory_bytes=process.memory_bytes,
        open_files=process.open_files,
        threads=1 + max(process.threads, 1),
        processes_of_uid=max(fork.workers, 1) + 1,  # one that died with its whole cell is counted until init reaps it
        file_bytes=4096 * MIB,
    )


def prepare(process: Process) -> None:
    """What can be made before the fork is made there, so that compartments share its memory."""
    nobody = Fork(process.slot, twin=False, worker=0, incarnation=0, uid=1, gid=1, workers=1, root="/")
    with contextlib.suppress(NotImplementedError):  # a machine without a filter: the lock will report it missing
        prepare_filter(lock_for(process, nobody, frozenset()))


def run_child(fork: Fork, sock: socket.socket, parent: int) -> int:
    """Run one compartment in this fresh fork until it is stopped; its exit status."""
    process = BY_SLOT[fork.slot]
    main = importlib.import_module("bulkhead.drill.twin" if fork.twin else f"bulkhead.{process.name}.process")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        report = lock_down(lock_for(process, fork, frozenset({2, sock.fileno()})), parent=parent)
    except ConfigError as error:
        print(f"{process.name}: {error}", file=sys.stderr, flush=True)
        return 1
    log_plainly(f"{process.name}/{fork.worker}")
    keep_blocks(process.name)
    channel = ControlChannel(sock)
    channel.tell(Op.LOCKED, control.pack_report(report))
    runner = asyncio.Runner(loop_factory=_loop_factory(process))
    with runner:
        return runner.run(Child(process, fork, channel, main).run())


def _loop_factory(process: Process) -> Any:
    if process.image is Image.FRONT:
        import uvloop

        return uvloop.new_event_loop
    return None


class Child:
    """The control channel's side of a compartment."""

    def __init__(self, process: Process, fork: Fork, channel: ControlChannel, main: ModuleType) -> None:
        self._process, self._fork, self._control, self._main = process, fork, channel, main
        self._exchange = Exchange(Channel(process.name, fork.worker, fork.incarnation), self._report, self._lose)
        self._settings: dict[str, Any] = {}
        self._root_keys: list[bytes] = []
        self._listeners: dict[str, socket.socket] = {}
        self._files: dict[str, int] = {}
        self._happenings: asyncio.Queue[Happening] = asyncio.Queue()  # the supervisor bounds it
        self._service: Service | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._status = 0
        self._load = Load()
        self._told = 0.0
        self._telling: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Serve the control channel until STOP or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_stray)
        self._control.sock.setblocking(False)
        loop.add_reader(self._control.fileno(), self._on_control)
        await self._ended.wait()
        loop.remove_reader(self._control.fileno())
        if self._service is not None:
            try:
                await asyncio.wait_for(self._service.stop(), STOP_SECONDS)
            except TimeoutError:
                _log.error("did not stop within %s s", STOP_SECONDS)
            except Exception as error:
                log_fault("fault while stopping", error)
        self._exchange.close()
        return self._status

    def _on_control(self) -> None:
        try:
            while (message := self._control.receive()) is not None:
                self._on_message(*message)
            self._ended.set()
        except BlockingIOError:
            return
        except BoundaryViolation as violation:
            _log.error("control channel: %s", violation.public)
            self._status = 1
            self._ended.set()

    def _on_message(self, op: Op, payload: bytes, descriptor: int | None) -> None:
        if op is Op.EDGE and descriptor is not None:
            peer = control.unpack_peer(payload)
            name = BY_SLOT[peer.slot].name if peer.slot else OPERATOR_CONSOLE
            edge = socket.socket(fileno=descriptor)
            self._exchange.attach(edge, Channel(name, peer.worker, peer.incarnation), peer.generation)
        elif op is Op.SETTINGS and descriptor is not None:
            self._settings = _settings(descriptor)
        elif op is Op.ROOT_KEY and descriptor is not None:
            self._root_keys.append(read_sealed_memfd(descriptor, control.ROOT_KEY_BYTES))
            os.close(descriptor)
        elif op is Op.LISTENER and descriptor is not None:
            self._listeners[control.unpack_name(payload)] = socket.socket(fileno=descriptor)
        elif op is Op.FILE and descriptor is not None:
            name = control.unpack_name(payload)
            if name in self._files:  # not taken yet, and out of date
                os.close(self._files[name])
            self._files[name] = descriptor
        elif op is Op.HAPPENED:
            self._happenings.put_nowait(control.unpack_happening(payload))
        elif op is Op.START:
            self._spawn(self._start())
        elif op is Op.RELOAD and descriptor is not None:
            self._settings = _settings(descriptor)
            self._spawn(self._reload())
        elif op is Op.RETIRE:
            self._spawn(self._retire(control.unpack_seconds(payload)))
        elif op is Op.STOP:
            self._ended.set()
        else:
            raise BoundaryViolation("an unexpected control message")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        _set_log_level(self._settings)
        host = Host(
            channel=self._exchange.me,
            tenant=TenantId(str(self._settings["id"])),
            settings=self._settings,
            exchange=self._exchange,
            listeners=self._listeners,
            root_key=self._root_keys[0] if self._root_keys else None,
            files=self._files,
            tell_load=self._tell_load,
            next_root_key=self._root_keys[1] if len(self._root_keys) > 1 else None,
            happenings=self._happenings,
            taken=lambda number: self._control.tell(Op.TAKEN, control.pack_number(number)),
        )
        try:
            self._service = await self._main.start(host)
        except Exception as error:
            _log.exception("%s cannot start: %s", self._process.name, error)
            self._status = 1
            self._ended.set()
            return
        finally:
            self._root_keys.clear()
            host.root_key = host.next_root_key = None
        gc.collect()
        self._control.tell(Op.STARTED)

    async def _reload(self) -> None:
        """One at a time. RELOADED says that the gate's key may go from its directory, whether it was taken or not."""
        async with self._reloading:
            _set_log_level(self._settings)
            if self._service is not None:
                try:
                    await self._service.reload(self._settings)
                except Exception as error:
                    _log.exception("%s keeps its old settings: %s", self._process.name, error)
            self._control.tell(Op.RELOADED)

    async def _retire(self, seconds: int) -> None:
        """Accept no more, and end with the last session; the rest is told to come again."""
        if isinstance(self._service, Gate):
            try:
                await self._service.retire(seconds)
            except Exception as error:
                log_fault("fault while retiring", error)
        self._ended.set()

    def _tell_load(self, load: Load) -> None:
        """Tell the supervisor, not more often than it wants to hear."""
        self._load = load
        loop = asyncio.get_running_loop()
        if self._resting is not None:
            self._resting.cancel()
        self._resting = None if load.connections else loop.call_later(REST_SECONDS, self._rest)
        if self._telling is None:
            self._telling = loop.call_at(max(loop.time(), self._told + LOAD_SECONDS), self._flush_load)

    def _rest(self) -> None:
        """Nobody waits for a gate without a connection: the moment to look for garbage and to give memory back."""
        gc.collect()
        give_back()

    def _flush_load(self) -> None:
        self._telling, self._told = None, asyncio.get_running_loop().time()
        load = self._load
        payload = control.pack_load(control.Load(load.connections, load.sessions, load.begun))
        self._control.tell(Op.FULL if load.full else Op.LOAD, payload)

    def _lose(self, peer: Channel, generation: int) -> None:
        """An edge has ended, and nobody broke a rule: where the peer lives, there will be another."""
        if not self._ended.is_set() and peer.compartment in PROCESSES:
            slot = PROCESSES[peer.compartment].slot
            self._control.tell(Op.LOST, control.pack_peer(Peer(slot, peer.worker, peer.incarnation, generation)))

    def _report(self, peer: Channel, generation: int, violation: BoundaryViolation) -> None:
        slot = PROCESSES[peer.compartment].slot if peer.compartment in PROCESSES else 0
        self._control.tell(Op.VIOLATION, control.pack_peer(Peer(slot, peer.worker, peer.incarnation, generation)))


def _set_log_level(settings: dict[str, Any]) -> None:
    logging.getLogger().setLevel(str(settings["log"]["level"]).upper())


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that left a callback or a task nobody awaits, without its text, which may hold a value."""
    error = context.get("exception")
    if error is None:
        _log.error("%s", context.get("message"))
    else:
        log_fault(str(context.get("message")), error)


def _settings(descriptor: int) -> dict[str, Any]:
    try:
        settings = json.loads(read_sealed_memfd(descriptor, control.SETTINGS_MAX))
    finally:
        os.close(descriptor)
    if not isinstance(settings, dict):
        raise BoundaryViolation("settings that are no table")
    return settings
