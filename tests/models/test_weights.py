"""Weight files are read without running them, and known by their content."""

import os

import pytest
import torch
from safetensors.torch import save_file

from captioners.core.errors import NotFoundError, UserError
from captioners.models.weights import cached_digest, read_weights, weights_digest

STATE = {
    "a.weight": torch.arange(12.0).view(3, 4),
    "b.scale": torch.tensor(2.5),
    "c.half": torch.ones(5, dtype=torch.bfloat16),
    "d.long": torch.tensor([1, 2, 3]),
}


def _same(found, wanted=STATE):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "safetensors"])
def test_every_format_gives_the_same_tensors_and_the_same_digest(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(STATE, path)
    _same(read_weights(path))
    assert weights_digest(read_weights(path)) == weights_digest(STATE)


def test_the_old_pickle_format_is_read_too(tmp_path):
    torch.save(STATE, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    _same(read_weights(tmp_path / "old.pt"))


def test_a_training_checkpoint_and_the_prefix_of_ddp_are_unwrapped(tmp_path):
    wrapped = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"epoch": 3, "name": "x", "state_dict": wrapped, "optimizer": {"lr": 0.1}}, tmp_path / "e.pt")
    _same(read_weights(tmp_path / "e.pt"))


class _Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, new):
    torch.save({"a": _Bomb(tmp_path / "ran")}, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match="could run any code; refused"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_named_as_that(tmp_path, suffix, share):
    path = tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)({"a": torch.zeros(5000)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"w\.(pt|safetensors): .*copy or download it again"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", b"\0" * 900, b"\x80\x02rubbish"]
)
def test_what_is_no_weights_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "w.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights .*w\.bin") as refusal:
        read_weights(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_file_without_tensors_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(NotFoundError, match="no such file"):
        read_weights(tmp_path)
    for content in ({}, {"lr": 0.1}, [torch.zeros(1)], torch.zeros(1)):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(UserError, match="holds no table of tensors"):
            read_weights(tmp_path / "w.pt")


def test_the_digest_sees_names_types_shapes_and_every_bit_but_not_the_order_or_the_layout():
    digest = weights_digest(STATE)
    assert weights_digest(dict(reversed(STATE.items()))) == digest
    assert weights_digest({**STATE, "a.weight": STATE["a.weight"].T.contiguous().T}) == digest
    flipped = STATE["a.weight"].clone()
    flipped.view(torch.int32)[2, 3] ^= 1
    changes = (
        {**STATE, "a.weight": flipped},
        {**STATE, "a.weight": STATE["a.weight"].view(4, 3)},
        {**STATE, "d.long": STATE["d.long"].int()},
        {("e" + name[1:] if name == "d.long" else name): tensor for name, tensor in STATE.items()},
        {name: tensor for name, tensor in STATE.items() if name != "b.scale"},
    )
    assert len({digest, *map(weights_digest, changes)}) == len(changes) + 1


def test_the_digest_of_a_part_depends_on_that_part_alone():
    changed = {**STATE, "d.long": torch.tensor([7])}
    assert weights_digest(changed, "a.") == weights_digest(STATE, "a.") != weights_digest(STATE)


def test_the_cached_digest_is_of_this_file_and_forgets_a_changed_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "w.pt"
    torch.save(STATE, path)
    assert cached_digest(path, STATE) == weights_digest(STATE)
    assert cached_digest(path, {}) == weights_digest(STATE), "the second time nothing is hashed"
    assert cached_digest(path, STATE, "a.") == weights_digest(STATE, "a.")
    os.utime(path, ns=(1, 1))
    assert cached_digest(path, {"x": torch.ones(1)}) == weights_digest({"x": torch.ones(1)})
    (tmp_path / "cache" / "captioners" / "digests.json").write_text("{broken")
    assert cached_digest(path, STATE) == weights_digest(STATE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # no directory can be made there
    assert cached_digest(path, STATE) == weights_digest(STATE)
