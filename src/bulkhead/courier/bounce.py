"""Notifications to the sender of a queued message: made once, delivered into a mailbox of this cell, never sent out.

The request id is derived from message, recipients and kind, and store keeps it 10 minutes: an attempt that is repeated
because its report was lost notifies nobody twice. Source: RFC 3464; RFC 5321 section 6.1.
"""

import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from bulkhead.boundary.messages.to_directory import RecipientVerdict, ResolveRecipient
from bulkhead.boundary.messages.to_queue import Work
from bulkhead.courier.attempt import Means, patiently
from bulkhead.courier.request_id import derived_id
from bulkhead.courier.route import Result
from bulkhead.courier.spool import Text
from bulkhead.errors import PeerError
from bulkhead.gate.delivery import deliver
from bulkhead.identifiers import Address, format_id, parse_address
from bulkhead.records.queued import QueuedEnvelope
from bulkhead.wire.dsn import Action, RecipientReport, Report, compose_notification
from bulkhead.wire.smtp_notify import Notify, Return
from bulkhead.wire.trace import return_path_field

_log = logging.getLogger("bulkhead.courier")


class Notifier:
    """Tells senders. `dropped` counts what was owed to nobody here: a reverse-path that is not of this cell."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.dropped = 0

    async def notify(
        self,
        work: Work,
        sender: Address | None,
        about: Mapping[int, Result],
        text: Text | None,
        action: Action,
        now: float,
    ) -> None:
        """Durable in the sender's mailbox on return, or not owed. Raises Refused, TemporaryFailure, IntegrityError.

        sender: None for `<>`, to which nothing is ever sent (RFC 5321 section 4.5.5).   text: None where the message
        did not open; what the sender wishes to be told is not known then, and failures and delays are told.
        """
        about = wanting(about, text, action)
        if sender is None or not about:
            return
        exchange = self._means.exchange
        found = await patiently(lambda: exchange.to("directory").call(ResolveRecipient(str(sender))))
        binding = found.binding
        if found.verdict != RecipientVerdict.LOCAL or binding is None:
            self.dropped += 1
            _log.warning("no mailbox for the notification about %s: dropped", format_id("que", work.queue_id))
            return
        message = return_path_field(None) + self._compose(work, sender, about, text, action, now)
        request_id = derived_id(work.queue_id, about, action.value)
        await patiently(
            lambda: deliver(
                exchange, self._means.sealer, [binding], message, int(now), actor="courier", request_id=request_id
            )
        )

    def _compose(
        self, work: Work, sender: Address, about: Mapping[int, Result], text: Text | None, action: Action, now: float
    ) -> bytes:
        envelope = _UNKNOWN if text is None else text.envelope
        whole = text is not None and envelope.ret == Return.FULL.value and action is Action.FAILED
        moment = datetime.fromtimestamp(now, UTC)
        addresses = {recipient.number: recipient.address for recipient in work.recipients}
        own = self._means.manner.name
        report = Report(
            action=action,
            reporting_mta=own,
            sender=sender,
            recipients=tuple(
                RecipientReport(
                    address,
                    result.status,
                    result.reason,
                    result.reply,
                    result.host,
                    moment,
                    envelope.wish(number).original,
                )
                for number, result in about.items()
                if (address := _address(addresses[number])) is not None
            ),
            arrival=datetime.fromtimestamp(work.enqueued / 1000, UTC),
            original_header=b"" if text is None else text.header,
            envelope_id=envelope.envid,
            retry_until=datetime.fromtimestamp(work.expires / 1000, UTC) if action is Action.DELAYED else None,
            original_body=text.body if whole and text is not None else None,
            internationalized=envelope.utf8,
        )
        message_id = f"{secrets.token_hex(16)}@{own}"
        return compose_notification(report, date=moment, message_id=message_id, boundary=secrets.token_hex(24)).text


def wanting(about: Mapping[int, Result], text: Text | None, action: Action) -> dict[int, Result]:
    """Of these recipients those whose sender wishes to be told (RFC 3461 sections 4.1 and 5.2)."""
    envelope, event = _UNKNOWN if text is None else text.envelope, _EVENTS[action]
    return {number: result for number, result in about.items() if Notify(envelope.wish(number).notify).wants(event)}


_UNKNOWN = QueuedEnvelope("", ())
_EVENTS: Mapping[Action, Notify] = {
    Action.FAILED: Notify.FAILURE,
    Action.DELAYED: Notify.DELAY,
    Action.DELIVERED: Notify.SUCCESS,
    Action.RELAYED: Notify.SUCCESS,
}


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except PeerError:
        return None
