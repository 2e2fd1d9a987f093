"""Of several processes one speaks, and errors that all meet alike are said by one."""

import pytest

from captioners.core.errors import InterruptedRunError, OtherProcessError, UserError, exit_code_of
from captioners.core.processes import is_main, said_once


def test_the_first_process_speaks(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert is_main()
    monkeypatch.setenv("RANK", "1")
    assert not is_main()


@pytest.mark.parametrize(("rank", "silent"), [(None, False), ("0", False), ("1", True)])
def test_an_error_of_all_is_said_once_a_machine(rank, silent, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    with pytest.raises(UserError if not silent else OtherProcessError, match="a mistake") as raised, said_once():
        raise UserError("a mistake")
    assert raised.value.exit_code == 1
    assert isinstance(raised.value, OtherProcessError) == silent


def test_every_error_has_its_exit_code():
    import errno

    full = RuntimeError("weights")
    full.__cause__ = OSError(errno.ENOSPC, "full")
    errors = [UserError("x"), InterruptedRunError("x"), KeyboardInterrupt(), full, RuntimeError("x"), OSError(5, "x")]
    assert [exit_code_of(error) for error in errors] == [1, 75, 75, 1, 3, 3]
