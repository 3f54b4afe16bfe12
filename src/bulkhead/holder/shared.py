"""The requests that holders answer alike: backup, standby, orders, staff; rotation, surfaces, cases where they are."""

from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.provision import FileChunkBase
from bulkhead.holder import access_search, backup, cases, desk, orders, provision, rotation, staff, standby, surfaces


def shared(module: Any) -> Mapping[type[Request[Any]], Handler]:
    """Handlers of a state that has `backups` and `orders`, and `rotation` where `module`, its `to_<name>`, asks."""
    found = {
        **backup.handlers(module.BeginBackup, module.ReadBackup, module.EscrowKeys),
        **standby.handlers(module.BeginStandby, module.ReadStandby, module.RenewLease),
        **orders.handlers(module),
        **staff.handlers(module),
    }
    if hasattr(module, "StopSurfaces"):
        found |= surfaces.handlers(module)
    if hasattr(module, "OpenCase"):
        found |= cases.handlers(module)
    if hasattr(module, "ActInCase"):
        found |= desk.handlers(module)
    if hasattr(module, "RotateKey"):
        found |= rotation.handlers(module.RotateKey, module.ReadRotation, module.DestroyKey)
    if hasattr(module, "ProvisionChunk") and issubclass(module.ProvisionChunk, FileChunkBase):  # directory has its own
        found |= provision.handlers(module)
    if hasattr(module, "SearchAccesses"):
        found |= access_search.handlers(module.SearchAccesses, module.CountAccesses)
    return found
