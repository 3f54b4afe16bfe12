"""The kinds of message and the field types they are made of. A field without a limit does not exist."""

import time
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from bulkhead.identifiers import AccountId as _AccountId
from bulkhead.identifiers import EmailId as _EmailId
from bulkhead.identifiers import MailboxId as _MailboxId
from bulkhead.identifiers import QueueId as _QueueId
from bulkhead.identifiers import RequestId as _RequestId
from bulkhead.identifiers import new_id

MESSAGE_MAX = 256 * 1024  # bytes of one encoded message
CHUNK_MAX = 64 * 1024  # bytes of one body frame

AccountId = Annotated[_AccountId, Meta(min_length=16, max_length=16)]
MailboxId = Annotated[_MailboxId, Meta(min_length=16, max_length=16)]
EmailId = Annotated[_EmailId, Meta(min_length=16, max_length=16)]
QueueId = Annotated[_QueueId, Meta(min_length=16, max_length=16)]
RequestId = Annotated[_RequestId, Meta(min_length=16, max_length=16)]
Handle = Annotated[bytes, Meta(min_length=16, max_length=16)]
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Digest32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Tag16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Sealed = Annotated[bytes, Meta(max_length=4096)]  # a small sealed record
Name = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=1024)]
AddressText = Annotated[str, Meta(max_length=512)]  # an address in wire form
DomainText = Annotated[str, Meta(max_length=255)]
Password = Annotated[bytes, Meta(min_length=1, max_length=1024)]
U8 = Annotated[int, Meta(ge=0, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
U63 = Annotated[int, Meta(ge=0, le=0x7FFFFFFFFFFFFFFF)]
U64 = Annotated[int, Meta(ge=0)]  # MessagePack has no larger integer
Millis = U63  # milliseconds since 1970-01-01T00:00Z
Seconds = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]  # seconds since 1970-01-01T00:00Z


class Reply(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to one request; its type follows from the request's."""


class Done(Reply, frozen=True):
    """Done, and durable.

    until: ms of CLOCK_BOOTTIME until which somebody outside may be told so; 0: at any time (docs/standby.md).
    """

    until: U63 = 0


R_co = TypeVar("R_co", bound=Reply, covariant=True)


class Request(msgspec.Struct, Generic[R_co], frozen=True, array_like=True, forbid_unknown_fields=True):
    """Asks for a Reply. `body_max`: bytes of body that may follow; `reply_body_max`: that may follow the reply.

    `secrets`: fields that who answers overwrites afterwards; either side overwrites their frame.
    """

    secrets: ClassVar[tuple[str, ...]] = ()
    body_max: ClassVar[int] = 0
    reply_body_max: ClassVar[int] = 0


class Stamp(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What every mutating message carries: who asks, its id for retries, and when it is pointless (ms)."""

    actor: Name
    request_id: RequestId
    deadline: Millis

    @staticmethod
    def fresh(actor: str, seconds: float = 30.0, request_id: bytes | None = None) -> "Stamp":
        """A stamp for a new request that is void `seconds` from now."""
        deadline = int((time.time() + seconds) * 1000)
        return Stamp(actor, _RequestId(request_id or new_id()), deadline)


class Mutation(Request[R_co], Generic[R_co], frozen=True):
    """A request that changes what its receiver holds; the receiver keeps the id 10 minutes with the change.

    leased: where the tenant has a standby, it is answered only under a lease; an act that narrows reach needs none.
    """

    leased: ClassVar[bool] = True
    stamp: Stamp


class Fact(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Something that happened. Never waits, may be dropped, gets no answer."""


_reply_types: dict[type[Any], type[Reply]] = {}


def reply_type(request: type[Request[Any]]) -> type[Reply]:
    """The reply a request asks for. Raises ValueError for a class that names none: our bug."""
    found = _reply_types.get(request)
    if found is None:
        found = _reply_types[request] = _find_reply_type(request)
    return found


def _find_reply_type(request: type[Request[Any]]) -> type[Reply]:
    for base in getattr(request, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, Request):
            (reply,) = get_args(base)
            if isinstance(reply, type) and issubclass(reply, Reply):
                return reply
    raise ValueError(f"{request.__name__} names no reply")
