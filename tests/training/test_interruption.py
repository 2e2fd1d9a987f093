"""Signals stop a run between two steps: one from a launcher and one from its scheduler are one wish."""

import os
import signal

import pytest

from captioners.training.interruption import stop_signals


def test_several_sigterms_are_one_wish_to_stop():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as asked:
        assert not asked
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert set(asked) == {"SIGTERM"}
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_acts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_signals() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == ["Ctrl-C"]
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
