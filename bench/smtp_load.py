"""An SMTP client that loads a server: many connections, MAIL, RCPT and DATA of a message in one write (RFC 2920)."""

import asyncio
import time
from collections.abc import Callable, Iterator


class SmtpLoad:
    """Sends messages `numbers` to `recipient(n)`; keeps the seconds from MAIL to the 250 after the final dot."""

    def __init__(
        self,
        message: Callable[[int], bytes],
        recipient: Callable[[int], str],
        numbers: range,
        hello: bytes = b"EHLO",
    ) -> None:
        """hello: LHLO for LMTP, whose replies are the same where a message has one recipient (RFC 2033)."""
        self.message, self.recipient, self.hello = message, recipient, hello
        self.numbers: Iterator[int] = iter(numbers)
        self.seconds: list[float] = []
        self.refusals: list[str] = []

    async def run(self, host: str, port: int, connections: int) -> None:
        """Until every message was answered. Raises OSError when a connection ends early."""
        loop = asyncio.get_running_loop()
        pairs = [await loop.create_connection(lambda: _Connection(self), host, port) for _ in range(connections)]
        await asyncio.gather(*(connection.ended for _, connection in pairs))


class _Connection(asyncio.Protocol):
    """One connection: `_awaited` replies must come before `_next` is done."""

    def __init__(self, load: SmtpLoad) -> None:
        self._load = load
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox = b""
        self._awaited, self._next = 1, self._hello
        self._refused = ""
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP gives this one
        self._transport.set_write_buffer_limits(high=1 << 22)

    def data_received(self, data: bytes) -> None:
        *lines, self._inbox = (self._inbox + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if line[:1] in b"45":
                self._refused = self._refused or line.decode("latin-1")
            self._awaited -= 1
            if not self._awaited:
                self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or OSError(f"the server closed the connection: {self._refused}"))

    def _hello(self) -> None:
        self._transport.write(b"%b load.example\r\n" % self._load.hello)
        self._awaited, self._next = 1, self._envelope

    def _envelope(self) -> None:
        number = next(self._load.numbers, None)
        if number is None:
            self.ended.set_result(None)
            self._transport.write(b"QUIT\r\n")
            self._transport.close()
            return
        self._text = self._load.message(number) + b".\r\n"
        self._refused = ""
        self._started = time.perf_counter()
        recipient = self._load.recipient(number).encode()
        self._transport.write(b"MAIL FROM:<desk@mail.example>\r\nRCPT TO:<%b>\r\nDATA\r\n" % recipient)
        self._awaited, self._next = 3, self._body

    def _body(self) -> None:
        if self._refused:
            self._done()
            return
        self._transport.write(self._text)
        self._awaited, self._next = 1, self._done

    def _done(self) -> None:
        if self._refused:
            self._load.refusals.append(self._refused)
        else:
            self._load.seconds.append(time.perf_counter() - self._started)
        self._envelope()
