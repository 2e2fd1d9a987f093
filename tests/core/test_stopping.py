"""Stopping: signals interrupt at once, but a commit runs to its end; outside everything is as it was."""

import os
import signal

import pytest

from captioners.core.stopping import shielded, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stoppable():
        os.kill(os.getpid(), number)
        raise AssertionError("it went on")
    assert signal.getsignal(number) is before


def test_a_signal_within_a_shield_waits_for_its_end_even_in_nested_ones():
    done = []
    with pytest.raises(KeyboardInterrupt), stoppable():
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("data")
            with shielded():
                done.append("entry")
            done.append("rest")
        done.append("after")
    assert done == ["data", "entry", "rest"]


def test_a_shield_that_fails_still_lets_the_signal_through():
    with pytest.raises(KeyboardInterrupt) as caught, stoppable(), shielded():
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError("full")
    assert isinstance(caught.value.__context__, OSError)


def test_a_signal_that_came_late_does_not_reach_the_next_start():
    with pytest.raises(KeyboardInterrupt), stoppable(), shielded():
        os.kill(os.getpid(), signal.SIGTERM)
    with stoppable(), shielded():
        pass
