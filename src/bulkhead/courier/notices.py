"""Tells subscribers what changed in their addresses: a message into the account's own mailbox, past every forward.

What directory says of it is addresses and no more: whoever has directory writes no mail of its own by this way.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import DropNotice, NoticeKind, NoticeRow, TakeNotices
from bulkhead.courier.attempt import Means
from bulkhead.errors import Error, IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.gate.delivery import deliver
from bulkhead.identifiers import parse_address
from bulkhead.wire.trace import format_date, return_path_field

TAKE_MAX = 16
LOOK_SECONDS = 15.0
PACE_SECONDS = 1.0  # between pages: so fast, and no faster, a lying directory fills mailboxes with notices
CONTAINED = "contained"  # store's word for one mailbox that takes no mail for now
SUBJECTS: Mapping[int, str] = {
    NoticeKind.ALIAS_ADDED: "An address was added to your mailbox",
    NoticeKind.ALIAS_REMOVED: "An address was removed from your mailbox",
    NoticeKind.FORWARD_SET: "Your mail is forwarded",
    NoticeKind.FORWARD_ENDED: "Your mail is no longer forwarded",
}
_SENTENCES: Mapping[int, str] = {
    NoticeKind.ALIAS_ADDED: "Mail to {about} now reaches your mailbox.",
    NoticeKind.ALIAS_REMOVED: "Mail to {about} no longer reaches your mailbox.",
    NoticeKind.FORWARD_SET: "Mail to your mailbox now goes on to: {about}.",
    NoticeKind.FORWARD_ENDED: "Mail to your mailbox is no longer sent on to other addresses.",
}
_log = logging.getLogger("bulkhead.courier")


class NoticeTeller:
    """Looks for notices that wait at directory, and delivers them."""

    def __init__(self, means: Callable[[], Means], clock: Callable[[], float]) -> None:
        self._means, self._clock = means, clock
        self._after = 0  # what was looked at already of what waits: stopped mailboxes do not keep others from theirs

    async def tell_forever(self) -> None:
        """Now and again; what fails waits for the next time."""
        while True:
            try:
                told = await self.tell()
            except Error as error:
                _log.warning("notices to subscribers wait: %s", error.public)
                told = 0
            await asyncio.sleep(PACE_SECONDS if told else LOOK_SECONDS)

    async def tell(self) -> int:
        """Deliver some of what waits; how many wait no more. Raises TemporaryFailure where none can be delivered."""
        means, after, told = self._means(), self._after, 0
        directory, self._after = means.exchange.to("directory"), 0
        page = await directory.call(TakeNotices(TAKE_MAX, after))
        for row in page.rows:
            try:
                await self._deliver(means, row)
            except TemporaryFailure as failure:
                if failure.code != CONTAINED:
                    raise
                continue
            except (Refused, IntegrityError, PeerError) as error:  # full, or directory's word is none: nobody is told
                _log.warning("a notice could not be delivered: %s", error.code)
            await directory.call(DropNotice(Stamp.fresh("courier"), row.number))
            told += 1
        if len(page.rows) == TAKE_MAX:
            self._after = page.rows[-1].number
        return told

    async def _deliver(self, means: Means, row: NoticeRow) -> None:
        now = self._clock()
        message = return_path_field(None) + compose(row, means.manner.name, now)
        ident = hashlib.sha256(b"notice%d %d " % (row.number, row.at) + row.binding.account).digest()[:16]
        await deliver(means.exchange, means.sealer, [row.binding], message, int(now), actor="courier", request_id=ident)


def compose(row: NoticeRow, host: str, now: float) -> bytes:
    """The message (RFC 5322), marked as nobody's (RFC 3834 section 5). Raises PeerError: it is to no address."""
    address, at = parse_address(row.address), datetime.fromtimestamp(min(row.at / 1000, now), UTC)
    sentence = _SENTENCES.get(row.kind, "Something about your addresses changed.").format(about=_addresses(row.about))
    lines = (
        f"From: Mail service <postmaster@{address.domain}>",
        f"To: <{address}>",
        f"Subject: {SUBJECTS.get(row.kind, 'A change of your mailbox')}",
        f"Date: {format_date(datetime.fromtimestamp(now, UTC))}",
        f"Message-ID: <{secrets.token_hex(16)}@{host}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        sentence,
        f"This was done on {at:%Y-%m-%d} at {at:%H:%M} UTC by your provider's staff.",
        "If you did not ask for it, tell your provider.",
        "",
        "お客様のメールアドレスまたは転送の設定が変更されました。お心当たりのない場合は、ご契約の事業者へご連絡ください。",
        "",
    )
    return "\r\n".join(lines).encode()


def _addresses(about: str) -> str:
    """Those of `about`; what is none is not repeated."""
    found = []
    for one in about.split(", "):
        with contextlib.suppress(PeerError):
            found.append(str(parse_address(one)))
    return ", ".join(found) or "other addresses"
