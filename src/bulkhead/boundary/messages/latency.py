"""How long something took, since its compartment started: counts by fixed bounds, as a histogram of Prometheus."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U63, Reply

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; each bucket has what took so long or less and longer than the one before, and one more what took longer."""


class Latencies(Reply, frozen=True):
    """counts: one a bound, and one above the last; empty where nothing was measured. micros: the sum."""

    counts: Annotated[tuple[U63, ...], Meta(max_length=len(BOUNDS) + 1)] = ()
    micros: U63 = 0


NOTHING = Latencies()
