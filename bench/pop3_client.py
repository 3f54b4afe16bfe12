"""A blocking POP3 client over TLS that fetches everything."""

import socket

from bench.imap_client import READ_BYTES, TIMEOUT_SECONDS, tls_context


def drain(host: str, port: int, user: str, password: str, expected: int) -> int:
    """LIST and RETR of every message, one at a time; octets read. Raises OSError where the count is another."""
    with tls_context().wrap_socket(socket.create_connection((host, port), TIMEOUT_SECONDS)) as server:
        _line(server)
        for command in (f"USER {user}", f"PASS {password}"):
            _ask(server, command, lines=False)
        listing = _ask(server, "LIST", lines=True)
        numbers = [int(line.split()[0]) for line in listing.split(b"\r\n")[1:] if line[:1].isdigit()]
        if len(numbers) != expected:
            raise OSError(f"{len(numbers)} messages instead of {expected}")
        size = sum(len(_ask(server, f"RETR {number}", lines=True)) for number in numbers)
        _ask(server, "QUIT", lines=False)
        return size


def _line(server: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\r\n"):
        data = server.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        answer += data
    return answer


def _ask(server: socket.socket, command: str, *, lines: bool) -> bytes:
    server.sendall(command.encode() + b"\r\n")
    pieces, tail = list[bytes](), b""
    while True:
        data = server.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        if not pieces and not data.startswith(b"+"):
            raise OSError(f"{command.partition(' ')[0]} was answered: {data[:200]!r}")
        pieces.append(data)
        tail = (tail + data)[-5:]
        if tail.endswith(b"\r\n.\r\n" if lines else b"\r\n"):
            return b"".join(pieces)
