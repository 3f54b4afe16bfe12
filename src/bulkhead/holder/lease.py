"""Whether this holder may answer a change: where a standby may take over, only while it has said that it will not.

Time is CLOCK_BOOTTIME, which nobody sets and which goes on while the machine sleeps or a process is stopped. It is read
at the moment of the answer, after the commit: a process that was stopped meanwhile finds its lease over.
"""

import secrets
import time
from collections import OrderedDict

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.records.lease import read_grant

NONCES_MAX = 8  # that were drawn and not yet granted


def boottime() -> float:
    """Seconds since the start, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """One holder's lease. key: of the standby that grants it; None: there is none, and every answer is given."""

    def __init__(self, tenant: TenantId, compartment: str, term: int, key: Ed25519PublicKey | None) -> None:
        self._tenant, self._compartment, self._term, self._key = tenant, compartment, term, key
        self._asked: OrderedDict[bytes, float] = OrderedDict()
        self._until = 0.0
        self._ended = False

    @property
    def until(self) -> int:
        """CLOCK_BOOTTIME in ms until which an answer may be given; 0: at any time. 1 is long ago."""
        return 0 if self._key is None else max(1, int(self._until * 1000))

    @property
    def left(self) -> float:
        """Seconds, not below 0."""
        return max(0.0, self._until - boottime())

    def ask(self) -> bytes:
        """A nonce for a lease that is counted from now."""
        nonce = secrets.token_bytes(16)
        self._asked[nonce] = boottime()
        while len(self._asked) > NONCES_MAX:
            self._asked.popitem(last=False)
        return nonce

    def take(self, ask: bytes, grant: bytes) -> None:
        """Take a lease. Raises Refused (`bad-lease`): of another standby, for another holder or term, or an old one."""
        if self._key is None or self._ended:
            raise Refused("this holder takes no lease", code="bad-lease")
        try:
            granted = read_grant(self._key, ask, grant)
        except IntegrityError as error:
            raise Refused(error.public, code="bad-lease") from None
        asked = self._asked.pop(granted.nonces.get(self._compartment, b""), None)
        if asked is None or (granted.tenant, granted.term) != (self._tenant, self._term):
            raise Refused("that lease was granted for something else, or long ago", code="bad-lease")
        self._until = max(self._until, asked + granted.seconds)

    def end(self) -> None:
        """Answer no change from now on, until the process starts again and is granted a lease then."""
        self._ended, self._until = True, 0.0
        self._asked.clear()

    def failure(self) -> TemporaryFailure | None:
        """What a change is answered instead, now."""
        if self._key is None or boottime() < self._until:
            return None
        return TemporaryFailure("the standby may have taken over; try again later", code="no-lease")

    def require(self) -> None:
        """Raises TemporaryFailure (`no-lease`) where no change is answered now."""
        failure = self.failure()
        if failure is not None:
            raise failure
