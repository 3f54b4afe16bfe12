"""A gate's TLS: its own key and chain, good for its own name only, loaded by path from its own directory.

The supervisor puts the PEM there and takes it away once the gate has said that it is loaded. A reload makes a new
context for new connections; those that live keep theirs.
"""

import ssl
from pathlib import Path

CLEANSE_PLAINTEXT = 1 << 1  # SSL_OP_CLEANSE_PLAINTEXT: what was read is overwritten in the library's buffer
PEM = Path("gate.pem")  # relative: the gate's directory is its root


class TlsKeeper:
    """The newest server context. Raises OSError or ssl.SSLError from load()."""

    def __init__(self, pem: Path = PEM) -> None:
        self._pem = pem
        self.context = self._make()

    def load(self) -> None:
        """Use the PEM that lies in the directory now; the old context stays where none does, or it cannot be loaded."""
        try:
            self.context = self._make()
        except FileNotFoundError:
            return

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and up with the library's own suites
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        if ssl.OPENSSL_VERSION_INFO >= (3,):
            context.options |= CLEANSE_PLAINTEXT
        context.load_cert_chain(self._pem)
        return context
