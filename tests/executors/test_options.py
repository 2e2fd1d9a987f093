"""What a recipe may say under `executor:`."""

import pytest
from pydantic import TypeAdapter, ValidationError

from captioners.core.errors import UserError
from captioners.executors.local import Local
from captioners.executors.options import AnyExecutor, LocalOptions, RayOptions, SlurmOptions
from captioners.executors.ray import Ray
from captioners.executors.slurm import Slurm

READ = TypeAdapter(AnyExecutor).validate_python


def test_a_word_or_a_mapping_says_the_kind():
    assert READ("local") == READ({"kind": "local"}) == LocalOptions()
    assert isinstance(READ("slurm"), SlurmOptions)
    assert READ({"kind": "ray", "address": "local", "most": 4}) == RayOptions(address="local", most=4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rai", "no executor is named 'rai'. Did you mean 'ray'"),
        ({"kind": "ray", "least": 3, "most": 2}, "most 2 is less than least 3"),
        ({"kind": "local", "most": 2}, "most"),
    ],
)
def test_mistakes_are_told(given, says):
    with pytest.raises(ValidationError, match=r"(?s).*" + says.replace(".", r"\.")):
        READ(given)


def test_each_opens_what_it_says(monkeypatch):
    assert LocalOptions().open(3) == Local(3)
    assert RayOptions().open(3) == Ray("auto", 1, 3, 1, 0, 600)
    assert RayOptions(least=5).open(3).most == 5
    for name, value in {"JOB_ID": "7", "PROCID": "3", "LOCALID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert SlurmOptions().open(3) == Slurm(1, "7.3", workers=0)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert [options.open(3).workers for options in (SlurmOptions(), LocalOptions(), RayOptions(most=64))] == [8, 3, 64]
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
    assert SlurmOptions().open(3).workers == 32
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(UserError, match=r"no task of a Slurm job .* start it by srun"):
        SlurmOptions().open(3)
