"""Tells a subscriber of delivery into mailboxes of this cell, where NOTIFY=SUCCESS asked for it (RFC 3461 section 4.1).

The sender's address is one of the account that logged in, so the notice goes straight into a mailbox here, as courier's
do. The message itself is delivered whether or not its sender can be told: a notice that fails is logged and not owed.
"""

import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from bulkhead.boundary.messages.to_directory import RecipientVerdict, ResolveRecipient
from bulkhead.errors import Error
from bulkhead.gate.delivery import deliver
from bulkhead.gate.recipients import Domestic
from bulkhead.identifiers import Address
from bulkhead.wire.dsn import Action, RecipientReport, Report, compose_notification
from bulkhead.wire.smtp_events import MailFrom
from bulkhead.wire.smtp_notify import Wish
from bulkhead.wire.trace import return_path_field

_log = logging.getLogger("bulkhead.submit")


async def confirm(
    domestic: Domestic, mail: MailFrom, delivered: Sequence[tuple[Address, Wish]], header: bytes, now: int
) -> None:
    """Deliver the notice about these recipients, all of whom have the message. now: seconds."""
    sender = mail.reverse_path
    if sender is None or not delivered:
        return
    moment = datetime.fromtimestamp(now, UTC)
    report = Report(
        action=Action.DELIVERED,
        reporting_mta=domestic.hostname,
        sender=sender,
        recipients=tuple(
            RecipientReport(address, "2.1.5", "delivered here", last_attempt=moment, original=wish.original)
            for address, wish in delivered
        ),
        arrival=moment,
        original_header=header,
        envelope_id=mail.envid,
        internationalized=mail.utf8,
    )
    message_id = f"{secrets.token_hex(16)}@{domestic.hostname}"
    notice = compose_notification(report, date=moment, message_id=message_id, boundary=secrets.token_hex(24))
    message = return_path_field(None) + notice.text
    try:
        found = await domestic.exchange.to("directory").call(ResolveRecipient(str(sender)))
        if found.verdict == RecipientVerdict.LOCAL and found.binding is not None:
            await deliver(domestic.exchange, domestic.sealer, [found.binding], message, now, actor="submit")
    except Error as error:
        _log.warning("a notice of delivery is dropped: %s", error.public)
