"""A sealed export opened: each account as Maildir, with names, flags, UIDs and unique-ids as they were.

    OUT/ADDRESS/Maildir/            INBOX; the other mailboxes below it as Maildir++ (maildir.py)
               /SHA256SUMS          of every message file; `sha256sum -c` checks it
               /mbox/               with `mbox`: each mailbox as one file as well (mbox.py)
               /mailboxes.json      true names, roles, UIDVALIDITY, UIDNEXT, counts, keywords
               /failures            what did not open, a line each; missing where all did

mailboxes.json is written last: an account that has one of this very export is whole, and is passed over when the
command is run again. Until then an account is written anew from its first message.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bulkhead.boundary.messages.to_store import ExportedRow, MailboxRow, Role
from bulkhead.durable import sync_folder
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.exports import clear
from bulkhead.exports.maildir import (
    MaildirFolder,
    account_directory,
    base_name,
    flag_letters,
    folder_directory,
    letters_for,
)
from bulkhead.exports.mbox import MboxMessage, write_mbox
from bulkhead.exports.sealed import (
    Head,
    PartsPlace,
    RowPage,
    check_account,
    open_new,
    read_head,
    read_limited,
    read_places,
    read_rows,
    write_whole,
)
from bulkhead.exports.sealing import RecoveryKeys
from bulkhead.exports.seeds import Opener, open_seeds
from bulkhead.identifiers import AccountId, TenantId, format_id
from bulkhead.records.message import HEADER_MAX, open_body_pieces, open_header
from bulkhead.records.recovery_file import RecoveryPrivateKey
from bulkhead.wire.imap.flags import FIRST_KEYWORD_BIT, check_keyword
from bulkhead.wire.imap.grammar import CommandError
from bulkhead.wire.imap.mailbox_name import INBOX

SCHEMA = 1
DONE_MAX = 16 << 20  # octets of mailboxes.json
PIECE = 1 << 16
_ROLES = {Role.DRAFTS: "drafts", Role.SENT: "sent", Role.JUNK: "junk", Role.TRASH: "trash", Role.ARCHIVE: "archive"}


@dataclass(frozen=True, slots=True)
class Form:
    """How head and rows of an account are read."""

    head: Callable[[Path, TenantId, RecoveryKeys], Head]
    rows: Callable[[Path, TenantId, RecoveryKeys], Iterator[RowPage]]


SEALED, CLEAR = Form(read_head, read_rows), Form(clear.read_head, clear.read_rows)


@dataclass(slots=True)
class Opened:
    """What became of an account. passed: it was whole before."""

    address: str
    messages: int = 0
    octets: int = 0
    failures: int = 0
    passed: bool = False


@dataclass(slots=True)
class _Mailbox:
    """One mailbox being written."""

    row: MailboxRow
    name: str
    directory: str  # below Maildir; empty: INBOX
    folder: MaildirFolder
    uids: list[str] = field(default_factory=list)  # lines of dovecot-uidlist
    tagged: list[str] = field(default_factory=list)  # lines of keywords.tsv
    listed: list[MboxMessage] = field(default_factory=list)  # with mbox alone
    messages: int = 0


class AccountOpener:
    """Writes one account of a checked export."""

    def __init__(
        self,
        tenant: TenantId,
        partner: RecoveryPrivateKey,
        operator: RecoveryPrivateKey,
        out: Path,
        *,
        mbox: bool = False,
        form: Form = SEALED,
    ) -> None:
        self._tenant, self._partner, self._operator, self._out = tenant, partner, operator, out
        self._mbox, self._form = mbox, form

    def address_of(self, folder: Path) -> str:
        """Whose folder it is. Raises as open."""
        return self._form.head(folder, self._tenant, RecoveryKeys(self._partner, self._operator)).address

    def open(self, folder: Path, sums: str) -> Opened:
        """The account in `folder`, whose sums file has this SHA-256.

        Raises IntegrityError where a file is another than was exported, Refused (`wrong-key`) where the keys open none
        of it, OSError on a full disk.
        """
        check_account(folder, sums)
        keys = RecoveryKeys(self._partner, self._operator)
        head = self._form.head(folder, self._tenant, keys)
        target = self._out / account_directory(head.address)
        done = Opened(head.address)
        seeds = open_seeds(self._tenant, AccountId(head.account), head.keys, self._partner, self._operator)
        if _is_done(target, head, sums, mbox=self._mbox):
            done.passed = True
            return done
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        (target / "mailboxes.json").unlink(missing_ok=True)
        (target / "failures").unlink(missing_ok=True)
        with open_new(target / "SHA256SUMS") as digests:
            writing = _Writing(target, head, Opener(AccountId(head.account), seeds), done, digests, self._mbox)
            writing.write(folder, self._form.rows(folder, self._tenant, keys))
        writing.finish(sums)
        return done


def _is_done(target: Path, head: Head, sums: str, *, mbox: bool) -> bool:
    """Raises ConfigError where another account has the directory."""
    path = target / "mailboxes.json"
    if not path.exists():
        return False
    try:
        found = json.loads(read_limited(path, DONE_MAX))
        account, written = found["account"], found["export"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConfigError(f"{path} is none that this command wrote; name another directory") from None
    if account != format_id("acc", head.account):
        raise ConfigError(f"{target} holds {account}, another account of that address; name another directory")
    return bool(written == sums and (found.get("mbox") is True or not mbox))


class _Writing:
    def __init__(self, target: Path, head: Head, opener: Opener, done: Opened, digests: IO[bytes], mbox: bool) -> None:
        self._target, self._head, self._opener, self._done, self._digests = target, head, opener, done, digests
        self._maildir, self._mbox = target / "Maildir", mbox
        self._keywords = self._read_keywords()
        self._letters = letters_for(sorted(self._keywords))
        self._failures: list[str] = []
        self._mailboxes = self._make_mailboxes()

    def _read_keywords(self) -> dict[int, str]:
        """Names by bit; one that cannot be read keeps its place."""
        names: dict[int, str] = {}
        for row in self._head.keywords:
            name = self._opener.keyword(row) or ""
            try:
                check_keyword(name.encode("ascii", "replace"))
            except CommandError:
                name = f"$unnamed{row.bit}"
            if FIRST_KEYWORD_BIT <= row.bit < 64:
                names[row.bit] = name
        return names

    def _make_mailboxes(self) -> dict[bytes, _Mailbox]:
        made: dict[bytes, _Mailbox] = {}
        taken: set[str] = set()
        for row in self._head.mailboxes:
            name = INBOX if row.role == Role.INBOX else self._opener.folder(row.sealed_name)
            if name is None:
                name = f"unreadable-{row.mailbox.hex()}"
                self._fail(f"mailbox {row.mailbox.hex()}: its name does not open")
            directory = "" if row.role == Role.INBOX else folder_directory(name)
            if directory in taken:
                directory = f"{directory[:160]}%~{row.mailbox.hex()}"
            taken.add(directory)
            path = self._maildir / directory
            made[row.mailbox] = _Mailbox(row, name, directory, MaildirFolder(path))
            if directory:
                open_new(path / "maildirfolder").close()
        return made

    def write(self, folder: Path, pages: Iterator[RowPage]) -> None:
        """Every message."""
        places = read_places(folder / "index")
        with (folder / "parts").open("rb") as parts:
            for page in pages:
                mailbox = self._mailboxes.get(page.mailbox)
                if mailbox is None:
                    self._fail(f"mailbox {page.mailbox.hex()}: {len(page.rows)} messages of a mailbox that is gone")
                    continue
                for row in page.rows:
                    self._write_message(mailbox, row, places.get(row.email), parts)

    def _write_message(self, mailbox: _Mailbox, row: ExportedRow, place: PartsPlace | None, parts: IO[bytes]) -> None:
        name = base_name(row.date, row.uid, row.email, row.size)
        letters = flag_letters(row.flags, self._letters)
        try:
            if place is None:
                raise IntegrityError("it was removed while the export was made")
            pieces = self._plain(row, place, parts)
            digest = mailbox.folder.add(name, letters, row.date, pieces, row.size)
        except (IntegrityError, ValueError) as error:
            self._fail(f"{mailbox.name!r} UID {row.uid}: {error}")
            return
        path = "/".join(part for part in ("Maildir", mailbox.directory, "cur", f"{name}:2,{letters}") if part)
        self._digests.write(f"{digest}  {path}\n".encode("ascii"))
        mailbox.uids.append(f"{row.uid}{self._uidl(mailbox, row)} :{name}\n")
        words = [word for bit, word in self._keywords.items() if row.flags >> bit & 1]
        if words:
            mailbox.tagged.append("\t".join((str(row.uid), *words)) + "\n")
        if self._mbox:
            written = mailbox.folder.path / "cur" / mailbox.folder.file_name(name, letters)
            mailbox.listed.append(MboxMessage(written, row.uid, row.date, row.flags, tuple(words)))
        mailbox.messages += 1
        self._done.messages += 1
        self._done.octets += row.size

    @staticmethod
    def _uidl(mailbox: _Mailbox, row: ExportedRow) -> str:
        """What POP3 programs know the message by: without it they fetch everything again."""
        if mailbox.directory:
            return ""
        return f" P{row.uidl or f'{mailbox.row.uid_validity:08x}{row.uid:08x}'}"

    def _plain(self, row: ExportedRow, place: PartsPlace, parts: IO[bytes]) -> Iterator[bytes]:
        if row.header_size + row.body_size != place.size or row.header_size > HEADER_MAX + PIECE:
            raise IntegrityError("its parts are not as long as its row says")
        key = self._opener.message_key(row)
        parts.seek(place.offset)
        yield open_header(key, self._opener.account, row.email, parts.read(row.header_size))
        yield from open_body_pieces(key, self._opener.account, row.email, _pieces(parts, row.body_size))

    def _fail(self, why: str) -> None:
        self._failures.append(why)
        self._done.failures += 1

    def finish(self, sums: str) -> None:
        """Lists of each folder; then, when all is on the disk, mailboxes.json."""
        subscribed = [name for row in self._head.subscriptions if (name := self._opener.subscription(row)) is not None]
        for mailbox in self._mailboxes.values():
            self._finish_mailbox(mailbox)
        names = sorted({INBOX if name == INBOX else folder_directory(name)[1:] for name in subscribed})
        _write(self._maildir / "subscriptions", [f"{name}\n" for name in names])
        if self._failures:
            _write(self._target / "failures", [f"{_one_line(why)}\n" for why in self._failures])
        os.sync()
        document = {
            "schema": SCHEMA, "address": self._head.address, "account": format_id("acc", self._head.account),
            "export": sums, "messages": self._done.messages, "octets": self._done.octets,
            "failures": self._done.failures, "mbox": self._mbox, "subscriptions": subscribed,
            "keywords": [self._keywords[bit] for bit in sorted(self._keywords)],
            "mailboxes": [_described(mailbox) for mailbox in self._mailboxes.values()],
        }  # fmt: skip
        write_whole(
            self._target / "mailboxes.json", json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"
        )
        sync_folder(self._out_folder)

    @property
    def _out_folder(self) -> Path:
        return self._target.parent

    def _finish_mailbox(self, mailbox: _Mailbox) -> None:
        mailbox.folder.finish()
        row, path = mailbox.row, mailbox.folder.path
        head = f"3 V{row.uid_validity} N{row.uid_next} G{row.mailbox.hex()}\n"
        _write(path / "dovecot-uidlist", [head, *mailbox.uids])
        lines = [f"{at} {self._keywords[bit]}\n" for at, bit in enumerate(self._letters)]
        _write(path / "dovecot-keywords", lines)
        _write(path / "keywords.tsv", mailbox.tagged)
        if self._mbox:
            (self._target / "mbox").mkdir(mode=0o700, exist_ok=True)
            file = self._target / "mbox" / f"{mailbox.directory.removeprefix('.') or INBOX}.mbox"
            if mailbox.directory == f".{INBOX}":  # a mailbox of that name that is not it
                file = file.with_name(f"{row.mailbox.hex()}.mbox")
            write_mbox(file, row.uid_validity, row.uid_next, mailbox.listed)


def _described(mailbox: _Mailbox) -> dict[str, Any]:
    row = mailbox.row
    return {
        "name": mailbox.name, "directory": mailbox.directory or ".", "role": _ROLES.get(row.role),
        "uid_validity": row.uid_validity, "uid_next": row.uid_next, "messages": mailbox.messages,
    }  # fmt: skip


def _pieces(parts: IO[bytes], left: int) -> Iterator[bytes]:
    while left and (piece := parts.read(min(left, PIECE))):
        yield piece
        left -= len(piece)


def _write(path: Path, lines: list[str]) -> None:
    """A file of these lines; none: no file."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    with open_new(path) as stream:
        for line in lines:
            stream.write(line.encode())


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
