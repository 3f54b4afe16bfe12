"""A client that compresses (RFC 4978)."""

import zlib

from tests.access.cell import Raw


class Deflated(Raw):
    """A client that has compressed; window: the largest that deflate knows."""

    def __init__(self, raw: Raw) -> None:
        assert raw.command("COMPRESS DEFLATE")[-1].split()[1] == b"OK"
        self.sock, self._tags = raw.sock, 100
        self.deflater, self.inflater = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.file = self  # type: ignore[assignment]
        self._inbox = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH))

    def readline(self) -> bytes:
        while b"\n" not in self._inbox and self._more():
            pass
        end = self._inbox.find(b"\n") + 1 or len(self._inbox)
        line, self._inbox = self._inbox[:end], self._inbox[end:]
        return line

    def read(self, size: int) -> bytes:
        while len(self._inbox) < size and self._more():
            pass
        data, self._inbox = self._inbox[:size], self._inbox[size:]
        return data

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._inbox += self.inflater.decompress(data)
        return bool(data)
