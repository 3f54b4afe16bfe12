"""Who asked for a connection takes no socket that leads elsewhere."""

import socket

import pytest

from bulkhead.boundary.dialed import require_connected_to
from bulkhead.errors import TemporaryFailure


def refused(sock: socket.socket, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    try:
        require_connected_to(sock, kind, address, port)
    except TemporaryFailure as failure:
        return failure.code == "elsewhere" and sock.fileno() == -1
    return False


def test_a_socket_to_the_place_asked_for_is_taken_however_its_address_is_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for asked in ("127.0.0.1", "::ffff:127.0.0.1"):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                assert require_connected_to(sock, socket.SOCK_STREAM, asked, port) is sock


@pytest.mark.parametrize("asked", ["127.0.0.2", "::1", "192.0.2.1", "mx.example", ""])
def test_a_socket_to_another_address_is_closed(asked: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert refused(socket.create_connection(("127.0.0.1", port)), asked, port)


def test_another_port_another_kind_and_no_connection_are_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert refused(socket.create_connection(("127.0.0.1", port)), "127.0.0.1", port - 1)
        assert refused(socket.create_connection(("127.0.0.1", port)), "127.0.0.1", port, socket.SOCK_DGRAM)
        one, two = socket.socketpair()
        assert refused(one, "127.0.0.1", port)
        two.close()
        assert refused(socket.socket(), "127.0.0.1", port)
