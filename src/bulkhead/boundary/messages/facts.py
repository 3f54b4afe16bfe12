"""Facts: something happened; no answer, no waiting, may be dropped. Tag numbers are never reused."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import AccountId, Fact, Handle, Name, Reply
from bulkhead.boundary.messages.to_incident import Network

REFUSED_MAX = 100


class MailboxChanged(Fact, frozen=True, tag=1):
    """Something changed in the account of this session; ask what. (store to access)"""

    handle: Handle


class SessionEnded(Fact, frozen=True, tag=2):
    """This session is over. (keyring to the gates)"""

    handle: Handle
    reason: Name


class WorkDue(Fact, frozen=True, tag=3):
    """Mail is due. (queue to courier)"""


class RefusedLogin(Reply, frozen=True):
    """account: as directory named it, perhaps a decoy. network: /24 or /56 of where it came from."""

    account: AccountId
    network: Network


class LoginsRefused(Fact, frozen=True, tag=4):
    """Logins refused, but for those from where that account's password was right before. (auth to incident)"""

    logins: Annotated[tuple[RefusedLogin, ...], Meta(max_length=REFUSED_MAX)]
