"""The peer of the tests: moto's S3, an imitation with object lock, on loopback; beside it a proxy that breaks things.

`python peer.py [CERTIFICATE KEY]` prints the ports of http and, with a certificate, of https.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

Break = Callable[[bytes], bytes | None]
"""What becomes of some octets of the server's answer; None: the connection ends."""


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    plain = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    tls = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=(sys.argv[1], sys.argv[2]))
    print(plain.port, tls.port, flush=True)
    tls.serve_forever()


class Peer:
    """moto in a process of its own."""

    def __init__(self, certificate: Path, key: Path) -> None:
        words = [sys.executable, __file__, str(certificate), str(key)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self.http, self.https = map(int, self._process.stdout.readline().split())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Proxy:
    """Before the peer: passes octets on, those of the server as `broken` makes them."""

    def __init__(self, port: int) -> None:
        self._to, self.connections = port, 0
        self.broken: Break = lambda octets: octets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _break(self, octets: bytes) -> bytes | None:
        return self.broken(octets)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=_pass, args=(client, server, lambda octets: octets), daemon=True).start()
            threading.Thread(target=_pass, args=(server, client, self._break), daemon=True).start()


def _pass(source: socket.socket, to: socket.socket, broken: Break) -> None:
    try:
        while octets := source.recv(65_536):
            passed = broken(octets)
            if passed is None:
                break
            to.sendall(passed)
    except OSError:
        pass
    for end in (source, to):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


if __name__ == "__main__":
    main()
