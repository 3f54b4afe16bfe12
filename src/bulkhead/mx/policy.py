"""What mx decides: local recipients only, room in the mailbox, then one durable delivery for all of them."""

import secrets

from bulkhead.boundary.messages.to_directory import BindingRow
from bulkhead.gate.connection import Connection
from bulkhead.gate.delivery import deliver
from bulkhead.gate.message import MessageText
from bulkhead.gate.recipients import (
    NO_RELAY,
    NO_SUCH_MAILBOX,
    Domestic,
    add_recipients,
    find_recipients,
    refuse_loop,
    trace_of,
)
from bulkhead.gate.serve import source_key
from bulkhead.gate.smtp import Rejection
from bulkhead.identifiers import Address
from bulkhead.wire.sasl import Credentials
from bulkhead.wire.smtp_codes import AUTH_INVALID, Code, reply
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.trace import return_path_field

UNKNOWN_MAX = 50  # recipients that do not exist, in one connection
TOO_MANY_MESSAGES = reply(Code.MAILBOX_BUSY, "4.7.1", "Too many messages from you; try again later")
TOO_MANY_NAMED = reply(Code.MAILBOX_BUSY, "4.7.1", "Too many recipients from you; try again later")
TOO_MANY_UNKNOWN = reply(Code.UNAVAILABLE, "4.7.1", "Too many unknown recipients; closing")


class MxPolicy:
    """One session's decisions."""

    def __init__(self, domestic: Domestic, connection: Connection) -> None:
        self._domestic, self._connection = domestic, connection
        self._rates, self._source = domestic.rates, source_key(connection.source)
        self._unknown = 0  # recipients named in this session that do not exist
        self._name, self._extended = "", False
        self._sender: Address | None = None
        self._size, self._utf8 = 0, False
        self._recipients: dict[bytes, BindingRow] = {}
        self._addresses: list[Address | None] = []

    async def hello(self, name: str, extended: bool) -> None:
        """Any name will do: it is told on, not believed."""
        self._name, self._extended = name, extended

    async def login(self, credentials: Credentials) -> None:
        """Nobody logs in here."""
        raise Rejection(AUTH_INVALID)

    async def mail(self, event: MailFrom) -> None:
        """Any sender may try."""
        self.reset()
        if not self._rates.messages.take(self._source):
            raise Rejection(TOO_MANY_MESSAGES)
        self._sender, self._size = event.reverse_path, event.size or 0
        self._utf8 = event.utf8

    async def recipient(self, event: RcptTo) -> None:
        """Local and open. A source that guesses is sent away, and for the rest of the minute told nothing."""
        if not self._rates.unknown.left(self._source) or not self._rates.recipients.take(self._source):
            raise Rejection(TOO_MANY_NAMED)
        try:
            bindings = await find_recipients(self._domestic, event.address, self._size)
        except Rejection as rejection:
            if rejection.reply is NO_SUCH_MAILBOX:
                self._guessed()
            raise
        if not bindings:
            raise Rejection(NO_RELAY)
        add_recipients(self._recipients, bindings)
        self._addresses.append(event.address)

    def _guessed(self) -> None:
        """Count an unknown recipient. Raises Rejection, which ends the session, past UNKNOWN_MAX."""
        self._unknown += 1
        self._rates.unknown.take(self._source)
        if self._unknown > UNKNOWN_MAX:
            raise Rejection(TOO_MANY_UNKNOWN)

    async def message(self, text: MessageText) -> str:
        """Trace fields on top, then into every mailbox at once."""
        refuse_loop(text.header())
        mail_id = secrets.token_hex(8)
        trace = return_path_field(self._sender) + trace_of(
            self._domestic,
            self._connection,
            hello=self._name,
            extended=self._extended,
            authenticated=False,
            mail_id=mail_id,
            utf8=self._utf8,
            recipient=self._addresses[0] if len(self._addresses) == 1 else None,
        )
        bindings, now = list(self._recipients.values()), int(self._domestic.clock())
        message = await text.join(trace)
        await deliver(self._domestic.exchange, self._domestic.sealer, bindings, message, now, actor="mx")
        return f"Delivered as {mail_id}"

    async def leave(self) -> None:
        """Nothing is held beyond the transaction."""

    def reset(self) -> None:
        """Forget the transaction."""
        self._sender, self._size, self._utf8 = None, 0, False
        self._recipients, self._addresses = {}, []
