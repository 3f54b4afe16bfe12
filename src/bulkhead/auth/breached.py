"""Passwords known to have been breached (NIST SP 800-63B-4 section 3.1.1.2): refused when set, marked at login.

The list is one file of the installation, handed over open and read-only. Without one there is the built-in list.
"""

import logging
from collections.abc import MutableMapping

from bulkhead.errors import IntegrityError, Refused
from bulkhead.records.breached import BreachedList, common_digests, password_digest

FILE = "breached"
_log = logging.getLogger("bulkhead.auth")


class Breached:
    """refusing: whether a login with a listed password is refused, or admitted and marked."""

    def __init__(self, refusing: bool) -> None:
        self.refusing = refusing
        self._common = common_digests()
        self._list: BreachedList | None = None

    def take(self, files: MutableMapping[str, int]) -> None:
        """Look up in the file that was handed over, if a new one was. A damaged one is logged, and the old one kept."""
        descriptor = files.pop(FILE, None)
        if descriptor is None:
            return
        try:
            new = BreachedList(descriptor)
        except IntegrityError as error:
            _log.error("%s", error.public)
            return
        self.close()
        self._list = new
        _log.info("%d breached passwords are known", new.header.count)

    def knows(self, password: bytes) -> bool:
        """Whether it is in either list."""
        digest = password_digest(password)
        if digest[:8] in self._common:
            return True
        try:
            return self._list is not None and digest in self._list
        except (IntegrityError, OSError) as error:
            _log.error("the list of breached passwords cannot be read: %s", error)
            return False

    def check(self, password: bytes) -> None:
        """Passes a password that is in neither. Raises Refused (`breached-password`)."""
        if self.knows(password):
            raise Refused(
                "this password is in a public list of stolen passwords; choose another one", code="breached-password"
            )

    def close(self) -> None:
        """Give the file back."""
        if self._list is not None:
            self._list.close()
            self._list = None
