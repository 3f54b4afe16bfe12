"""The states of an account in a holder of credentials: what is taken back leaves the rest as it is."""

import itertools

import pytest

from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState, next_state

S = AccountState
ASKED = (S.OPEN, S.SUSPENDED, S.SWITCHED_OFF, S.SWITCHED_ON)


def test_who_is_suspended_and_switched_off_is_open_only_once_both_are_taken_back() -> None:
    for acts in itertools.product(ASKED, repeat=4):
        state, suspended, off = S.OPEN, False, False
        for act in acts:
            state = next_state(state, act)
            suspended = act == S.SUSPENDED or (suspended and act != S.OPEN)
            off = act == S.SWITCHED_OFF or (off and act != S.SWITCHED_ON)
            assert (state == S.OPEN) is not (suspended or off)
            assert (state in (S.SUSPENDED, S.BOTH)) is suspended


def test_nothing_leads_back_from_a_destroyed_account() -> None:
    for state in (S.OPEN, S.SUSPENDED, S.SWITCHED_OFF, S.BOTH, S.DESTROYED):
        assert next_state(state, S.DESTROYED) == S.DESTROYED
    for act in ASKED:
        with pytest.raises(Refused) as refusal:
            next_state(S.DESTROYED, act)
        assert refusal.value.code == "tombstone"


@pytest.mark.parametrize("asked", [0, S.BOTH, 7, 255])
def test_what_is_no_state_to_ask_for_is_refused(asked: int) -> None:
    with pytest.raises(Refused) as refusal:
        next_state(S.OPEN, asked)
    assert refusal.value.code == "bad-state"
