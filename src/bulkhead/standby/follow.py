"""What the standby's host does all the time: apply what lies in the place, say which segments it has, grant leases."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bulkhead.errors import Error, IntegrityError, Refused
from bulkhead.records.backup import PrivateKeys
from bulkhead.records.lease import StandbyKeys
from bulkhead.records.standby import WHOLE, Lead
from bulkhead.standby.apply import Applier, Progress, segments_of
from bulkhead.standby.place import Place, StreamFolder
from bulkhead.standby.promise import Promises

POLL_SECONDS = 0.05
HAVE_SECONDS = 30.0
_log = logging.getLogger("bulkhead.standby")


class Follower:
    """One tenant's standby. home: of a compartment. folder: where it keeps how far it is, and its promises.

    keep_keys: takes (compartment, its sealed keys). private: both recovery keys, in a promotion. A stream that is not
    sealed to the standby's key is only checked, and lies there until then.
    """

    def __init__(
        self,
        place: Place,
        compartments: Iterable[str],
        keys: StandbyKeys,
        home: Callable[[str], Path],
        folder: Path,
        keep_keys: Callable[[str, bytes], None],
        private: PrivateKeys | None = None,
    ) -> None:
        self.place, self.keys, self._home, self.folder, self._keep_keys = place, keys, home, folder, keep_keys
        self.compartments, self._private = tuple(compartments), private
        self.promises = Promises(folder)
        self._appliers: dict[str, Applier] = {}
        self._leads: dict[str, Lead] = {}
        self._checked: dict[str, Progress] = {}
        self._answered = b""
        self._said_have = 0.0
        self.problems: dict[str, str] = {}

    def step(self) -> int:
        """One round; the pieces taken. What goes wrong with one compartment is in `problems`, and others go on."""
        self._grant()
        taken = 0
        for compartment in self.compartments:
            try:
                taken += self.take(compartment)
                self.problems.pop(compartment, None)
            except (Error, OSError) as error:
                if self.problems.get(compartment) != str(error):
                    _log.error("%s: %s", compartment, error)
                self.problems[compartment] = str(error)
            self._grant()
        if taken and all(self.progress(compartment).ended for compartment in self.compartments):
            self.promises.release()
        if time.monotonic() > self._said_have:
            self._say_have()
        return taken

    def progress(self, compartment: str) -> Progress:
        """How far a compartment's directory is."""
        return Progress.load(self.folder / f"{compartment}.json")

    def take(self, compartment: str) -> int:
        """Take what there is of a compartment's newest stream; the pieces taken. Raises IntegrityError."""
        streams = self.place.streams(compartment)
        if not streams:
            return 0
        folder = self.place.stream(compartment, streams[-1])
        lead = self._leads.get(compartment)
        if lead is None or lead.head.backup != streams[-1]:
            lead = self._leads[compartment] = self._genuine(folder)
        key = self._key_of(lead)
        taken, whole = self._check(folder, lead) if key is None else self._apply(folder, lead, key)
        for old in streams[:-1] if whole else ():
            _remove(self.place, compartment, old)
        return taken

    def _genuine(self, folder: StreamFolder) -> Lead:
        lead = folder.lead()
        if lead.head.tenant != self.place.tenant:
            raise IntegrityError(f"{folder.path} is a stream of another tenant")
        if lead.head.notes.get("term", 0) < self.promises.term:
            raise IntegrityError(f"{folder.path} is of a primary that was superseded")
        return lead

    def _key_of(self, lead: Lead) -> bytes | None:
        if lead.sealed[2]:
            return lead.warm_key(self.keys.opening)
        return None if self._private is None else lead.key(self._private)

    def _apply(self, folder: StreamFolder, lead: Lead, key: bytes) -> tuple[int, bool]:
        compartment = folder.compartment
        applier = self._appliers.get(compartment)
        if applier is None or applier.folder.path != folder.path:
            state = self.folder / f"{compartment}.json"
            keep = partial(self._keep_keys, compartment)
            applier = self._appliers[compartment] = Applier(self._home(compartment), state, folder, lead, key, keep)
        return applier.run(), applier.progress.whole

    def _check(self, folder: StreamFolder, lead: Lead) -> tuple[int, bool]:
        """Without a key: that the chain is unbroken."""
        seen = self._checked.get(folder.compartment)
        if seen is None or seen.stream != folder.path.name:
            seen = self._checked[folder.compartment] = Progress(folder.path.name, digest=lead.digest.hex())
        before = seen.number
        for number, flags, digest, _ in folder.after(before, bytes.fromhex(seen.digest)):
            seen.number, seen.digest, seen.whole = number, digest.hex(), seen.whole or bool(flags & WHOLE)
        return seen.number - before, seen.whole

    def _grant(self) -> None:
        ask = self.place.read("ask")
        if not ask or ask == self._answered:
            return
        self._answered = ask
        try:
            grant = self.promises.grant(self.keys.signing, ask)
        except (Refused, IntegrityError) as error:
            _log.warning("no lease: %s", error.public)
            return
        self.place.write("grant", hashlib.sha256(ask).digest() + grant)

    def _say_have(self) -> None:
        self._said_have = time.monotonic() + HAVE_SECONDS
        progress = self.progress("store")
        if progress.whole:
            have = {"lineage": progress.lineage, "segments": segments_of(self._home("store"))}
            self.place.write("have", json.dumps(have).encode("ascii"))


def _remove(place: Place, compartment: str, stream: str) -> None:
    """Remove a stream that a newer one has replaced, its lead first."""
    folder = place.stream(compartment, stream).path
    (folder / "lead").unlink(missing_ok=True)
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()
