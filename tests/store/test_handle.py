"""HANDLERS against the messages."""

from bulkhead.boundary.messages import to_store
from bulkhead.boundary.messages.fields import Mutation, Request
from bulkhead.store.handle import HANDLERS


def test_every_message_to_store_has_a_handler():
    messages = {
        value
        for value in vars(to_store).values()
        if isinstance(value, type) and issubclass(value, Request) and value not in (Request, Mutation)
    }
    assert set(HANDLERS) == messages


def test_every_handler_says_what_it_does():
    assert all(handler.__doc__ for handler in HANDLERS.values())
