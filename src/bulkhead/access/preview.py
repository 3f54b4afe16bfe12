"""PREVIEW: made when it is first asked for, from the text part's beginning, and kept for the session (RFC 8970).

A summary holds none: it would cost every delivery the decoding of a text in the process that faces the network, and
every list of a folder its octets.
"""

from collections import OrderedDict

from bulkhead.access.mail import Message
from bulkhead.wire.imap.responses import string
from bulkhead.wire.preview import READ_MAX, preview
from bulkhead.wire.summary import Section, Summary

KEPT = 2000  # previews of one session: at most 200 characters each
PARTS_TRIED = 3  # text parts looked at until one has text


class Previews:
    """The previews that a session has asked for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def kept(self, email: bytes) -> bytes | None:
        """The preview as a string of IMAP, if it is at hand."""
        found = self._kept.get(email)
        if found is not None:
            self._kept.move_to_end(email)
        return found

    async def of(self, message: Message, summary: Summary) -> bytes:
        """The preview as a string of IMAP; empty where the message has no text. Raises as Message.pieces."""
        found = self.kept(message.row.email)
        if found is not None:
            return found
        text = ""
        for section in _texts(summary)[:PARTS_TRIED]:
            stop = min(section.end, section.body + READ_MAX)
            body = await message.octets(section.body, stop)
            text = preview(body, section.encoding, section.charset, section.media, whole=stop == section.end)
            if text:
                break
        rendered = string(text.encode("utf-8", "replace"))
        self._kept[message.row.email] = rendered
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return rendered


def _texts(summary: Summary) -> list[Section]:
    """The text parts, plain ones first."""
    texts = [section for section in summary.sections if section.media.startswith("text/")]
    return sorted(texts, key=lambda section: section.media != "text/plain")
