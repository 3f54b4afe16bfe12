"""A client that files: appends, flags, copies, moves, expunges; makes, renames and removes mailboxes; and keeps count.

It alone changes what lies under its root, and removes from INBOX where that is its own too. After every lost reply, and
from time to time, it looks at everything and compares; each look is also a QRESYNC of what it knew before.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from tests.durability.filing_model import INBOX, Folder, Item, State, difference
from tests.durability.imap_session import Answer, Imap, Line, Literal, NotIn, fetched, set_of, uids_of, vanished
from tests.live import Live, Mailbox

LOOK_EVERY = 25  # commands
SETTLE_SECONDS = 1.0  # after a lost reply: what a dead gate had asked is done by then, or never
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Work", "private")
LARGE = 120_000  # octets: so that segments fill, and are worth compacting
CROWD = 60  # messages of a client, above which it rather expunges
NAMES = 5


class Filer:
    """One client over all its connections. `faults` is what must never be; `acknowledged` counts commands by kind."""

    def __init__(self, live: Live, box: Mailbox, root: str, *, inbox: bool, seed: int) -> None:
        self.box, self.root, self.inbox = box, root, inbox
        self.acknowledged: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()  # letters
        self.undecided = 0  # replies that never came, or came as NO
        self.landed = 0  # of these, changes that had been made
        self.refusals: list[tuple[float, str]] = []
        self.faults: list[str] = []
        self.checks = 0
        self._chance, self._tokens = random.Random(seed), count()
        self._seen: dict[tuple[str, int, int], str] = {}  # mailbox, UIDVALIDITY, UID: the one message it ever meant
        self._mirror: dict[tuple[str, int], tuple[int, dict[int, frozenset[str]]]] = {}
        self._own = f"{box.address}/{root}/"
        self._since = 0
        with Imap(live, box) as imap:
            for name in (root, f"{root}/keep", f"{root}/kept"):
                assert imap.command(b"CREATE " + name.encode()).status == "OK"
            self.state = self._look(imap)
        self._allowed: list[State] = []  # what may be there, where that is open

    # --- looking ------------------------------------------------------------------------------------------------------

    def _must(self, answer: Answer) -> None:
        """A look that is refused is taken again, on a new session."""
        if answer.status != "OK":
            self.refusals.append((time.monotonic(), f"look: {answer.text!r}"))
            raise NotIn(answer.text.decode())

    def _names(self, imap: Imap) -> list[str]:
        answer = imap.command(f'LIST "" "{self.root}*"'.encode())
        self._must(answer)
        names = [
            line.text.split(b'"/"')[1].strip().strip(b'"').decode() for line in answer.lines if b"LIST" in line.text
        ]
        return [*names, *([INBOX] if self.inbox else [])]

    def _look(self, imap: Imap) -> State:
        """Everything, read anew."""
        folders = {name: self._read(imap, name) for name in self._names(imap)}
        answer = imap.command(f'LSUB "" "{self.root}*"'.encode())
        self._must(answer)
        return State(folders, frozenset(_listed(answer, b"* LSUB")))

    def _read(self, imap: Imap, name: str) -> Folder:
        known = next((key for key in self._mirror if key[0] == name), ("", 0))
        since, _ = self._mirror.get(known, (0, {}))
        asked = f" (QRESYNC ({known[1]} {since}))" if since else ""
        selected = imap.command(f"SELECT {name}{asked}".encode())
        self._must(selected)
        imap.selected = name
        folder = Folder(
            selected.number("UIDVALIDITY"), {}, selected.number("UIDNEXT"), selected.number("HIGHESTMODSEQ"),
            letters=name == INBOX,
        )  # fmt: skip
        answer = imap.command(b"UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        self._must(answer)
        for found in filter(None, map(fetched, answer.lines)):
            if not found.literal:
                continue  # flags that another session set: told again with the message
            token = found.literal.decode().partition(":")[2].strip()
            folder.items[found.uid] = Item(token, found.flags or frozenset(), found.modseq)
            self._remember(name, folder.validity, found.uid, token)
        self._compare_views(name, folder, selected.lines if known[1] == folder.validity else None)
        self._mirror = {key: value for key, value in self._mirror.items() if key[0] != name} | {
            (name, folder.validity): (folder.highest, {uid: item.flags for uid, item in folder.items.items()})
        }
        return folder

    def _compare_views(self, name: str, folder: Folder, told: list[Line] | None) -> None:
        """What QRESYNC told, put on what was known, is what is there."""
        if told is None:
            return
        self.checks += 1
        view = dict(self._mirror[name, folder.validity][1])
        for line in told:
            for uid in vanished(line):
                view.pop(uid, None)
            if (found := fetched(line)) and found.flags is not None:
                view[found.uid] = found.flags
        full = {uid: item.flags for uid, item in folder.items.items() if uid < folder.next or uid in view}
        if view != full:
            self.faults.append(f"{self._own} {name}: QRESYNC gives {view.items() ^ full.items()} otherwise")

    def _remember(self, name: str, validity: int, uid: int, token: str) -> None:
        before = self._seen.setdefault((name, validity, uid), token)
        if before != token:
            self.faults.append(f"{self._own} {name}: UID {uid} of {validity} was {before} and is {token}")

    def _resolve(self, imap: Imap) -> None:
        """Look, and find out which of the states that may be is there."""
        lost = len(self._allowed) > 1
        if lost:
            self.undecided += 1
            time.sleep(SETTLE_SECONDS)
        found = self._look(imap)
        reasons = []
        for expected in self._allowed or [self.state]:
            reason = difference(expected, found, self._own)
            if not reason:
                self.removed.update(expected.gone)
                self.landed += lost and expected is self._allowed[0]
                break
            reasons.append(reason)
        else:
            self.faults.append(f"{self._own} {time.monotonic():.1f}: {'; or '.join(reasons)}")
        self.state, self._allowed, self._since = found, [], 0

    # --- turns --------------------------------------------------------------------------------------------------------

    def turn(self, imap: Imap) -> None:
        """One command, or one look."""
        self._since += 1
        if self._allowed or not imap.selected or self._since > LOOK_EVERY:
            self._resolve(imap)
            return
        crowded = sum(len(folder.items) for folder in self.state.folders.values()) > CROWD
        kinds: list[tuple[Callable[[Imap], None], int]] = [
            (self._append, 2 if crowded else 8), (self._store, 6), (self._store_unchanged, 2), (self._copy, 2),
            (self._move, 6), (self._expunge, 10 if crowded else 3), (self._create, 2), (self._rename, 3),
            (self._delete, 1), (self._subscribe, 1), (self._rename_inbox, 1 if self.inbox else 0),
        ]  # fmt: skip
        (act,) = self._chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        act(imap)

    def finish(self, live: Live) -> None:
        """The last look, on a session of its own."""
        with Imap(live, self.box) as imap:
            self._resolve(imap)

    def _ask(self, imap: Imap, kind: str, after: State, *parts: bytes | Literal) -> Answer | None:
        """A command that leads to `after`. None where it was refused; Ended where the reply never came."""
        self._allowed = [after, self.state]
        answer = imap.command(*parts)
        if answer.status == "OK":
            self.acknowledged[kind] += 1
            self.removed.update(after.gone)
            after.gone = ()
            self.state, self._allowed = after, []
            return answer
        self.refusals.append((time.monotonic(), f"{kind}: {answer.text!r}"))
        if answer.status == "BAD":
            self.faults.append(f"{self._own} {kind}: {answer.text!r}")
        return None

    def _select(self, imap: Imap, name: str) -> bool:
        if imap.selected == name:
            return True
        imap.selected = ""
        answer = imap.command(f"SELECT {name}".encode())
        if answer.status != "OK":
            self.refusals.append((time.monotonic(), f"select: {answer.text!r}"))
            return False
        imap.selected = name
        return True

    def _unselect(self, imap: Imap) -> None:
        if imap.selected in self.state.folders:
            imap.command(b"UNSELECT")
        imap.selected = "-"

    def _filled(self) -> list[str]:
        return [name for name, folder in self.state.folders.items() if folder.items]

    def _some(self, name: str, most: int) -> list[int]:
        uids = list(self.state.folders[name].items)
        return sorted(self._chance.sample(uids, self._chance.randint(1, min(most, len(uids)))))

    def _place(self) -> str:
        return self._chance.choice([name for name in self.state.folders if name != INBOX])

    def _settle(self, name: str, uids: list[int]) -> None:
        """UIDs that were told for what is fresh in a mailbox."""
        folder = self.state.folders[name]
        if len(uids) != len(folder.fresh) or uids != sorted(uids) or (uids and uids[0] < folder.next):
            self.faults.append(f"{self._own} {name}: told {uids} for {folder.fresh} where UIDNEXT was {folder.next}")
            return
        for uid, item in zip(uids, folder.fresh, strict=True):
            folder.items[uid] = item
            self._remember(name, folder.validity, uid, item.token)
        folder.next, folder.fresh = max([folder.next, *(uid + 1 for uid in uids)]), ()

    # --- messages -----------------------------------------------------------------------------------------------------

    def _append(self, imap: Imap) -> None:
        name, after = self._place(), self.state.copy()
        parts: list[bytes | Literal] = [f"APPEND {name}".encode()]
        items = []
        for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
            item = Item(f"{self._own}{next(self._tokens)}", frozenset(self._chance.sample(FLAGS, 2)))
            size = LARGE if self._chance.random() < 0.15 else 300
            parts += [f" ({' '.join(item.flags)}) ".encode(), Literal(_text(item.token, size))]
            items.append(item)
        after.folders[name].fresh = tuple(items)
        if answer := self._ask(imap, "append" if len(items) == 1 else "multiappend", after, *parts):
            self._settle(name, _told(answer, "APPENDUID"))

    def _flagged(self, name: str, uids: list[int], sign: str, flags: list[str]) -> State:
        after = self.state.copy()
        items = after.folders[name].items
        for uid in uids:
            old = items[uid]
            new = {"+": old.flags | set(flags), "-": old.flags - set(flags), "": frozenset(flags)}[sign]
            items[uid] = Item(old.token, frozenset(new), old.modseq)
        return after

    def _note_modseqs(self, name: str, answer: Answer) -> None:
        items = self.state.folders[name].items
        for found in filter(None, map(fetched, answer.lines)):
            old = items.get(found.uid)
            if old is not None and found.modseq:
                if found.modseq < old.modseq:
                    self.faults.append(f"{self._own} {name}: MODSEQ of {found.uid} {old.modseq} to {found.modseq}")
                items[found.uid] = Item(old.token, old.flags, found.modseq)

    def _store(self, imap: Imap, *, unchanged: bool = False) -> None:
        names = self._filled()
        if not names or not self._select(imap, name := self._chance.choice(names)):
            return
        uids, sign = self._some(name, 8), self._chance.choice("+-") if self._chance.random() < 0.8 else ""
        flags = self._chance.sample(FLAGS, self._chance.randint(1, 3))
        condition, kind = "", "store"
        if unchanged:
            uids = [uid for uid in uids if self.state.folders[name].items[uid].modseq]
            if not uids:
                return
            condition = f" (UNCHANGEDSINCE {max(self.state.folders[name].items[uid].modseq for uid in uids)})"
            kind = "store unchangedsince"
        command = b"UID STORE " + set_of(uids) + f"{condition} {sign}FLAGS.SILENT ({' '.join(flags)})".encode()
        if answer := self._ask(imap, kind, self._flagged(name, uids, sign, flags), command):
            if answer.code("MODIFIED"):
                self.faults.append(f"{self._own} {name}: {answer.text!r} to {command!r}, and nobody else changes it")
            self._note_modseqs(name, answer)

    def _store_unchanged(self, imap: Imap) -> None:
        self._store(imap, unchanged=True)

    def _copy(self, imap: Imap) -> None:
        names = [name for name in self._filled() if name != INBOX]
        if not names or not self._select(imap, name := self._chance.choice(names)):
            return
        items = self.state.folders[name].items
        uids = [uid for uid in self._some(name, 4) if items[uid].token.startswith(self._own)]
        if not uids:
            return
        target, after = self._place(), self.state.copy()
        after.folders[target].fresh = tuple(Item(items[uid].token, items[uid].flags) for uid in uids)
        if answer := self._ask(imap, "copy", after, b"UID COPY " + set_of(uids) + f" {target}".encode()):
            self._settle(target, _told(answer, "COPYUID"))

    def _move(self, imap: Imap) -> None:
        names = self._filled()
        if not names or not self._select(imap, name := self._chance.choice(names)):
            return
        uids, target, after = self._some(name, 12), self._place(), self.state.copy()
        if target == name:
            return
        items = [after.folders[name].items.pop(uid) for uid in uids]
        after.folders[target].fresh = tuple(Item(item.token, item.flags) for item in items)
        if answer := self._ask(imap, "move", after, b"UID MOVE " + set_of(uids) + f" {target}".encode()):
            self._settle(target, _told(answer, "COPYUID"))

    def _expunge(self, imap: Imap) -> None:
        names = self._filled()
        if not names or not self._select(imap, name := self._chance.choice(names)):
            return
        uids = self._some(name, 20)
        command = b"UID STORE " + set_of(uids) + b" +FLAGS.SILENT (\\Deleted)"
        answer = self._ask(imap, "store", self._flagged(name, uids, "+", ["\\Deleted"]), command)
        if answer is None:
            return
        self._note_modseqs(name, answer)
        only = self._chance.random() < 0.5
        doomed = [uid for uid, item in self.state.folders[name].items.items() if "\\Deleted" in item.flags]
        doomed = uids if only else doomed
        after = self.state.copy()
        tokens = [after.folders[name].items.pop(uid).token for uid in doomed]
        after.gone = tuple(token for token in tokens if not token.startswith(self._own))
        command = b"UID EXPUNGE " + set_of(uids) if only else b"EXPUNGE"
        if (answer := self._ask(imap, "uid expunge" if only else "expunge", after, command)) is not None:
            told = [uid for line in answer.lines for uid in vanished(line)]
            if sorted(told) != sorted(doomed):
                self.faults.append(f"{self._own} {name}: {command!r} told {told}, not {doomed}")

    # --- mailboxes ----------------------------------------------------------------------------------------------------

    def _free(self) -> str:
        names = [f"{self.root}/x{number}" for number in range(NAMES)]
        return next((name for name in self._chance.sample(names, NAMES) if name not in self.state.folders), "")

    def _tops(self) -> list[str]:
        return [name for name in self.state.folders if name.startswith(f"{self.root}/x") and name.count("/") == 1]

    def _create(self, imap: Imap) -> None:
        name = self._free()
        if self._chance.random() < 0.5 and (tops := self._tops()):
            name = f"{self._chance.choice(tops)}/y{self._chance.randrange(3)}"
        if name and name not in self.state.folders:
            after = self.state.copy()
            after.folders[name] = Folder()
            if self._ask(imap, "create", after, b"CREATE " + name.encode()):
                self._allowed = [self.state]  # look at what UIDVALIDITY it got

    def _delete(self, imap: Imap) -> None:
        leaves = [name for name in self.state.folders if f"{self.root}/x" in name]
        leaves = [name for name in leaves if not any(other.startswith(f"{name}/") for other in self.state.folders)]
        if leaves:
            name, after = self._chance.choice(leaves), self.state.copy()
            tokens = [item.token for item in after.folders.pop(name).items.values()]
            after.gone = tuple(token for token in tokens if not token.startswith(self._own))
            self._unselect(imap)
            self._ask(imap, "delete", after, b"DELETE " + name.encode())

    def _rename(self, imap: Imap) -> None:
        tops, free = self._tops(), self._free()
        if tops and free:
            top = self._chance.choice(tops)
            after = self.state.copy()
            for name in list(after.folders):
                if name == top or name.startswith(f"{top}/"):
                    after.folders[free + name.removeprefix(top)] = after.folders.pop(name)
            self._unselect(imap)
            if self._ask(imap, "rename", after, f"RENAME {top} {free}".encode()):
                self._since = LOOK_EVERY

    def _rename_inbox(self, imap: Imap) -> None:
        free = self._free()
        if free:
            after = self.state.copy()
            inbox = after.folders[INBOX]
            after.folders[free] = Folder(
                fresh=tuple(Item(item.token, item.flags) for item in inbox.items.values()), letters=True
            )
            inbox.items.clear()
            self._unselect(imap)
            if self._ask(imap, "rename inbox", after, f"RENAME {INBOX} {free}".encode()):
                self._allowed = [self.state]

    def _subscribe(self, imap: Imap) -> None:
        name, after = self._chance.choice((f"{self.root}/keep", f"{self.root}/kept")), self.state.copy()
        kind = "unsubscribe" if name in after.subscribed else "subscribe"
        after.subscribed = after.subscribed ^ {name}
        self._ask(imap, kind, after, f"{kind.upper()} {name}".encode())


def _told(answer: Answer, code: str) -> list[int]:
    """The new UIDs in APPENDUID or COPYUID; none where the code is missing."""
    words = answer.code(code)
    return list(uids_of(words[-1])) if words else []


def _listed(answer: Answer, kind: bytes) -> list[str]:
    """The names in such responses."""
    lines = [line.text for line in answer.lines if line.text.startswith(kind)]
    return [text.split(b'"/"')[1].strip().strip(b'"').decode() for text in lines]


def _text(token: str, size: int) -> bytes:
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return f"From: a@elsewhere.example\r\nSubject: {token}\r\n\r\n".encode() + line * (size // len(line) + 1)
