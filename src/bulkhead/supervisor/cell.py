"""The cell supervisor: starts one tenant's images and compartments, gives them their edges, restarts what dies.

It parses nothing but fixed control messages and imports only the standard library and its own code. What it starts
stands in PROCESSES, what it connects in PEERS.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from bulkhead.boundary.peers import PEERS, between
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES, Disk, Image, Process, compartment_uid
from bulkhead.config.load import Installation, Tenant
from bulkhead.config.narrow import narrow
from bulkhead.errors import BoundaryViolation, ConfigError, Refused, TemporaryFailure
from bulkhead.supervisor import control, crew, layout
from bulkhead.supervisor.cell_log import CellLog
from bulkhead.supervisor.control import Child, ControlChannel, Fork, Op
from bulkhead.supervisor.custody import Custody
from bulkhead.supervisor.edges import NAME_OF_SLOT, Edges, charge
from bulkhead.supervisor.happenings import LEDGER, Happenings
from bulkhead.supervisor.image_lock import ImageTerms
from bulkhead.supervisor.launch import launch
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.memfd import sealed_memfd
from bulkhead.supervisor.staff import Staff
from bulkhead.supervisor.unit import ImageProcess, Unit

__all__ = ["NAME_OF_SLOT", "Cell", "ImageProcess", "Unit", "edge_count"]

_log = logging.getLogger("bulkhead.cell")


MESSAGES_AT_ONCE = 64  # of one process, before the others have their turn
START_SECONDS = 120.0  # from the fork to STARTED
TWINS_MAX = 32


class Cell:
    """One tenant's processes. `on_change` is called whenever a unit's state changed."""

    def __init__(
        self, installation: Installation, tenant: Tenant, listeners: dict[str, socket.socket], *, restarts: bool = True
    ) -> None:
        self.installation, self.tenant = installation, tenant
        self.layout = Layout(installation.directory.resolve(), tenant.id)
        self.restarting = restarts
        self.stopping = False
        self.on_change: Callable[[], None] = lambda: None
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._images = {image: ImageProcess(image) for image in Image}
        self._uid_base = installation.settings.integer("uid_base")
        self._incarnations: Counter[tuple[int, int]] = Counter()  # of slot and worker: none is ever given twice
        self.units: list[Unit] = []
        self._happenings = Happenings(self.units, self._send)
        self._edges = Edges(self.units, self._send, self.end, self._happenings.reported, restarts=restarts)
        self.staff = Staff(tenant.settings, self.units, self._send, self.fork, self.end)
        self.units += self.staff.first_units()
        self._log = CellLog(self.layout.log, tenant.id, json=_as_json(installation))

    # --- starting ---

    def start(self) -> None:
        """Prepare the directories and execute the images; compartments follow as the images report ready."""
        for process in PROCESSES.values():
            layout.prepare_home(self.layout, process, self._uid_base, self.tenant.slot)
        for image in self._images.values():
            self._execute(image)
        if self.restarting:
            self.staff.watch()

    @property
    def ready(self) -> bool:
        """Whether every compartment has started, and every gate as many workers as it should have."""
        holders = (unit for unit in self.units if not self.staff.is_gate(unit))
        return self.staff.complete and all(unit.state == "started" for unit in holders)

    def _execute(self, image: ImageProcess) -> None:
        terms = ImageTerms.of(image.image, self.layout, self._uid_base, self.tenant.slot)
        log = self._log.pipe(image.image.value)
        try:
            image.popen, image.channel = launch(terms, log)
        finally:
            os.close(log)
        image.ready, image.born = False, time.monotonic()
        image.channel.sock.setblocking(False)
        self._loop.add_reader(image.channel.fileno(), self._on_image, image)

    def _on_image(self, image: ImageProcess) -> None:
        channel = image.channel
        if channel is None:
            return
        try:
            while (message := channel.receive()) is not None:
                self._on_image_message(image, *message)
            self._image_died(image)
        except BlockingIOError:
            return
        except BoundaryViolation as violation:
            _log.error("image %s: %s", image.image.value, violation.public)
            self._kill(image)

    def _on_image_message(self, image: ImageProcess, op: Op, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        if op is Op.IMAGE_READY:
            image.report, image.ready = control.unpack_report(payload), True
            for unit in self.units:
                if unit.process.image is image.image:
                    self.fork(unit)
            return
        if op not in {Op.FORKED, Op.EXITED}:
            raise BoundaryViolation("an unexpected control message", detail=op.name)
        child = control.unpack_child(payload)
        for unit in self.units:
            if (unit.process.slot, unit.worker, unit.incarnation) == (child.slot, child.worker, child.incarnation):
                if op is Op.FORKED:
                    unit.pid = child.pid
                else:
                    self._unit_died(unit, child.status)

    def _kill(self, image: ImageProcess) -> None:
        if image.popen is not None:
            image.popen.kill()

    def _image_died(self, image: ImageProcess) -> None:
        if image.channel is None or image.popen is None:
            return
        self._loop.remove_reader(image.channel.fileno())
        image.channel.close()
        image.channel, image.ready = None, False
        image.popen.kill()
        status = image.popen.wait()
        for unit in list(self.units):
            if unit.process.image is image.image and unit.state != "stopped":
                unit.why = unit.why or "its image ended"
                self._unit_died(unit, -signal.SIGKILL, refork=False)
        if self.stopping or not self.restarting:
            return
        image.restarts += 1
        delay = image.backoff.next_delay(time.monotonic() - image.born)
        _log.error("image %s died (%s); again in %.2f s", image.image.value, status, delay)
        self._loop.call_later(delay, lambda: None if self.stopping else self._execute(image))

    # --- units ---

    def fork(self, unit: Unit) -> None:
        """Have the unit's image fork its next incarnation."""
        image = self._images[unit.process.image]
        if self.stopping or image.channel is None or not image.ready or unit.state != "stopped":
            return
        ours, theirs = control.control_pair()
        ours.setblocking(False)
        unit.channel, unit.state = ControlChannel(ours), "forking"
        self._incarnations[unit.process.slot, unit.worker] += 1
        unit.begin(self._incarnations[unit.process.slot, unit.worker], time.monotonic())
        uid = self._uid_of(unit.process)
        fork = Fork(
            unit.process.slot, unit.twin, unit.worker, unit.incarnation, uid,
            uid if os.geteuid() == 0 else os.getegid(), unit.workers, str(self.layout.home(unit.process.name)),
        )  # fmt: skip
        self._loop.add_reader(ours.fileno(), self._on_unit, unit, unit.channel)
        if not image.channel.send(Op.FORK, control.pack_fork(fork), theirs.fileno()):
            self._kill(image)
        theirs.close()
        self._loop.call_later(START_SECONDS, self._end_late, unit, unit.incarnation)

    def _end_late(self, unit: Unit, incarnation: int) -> None:
        if unit.incarnation == incarnation and unit.state in {"forking", "locked"}:
            _log.error("%s did not start within %s s", unit.name, START_SECONDS)
            self.end(unit, "did not start")

    def _on_unit(self, unit: Unit, channel: ControlChannel) -> None:
        try:
            for _ in range(MESSAGES_AT_ONCE):
                if unit.channel is not channel:
                    return
                message = channel.receive()
                if message is None:  # its end is closed, or it sent nothing as a message: either way it is of no use
                    self._forget_channel(unit)
                    self.end(unit)
                    return
                self._on_unit_message(unit, *message)
        except BlockingIOError:
            return
        except (BoundaryViolation, ConfigError, OSError) as error:
            _log.error("%s: %s", unit.name, error)
            self._forget_channel(unit)
            self.end(unit, "broke the rules of its control channel")

    def _on_unit_message(self, unit: Unit, op: Op, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        if op is not Op.VIOLATION:
            charge(unit)
        if op is Op.LOCKED and unit.state == "forking":
            unit.report = control.unpack_report(payload)
            unit.state = "locked"
            self._equip(unit)
        elif op is Op.STARTED and unit.state == "locked":
            unit.state = "started"
            if unit.stale:
                self._renew(unit)
            self._take_pem(unit.process)
            self.staff.tend(unit.process)
            if unit.process.name == LEDGER and not unit.twin:
                self._happenings.tell(unit)
            if self.ready:
                self._happenings.began(self.units)
        elif op is Op.VIOLATION:
            self._edges.on_violation(unit, control.unpack_peer(payload))
        elif op is Op.RELOADED and unit.reloading:
            unit.reloading -= 1
            self._take_pem(unit.process)
        elif op in {Op.FULL, Op.LOAD} and self.staff.is_gate(unit):
            self.staff.on_load(unit, control.unpack_load(payload), full=op is Op.FULL)
        elif op is Op.TAKEN and unit.process.name == LEDGER and not unit.twin:
            self._happenings.taken(control.unpack_number(payload))
        elif op is Op.LOST:
            self._edges.on_lost(unit, control.unpack_peer(payload))
        else:
            raise BoundaryViolation("an unexpected control message", detail=op.name)
        self.on_change()

    def _take_pem(self, process: Process) -> None:
        """Remove a gate's key from its directory once no worker of it is still to load it."""
        late = (u.state == "locked" or u.reloading for u in self.units if u.process is process and not u.twin)
        if process.certificate and not any(late):
            layout.take_pem(self.layout, process)

    def _equip(self, unit: Unit) -> None:
        """Settings, key, listeners and edges for a unit that is locked; then it starts."""
        self._send_content(unit, Op.SETTINGS, self._settings_of(unit))
        if unit.process.disk is Disk.DATA and not unit.twin:
            for root in Custody(self.layout, self.tenant).read(unit.process.name):
                self._send_content(unit, Op.ROOT_KEY, root)
        if not unit.twin:
            for name in unit.process.listeners:
                if name in self._listeners:
                    self._send(unit, Op.LISTENER, control.pack_name(name), self._listeners[name].fileno())
            if unit.process.certificate:
                layout.place_pem(self.layout, unit.process, self._uid_base, self.tenant.slot)
            self._send_files(unit)
        self._edges.connect_all(unit)
        self._send(unit, Op.START)

    def _send_files(self, unit: Unit) -> None:
        """What it reads of the installation, where that is there. Whoever replaces such a file writes a new one."""
        for name in unit.process.reads:
            path = self.layout.shared(name)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.error("%s: %s; %s does without it", path, error.strerror, unit.name)
                continue
            try:
                self._send(unit, Op.FILE, control.pack_name(name), descriptor)
            finally:
                os.close(descriptor)

    def _settings_of(self, unit: Unit) -> bytes:
        return json.dumps(narrow(self.installation, self.tenant, unit.process.name)).encode()

    def _send(self, unit: Unit, op: Op, payload: bytes = b"", descriptor: int | None = None) -> None:
        """Send a control message; a unit that does not take it would miss an edge or an order, and is ended."""
        if unit.channel is not None and not unit.channel.send(op, payload, descriptor):
            _log.error("%s does not take its control messages", unit.name)
            self.end(unit, "took no control messages")

    def _send_content(self, unit: Unit, op: Op, content: bytes) -> None:
        descriptor = sealed_memfd(content)
        try:
            self._send(unit, op, b"", descriptor)
        finally:
            os.close(descriptor)

    def end(self, unit: Unit, why: str = "") -> None:
        """Have a unit killed by its image, which alone knows that the pid is still that process."""
        unit.why = unit.why or why
        image = self._images[unit.process.image]
        if image.channel is not None and unit.state != "stopped":
            child = Child(unit.process.slot, unit.worker, unit.incarnation, 0, 0)
            if not image.channel.send(Op.KILL, control.pack_child(child)):
                self._kill(image)

    def evict(self, slot: int, worker: int | None = None) -> int:
        """End every process of a compartment, or one worker, whatever it does; each is begun afresh. How many.

        Raises Refused where there is none.
        """
        units = [unit for unit in self.units if unit.process.slot == slot and not unit.twin]
        units = [unit for unit in units if worker in (None, unit.worker)]
        if not units:
            raise Refused("no such compartment")
        ended = [unit for unit in units if unit.state != "stopped"]
        for unit in ended:
            self.end(unit)
        return len(ended)

    def _forget_channel(self, unit: Unit) -> None:
        if unit.channel is not None:
            self._loop.remove_reader(unit.channel.fileno())
            unit.channel.close()
            unit.channel = None

    def _unit_died(self, unit: Unit, status: int, *, refork: bool = True) -> None:
        self._forget_channel(unit)
        unit.state, unit.pid = "stopped", 0
        unit.edges.clear()
        unit.reloading = 0
        self._take_pem(unit.process)
        self.on_change()
        if unit.twin or unit.retiring:
            self.units.remove(unit)
            self.staff.tend(unit.process)
            return
        if self.stopping or not self.restarting:
            return
        unit.restarts += 1
        delay = unit.backoff.next_delay(time.monotonic() - unit.born)
        _log.error("%s died (%s); again in %.2f s", unit.name, status, delay)
        self._happenings.died(unit, status)
        if refork:
            self._loop.call_later(delay, self.fork, unit)

    # --- the command line's road ---

    def console_edge(self, slot: int) -> socket.socket | None:
        """One end of a fresh edge to the named compartment; None when it is not running or takes no console."""
        unit = next((u for u in self.units if u.process.slot == slot and not u.twin), None)
        if unit is None or unit.channel is None or unit.state != "started":
            return None
        if between(OPERATOR_CONSOLE, unit.process.name) is None:
            return None
        return self._edges.console(unit)

    @property
    def consoles(self) -> int:
        """The incarnation and generation of the newest console edge."""
        return self._edges.consoles

    def add_twin(self, process: Process) -> Unit:
        """A unit that runs the drill's acts behind the same lock and edges as `process`; it is never restarted."""
        if sum(unit.twin for unit in self.units) >= TWINS_MAX:
            raise TemporaryFailure("too many twins are running")
        worker = max(u.worker for u in self.units if u.process is process) + 1
        unit = Unit(process, worker, worker + 1, twin=True)
        self.units.append(unit)
        self.fork(unit)
        return unit

    def twin_stream(self, unit: Unit) -> tuple[int, socket.socket]:
        """A byte stream to a twin: the twin gets its end as a listener named `drill`."""
        ours, theirs = socket.socketpair()
        self._send(unit, Op.LISTENER, control.pack_name("drill"), theirs.fileno())
        theirs.close()
        return unit.pid, ours

    def reload(self, installation: Installation) -> None:
        """Hand new settings to every compartment, and new PEMs to the gates. Nothing restarts."""
        self.installation = installation
        self.tenant = installation.tenant(self.tenant.id)
        self.staff.apply(self.tenant.settings)
        self._log.json = _as_json(installation)
        for unit in self.units:
            if unit.state == "started" and unit.channel is not None and not unit.twin:
                self._renew(unit)
            unit.stale = unit.state == "locked" and not unit.twin  # it has the old ones, and takes these once started
        for gate in crew.GATES:
            self.staff.tend(gate)

    def _renew(self, unit: Unit) -> None:
        if unit.process.certificate:
            layout.place_pem(self.layout, unit.process, self._uid_base, self.tenant.slot)
        unit.stale = False
        unit.reloading += 1
        self._send_files(unit)
        self._send_content(unit, Op.RELOAD, self._settings_of(unit))

    async def stop(self, seconds: float = 4.0) -> None:
        """Stop everything: gates first, then holders; what does not stop in time is killed."""
        self.stopping = True
        self.staff.halt()
        deadline = time.monotonic() + seconds
        for image in (Image.FRONT, Image.VAULT):
            units = [u for u in self.units if u.process.image is image]
            for unit in units:
                if unit.channel is not None:
                    unit.channel.send(Op.STOP)
            while any(u.pid for u in units) and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        for process in self._images.values():
            if process.channel is not None:
                self._loop.remove_reader(process.channel.fileno())
                process.channel.close()
                process.channel = None
            if process.popen is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(0.5)
                process.popen.kill()
                process.popen.wait()
        self._log.close()

    def status(self) -> list[dict[str, Any]]:
        """One row per process, for `bulkhead status`."""
        return [{"tenant": self.tenant.id, "uid": self._uid_of(unit.process), **unit.as_row()} for unit in self.units]

    def _uid_of(self, process: Process) -> int:
        return compartment_uid(self._uid_base, self.tenant.slot, process) if os.geteuid() == 0 else os.geteuid()

    def image_locks(self) -> dict[str, Any]:
        """What became of the images' locks, by name."""
        return {name.value: image.report.as_dict() for name, image in self._images.items() if image.report is not None}

    def image_pids(self) -> dict[str, int]:
        """The images' pids by name."""
        return {name.value: image.popen.pid for name, image in self._images.items() if image.popen is not None}


def _as_json(installation: Installation) -> bool:
    return installation.settings.text("log.format") == "json"


def edge_count() -> int:
    """How many edges a cell with one worker each has, consoles aside."""
    return sum(1 for peering in PEERS if peering.client != OPERATOR_CONSOLE)
