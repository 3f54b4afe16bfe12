"""Facts: something happened; no answer, no waiting, may be dropped. Tag numbers are never reused."""

from bulkhead.boundary.messages.fields import Fact, Handle, Name


class MailboxChanged(Fact, frozen=True, tag=1):
    """Something changed in the account of this session; ask what. (store to access)"""

    handle: Handle


class SessionEnded(Fact, frozen=True, tag=2):
    """This session is over. (keyring to the gates)"""

    handle: Handle
    reason: Name


class WorkDue(Fact, frozen=True, tag=3):
    """Mail is due. (queue to courier)"""
