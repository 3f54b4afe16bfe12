"""The error tree: the type says whose fault it is, and what the caller may do about it.

    Error
      PeerError          the remote broke a standard: refuse, count, no traceback
        LineTooLong · BareNewline · CommandOutOfOrder
      Refused            understood, and no: rights, quota, suspended account
      TemporaryFailure   the same request may succeed later (4yz)
      IntegrityError     bytes do not match their proof: stop, alert, keep the evidence
      BoundaryViolation  a process sent what PEERS forbids: end the edge, write it down
      ConfigError        a setting is wrong: names file, setting and what to do

Our own bug is ValueError. Only the standard library is imported here: the supervisor loads this module.
"""


class Error(Exception):
    """Root of what we raise on purpose. `public` may be shown to a peer; `detail` only logged.

    `code` is a short stable word for programs (kebab-case), such as "over-quota".
    """

    code = "error"

    def __init__(self, public: str, *, detail: str = "", code: str = "") -> None:
        super().__init__(public)
        self.public, self.detail = public, detail
        if code:
            self.code = code


class PeerError(Error):
    """The remote broke a standard."""

    code = "protocol"


class LineTooLong(PeerError):
    """A line passed its limit before its end was seen."""

    code = "line-too-long"


class BareNewline(PeerError):
    """CR or LF stood alone where only CRLF may (RFC 5321 section 2.3.8)."""

    code = "bare-newline"


class CommandOutOfOrder(PeerError):
    """A known command at the wrong time (RFC 5321 section 4.1.4)."""

    code = "out-of-order"


class Refused(Error):
    """Understood, and no."""

    code = "refused"


class TemporaryFailure(Error):
    """The same request may succeed later."""

    code = "temporary"


class IntegrityError(Error):
    """Bytes do not match their proof."""

    code = "integrity"


class BoundaryViolation(Error):
    """A process sent what the boundary forbids."""

    code = "boundary"


class ConfigError(Error):
    """A setting, file or installation is wrong; the message says where and what to do."""

    code = "config"
