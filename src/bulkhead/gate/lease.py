"""The last look before a gate says yes: a holder's answer may be told for a time only, where the tenant has a standby.

A gate that was stopped between the holder's answer and its own would else say 250 while the standby says it too.
"""

import time

from bulkhead.errors import TemporaryFailure


def require_time(until: int) -> None:
    """Raises TemporaryFailure (`no-lease`) where `until`, ms of CLOCK_BOOTTIME, is over; 0 never is."""
    if until and time.clock_gettime(time.CLOCK_BOOTTIME) * 1000 >= until:
        raise TemporaryFailure("the standby may have taken over; try again later", code="no-lease")
