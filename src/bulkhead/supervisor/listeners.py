"""The cell's listening sockets, bound by the supervisor and inherited by the gates. Standard library only."""

import ipaddress
import socket

from bulkhead.boundary.processes import PROCESSES
from bulkhead.config.load import Tenant
from bulkhead.errors import ConfigError

BACKLOG = 1024


def bind_listeners(tenant: Tenant) -> dict[str, socket.socket]:
    """Every open listener by name. Raises ConfigError that names setting, address and cause; none stays bound then."""
    address = tenant.settings.text("listen.address")
    bound: dict[str, socket.socket] = {}
    try:
        for process in PROCESSES.values():
            for name in process.listeners:
                port = tenant.settings.integer(f"listen.{name}")
                if port:
                    bound[name] = _bind(tenant.file, address, name, port)
    except ConfigError:
        for listener in bound.values():
            listener.close()
        raise
    return bound


def _bind(file: str, address: str, name: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = "run as root, or choose a port from 1024 on" if port < 1024 else "is another server there?"
        raise ConfigError(
            f"{file}: listen.{name} cannot be bound to {address} port {port}: {error.strerror}; {hint}"
        ) from None
    listener.setblocking(False)
    return listener
