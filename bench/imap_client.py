"""A blocking IMAP client over TLS that costs little: it counts the octets of an answer and reads none it need not."""

import socket
import ssl
from itertools import count

READ_BYTES = 1 << 18
TIMEOUT_SECONDS = 900.0


def tls_context() -> ssl.SSLContext:
    """What is measured is not the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Refusal(OSError):
    """The server said NO or BAD."""


class ImapClient:
    """One connection, greeted."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection((host, port), TIMEOUT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = (context or tls_context()).wrap_socket(plain)
        self._tags = count(1)
        self._left = b""
        while not self._left.endswith(b"\r\n"):
            self._read()
        self._left = b""

    def login(self, user: str, password: str) -> None:
        """Raises Refusal."""
        self.ask(f'LOGIN {user} "{password}"')

    def ask(self, command: str) -> int:
        """Octets of the whole answer. Raises Refusal."""
        return self._answer(command.encode(), keep=False)[0]

    def text(self, command: str) -> bytes:
        """The whole answer. Raises Refusal."""
        return self._answer(command.encode(), keep=True)[1]

    def append(self, mailbox: str, message: bytes) -> None:
        """APPEND with a literal that waits for no continuation (RFC 7888). Raises Refusal."""
        self._answer(b"APPEND %b {%d+}\r\n%b" % (mailbox.encode(), len(message), message), keep=False)

    def leave(self) -> None:
        """LOGOUT."""
        self.ask("LOGOUT")
        self._socket.close()

    def _answer(self, command: bytes, *, keep: bool) -> tuple[int, bytes]:
        tag = b"zq%d " % next(self._tags)
        self._socket.sendall(tag + command + b"\r\n")
        size, kept, tail = 0, list[bytes](), b""
        while True:
            data = self._socket.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the server closed the connection")
            size += len(data)
            if keep:
                kept.append(data)
            tail = (tail + data)[-1000:]
            if tail.endswith(b"\r\n"):  # a tagged line is the last of an answer
                last = tail[:-2].rpartition(b"\r\n")[2]
                if last.startswith(tag):
                    if not last.startswith(tag + b"OK"):
                        raise Refusal(f"{command[:60]!r} was answered: {last!r}")
                    return size, b"".join(kept)

    def _read(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._left += data
