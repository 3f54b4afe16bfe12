"""From `keyring`: what sessions exist, and what each may do."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U32, U63, AccountId, Done, Handle, Millis, Name, Reply, Request


class Rights:
    """What a session may do."""

    READ = 1
    WRITE = 2
    ALL = 3


class Grant(Reply, frozen=True):
    """`handle`, used on any edge of this channel, acts for `account`, until `expires` (ms)."""

    handle: Handle
    account: AccountId
    rights: U8
    compartment: Name
    worker: U16
    incarnation: U32
    expires: Millis


class GrantSessions(Request[Done], frozen=True, tag=10):
    """Serve these sessions. After a start nothing is served before keyring has sent `complete`."""

    grants: Annotated[tuple[Grant, ...], Meta(max_length=1000)]
    complete: bool
    epoch: U63


class RevokeSessions(Request[Done], frozen=True, tag=11):
    """Serve these no more: the handles named, or all of them. The epoch is durable and only goes up."""

    handles: Annotated[tuple[Handle, ...], Meta(max_length=1000)]
    everything: bool
    epoch: U63


class GenerationsEnded(Reply, frozen=True):
    """left: whether anything of the account is still under an older generation; then nothing was changed."""

    left: bool


class EndGenerations(Request[GenerationsEnded], frozen=True, tag=12):
    """Take nothing more that is sealed to a generation below this one, where nothing of the account is under one."""

    account: AccountId
    below: U32
