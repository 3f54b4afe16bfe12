"""What the client of one session has enabled (RFC 5161): it stays on until the connection ends."""

from dataclasses import dataclass


@dataclass(slots=True)
class Enabled:
    """condstore: MODSEQs are told with every change (RFC 7162 section 3.1); also begun by commands that use them.

    qresync: VANISHED instead of EXPUNGE (RFC 7162 section 3.2.10). utf8_accept: RFC 6855. rev2: IMAP4rev2 (RFC 9051).
    """

    condstore: bool = False
    qresync: bool = False
    utf8_accept: bool = False
    rev2: bool = False

    @property
    def utf8(self) -> bool:
        """Whether mailbox names go in UTF-8 both ways, and not in modified UTF-7."""
        return self.utf8_accept or self.rev2
