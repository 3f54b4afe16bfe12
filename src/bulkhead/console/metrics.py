"""The tenant's own slice of METRICS: what each holder counts, asked of it under the session."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.exposition import Family, exposition
from bulkhead.boundary.metrics import ANSWERED, METRICS, REQUESTS, SCRAPED, family_of
from bulkhead.boundary.staff import VOUCHED
from bulkhead.console import answers as a
from bulkhead.console.staffed import Staffed
from bulkhead.errors import Error, Refused

METRICS_NEEDS = tuple((holder, type(request).__name__) for holder, request in REQUESTS.items())


async def read_metrics(staff: Staffed, _: Mapping[str, str], __: a.NoQuery, ___: None) -> a.Exposition:
    """One request a holder; one that is away has no samples, and is named. Raises Refused where none may be asked."""

    async def ask(holder: str, request: Any) -> Any:
        try:
            vouched = (holder, type(request).__name__) in VOUCHED
            return await (staff.vouched(holder, request) if vouched else staff.ask(holder, request))
        except Refused:
            raise
        except Error:
            return None

    replies = await asyncio.gather(*(ask(holder, request) for holder, request in REQUESTS.items()))
    said = {holder: reply for holder, reply in zip(REQUESTS, replies, strict=True) if reply is not None}
    families = [family_of(row, [(staff.tenant, said)]) for row in METRICS]
    answered = tuple(({"tenant": staff.tenant, "compartment": holder}, float(holder in said)) for holder in REQUESTS)
    families.append(Family(ANSWERED.name, ANSWERED.kind, ANSWERED.sentence, answered))
    families.append(Family(SCRAPED.name, SCRAPED.kind, SCRAPED.sentence, (({"tenant": staff.tenant}, time.time()),)))
    return a.Exposition(exposition(families))
