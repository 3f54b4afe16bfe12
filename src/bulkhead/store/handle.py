"""HANDLERS: the function that answers each message of to_store. The functions lie in handle_<topic>.py."""

from collections.abc import Mapping
from typing import Any

from bulkhead.boundary.exchange import Handler
from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.fields import Request
from bulkhead.holder.latency import timed
from bulkhead.holder.shared import shared
from bulkhead.store.handle_admin import (
    check_store,
    count_store,
    destroy_account,
    limit_account,
    open_account,
    read_usage,
    show_usage,
)
from bulkhead.store.handle_delivery import append_message, append_messages, check_room, deliver_mail
from bulkhead.store.handle_exporting import export_mailboxes, export_names, export_parts, export_rows
from bulkhead.store.handle_filing import file_messages, find_old_page, list_sparse_pages, plan_filing, rewrite_page
from bulkhead.store.handle_importing import import_mailbox, import_messages, import_name
from bulkhead.store.handle_mailbox import (
    add_keyword,
    create_mailbox,
    delete_mailbox,
    list_keywords,
    list_mailboxes,
    list_subscriptions,
    read_quota,
    rename_mailboxes,
    replace_names,
    set_subscription,
)  # fmt: skip
from bulkhead.store.handle_maildrop import (
    lock_maildrop,
    read_messages,
    read_uidls,
    unlock_maildrop,
    update_maildrop,
)  # fmt: skip
from bulkhead.store.handle_message import copy_messages, expunge, store_flags
from bulkhead.store.handle_read import (
    read_changes,
    read_columns,
    read_pages,
    read_part,
    read_parts,
    read_places,
    read_rows,
)
from bulkhead.store.handle_rename import rename_inbox
from bulkhead.store.handle_restoring import find_messages, restore_mailbox, restore_messages
from bulkhead.store.handle_session import end_generations, grant_sessions, revoke_sessions
from bulkhead.store.handle_undeleting import list_deleted, undelete_messages

HANDLERS: Mapping[type[Request[Any]], Handler] = {
    to_store.CheckRoom: check_room,
    to_store.DeliverMail: timed(deliver_mail, lambda state: state.delivering),
    to_store.GrantSessions: grant_sessions,
    to_store.RevokeSessions: revoke_sessions,
    to_store.ListMailboxes: list_mailboxes,
    to_store.CreateMailbox: create_mailbox,
    to_store.RenameMailboxes: rename_mailboxes,
    to_store.DeleteMailbox: delete_mailbox,
    to_store.ListKeywords: list_keywords,
    to_store.AddKeyword: add_keyword,
    to_store.ListSubscriptions: list_subscriptions,
    to_store.SetSubscription: set_subscription,
    to_store.ReadColumns: read_columns,
    to_store.ReadChanges: read_changes,
    to_store.ReadRows: read_rows,
    to_store.ReadPlaces: read_places,
    to_store.ReadPart: timed(read_part, lambda state: state.fetching),
    to_store.ReadParts: timed(read_parts, lambda state: state.fetching),
    to_store.ReadPages: read_pages,
    to_store.PlanFiling: plan_filing,
    to_store.FileMessages: file_messages,
    to_store.ListSparsePages: list_sparse_pages,
    to_store.RewritePage: rewrite_page,
    to_store.StoreFlags: store_flags,
    to_store.Expunge: expunge,
    to_store.CopyMessages: copy_messages,
    to_store.AppendMessage: append_message,
    to_store.ReadQuota: read_quota,
    to_store.LockMaildrop: lock_maildrop,
    to_store.UnlockMaildrop: unlock_maildrop,
    to_store.UpdateMaildrop: update_maildrop,
    to_store.ReadUidls: read_uidls,
    to_store.ReadMessages: timed(read_messages, lambda state: state.fetching),
    to_store.OpenAccount: open_account,
    to_store.LimitAccount: limit_account,
    to_store.ReadUsage: read_usage,
    to_store.DestroyAccount: destroy_account,
    to_store.CountStore: count_store,
    to_store.CheckStore: check_store,
    to_store.ShowUsage: show_usage,
    to_store.AppendMessages: append_messages,
    to_store.RenameInbox: rename_inbox,
    to_store.ExportMailboxes: export_mailboxes,
    to_store.ExportNames: export_names,
    to_store.ExportRows: export_rows,
    to_store.ExportParts: export_parts,
    to_store.ReplaceNames: replace_names,
    to_store.FindOldPage: find_old_page,
    to_store.EndGenerations: end_generations,
    to_store.ListDeleted: list_deleted,
    to_store.UndeleteMessages: undelete_messages,
    to_store.FindMessages: find_messages,
    to_store.RestoreMailbox: restore_mailbox,
    to_store.RestoreMessages: restore_messages,
    to_store.ImportMailbox: import_mailbox,
    to_store.ImportName: import_name,
    to_store.ImportMessages: import_messages,
    **shared(to_store),
}
