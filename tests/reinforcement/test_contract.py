"""captioners/reinforcement/contract: each trap has its name, and the judge meets what it says."""

import io
import json
import pickle
from contextlib import suppress

import numpy as np
import pytest

from captioners.reinforcement.contract import problems
from captioners.text.tokenizer import ClipTokenizer
from tests.data.tars import foreign
from tests.reinforcement.reference import draw, grouped, read_shard
from tests.reinforcement.samples import BOX, captioned, npz, pth, reinforced, table


def packed(value):
    return json.dumps(value).encode()


def syn(value):
    return captioned(syn_json=packed(value))


def traps(members, key="0001"):
    return [one.trap for one in problems(key, members)]


def last(members, name):
    return {**{one: data for one, data in members.items() if one != name}, name: members[name]}


GOOD = {
    "captioned": captioned(),
    "two captioners": syn({"syn_text_a": ["a"], "syn_text_b": ["b", "c"]}),
    "split": reinforced(),
    "legacy": reinforced("legacy"),
    "bfloat16": reinforced(bfloat16=True),
    "bfloat16, legacy": reinforced("legacy", bfloat16=True),
    "RandAugment left out": reinforced(paug_json=packed({"param_aug": [[[0, 0, 5, 5], None]] * 3})),
    "no url, no json": captioned(json=None, url_txt=None),
    "harmless fields": captioned(json=packed({"uid": "0001", "url": "x", "cap_meta": {"emb": 1}, "captions": ["x"]})),
}


@pytest.mark.parametrize("members", GOOD.values(), ids=GOOD)
def test_the_judge_takes_what_has_no_trap(members, tmp_path):
    assert traps(members) == []
    path = foreign(tmp_path / "0.tar", [(f"0001.{name}", data) for name, data in members.items()])
    (sample,) = read_shard(path)
    assert sample["uid"] == "0001"
    random = np.random.default_rng(0)
    for _ in range(20):
        draw(grouped(path)["0001"], random, online="paug.json" not in members)


def augmented(one):
    """A reinforced sample with one augmentation among its three."""
    return reinforced(paug_json=packed({"param_aug": [BOX, one, BOX]}))


ODD = "silent"
OWN = ("uid", "image", "text", "caption", "url", "width", "syn_text")
TABLES = {"image_emb": table(3), "text_emb": table(1), "syn_text_emb": table(2)}
# An element of param_aug -> what the judge meets.
AUGMENTATIONS = [
    ([[]], "run"), ([None], "run"), ([None, None], "run"), (BOX[::-1], "run"), ([BOX[0]] * 3, "run"), ([], "run"),
    ([BOX[0], [[9, float("nan")]]], ODD), ([BOX[0], [[9, True]]], ODD), ([BOX[0], BOX[1], BOX[1]], "run"),
]  # fmt: skip
# trap, members, what the judge meets: the shard is given up (shard), training dies (run), or it goes wrong silently.
BAD = [
    ("image_name", captioned(jpg=None, png=b"\x89PNG picture"), "shard"),
    ("image_name", captioned(jpg=None, jpeg=b"\xff\xd8 picture"), "shard"),
    ("upper_case", captioned(jpg=None, JPG=b"\xff\xd8 picture"), "shard"),
    ("extension", captioned(cls=b"3"), "shard"),
    ("extension", captioned(npy=b"3"), "shard"),
    ("not_utf8", captioned(txt=b"caf\xe9"), "shard"),
    ("not_utf8", captioned(json=b'{"a": "caf\xe9"}'), "shard"),
    ("not_json", captioned(json=b"{"), "shard"),
    ("not_an_object", captioned(json=b"[1, 2]"), "shard"),
    ("not_an_object", captioned(syn_json=b'["a dog"]'), "shard"),
    ("no_syn", captioned(syn_json=None), "run"),
    ("no_syn", syn({}), "run"),
    ("empty_list", syn({"syn_text": []}), "run"),
    ("not_a_list", syn({"syn_text": "a dog"}), ODD),
    ("not_a_list", syn({"syn_text": {"model": "x"}}), "run"),
    ("not_text", syn({"syn_text": ["a dog", None]}), ODD),
    ("empty_caption", syn({"syn_text": ["a dog", " "]}), ODD),
    ("unstripped", syn({"syn_text": ["a dog "]}), ODD),
    ("too_long", syn({"syn_text": ["dog " * 75 + "dog"]}), ODD),
    ("syn_key", syn({"syn_text": ["a dog"], "model": "x"}), ODD),
    ("syn_key", syn({"syn_text_december": ["a dog"]}), ODD),
    ("no_text", captioned(txt=None), ODD),
    ("no_image", captioned(jpg=None), ODD),
    ("empty_image", captioned(jpg=b""), ODD),
    ("caption_key", captioned(json=packed({"caption": "x"})), ODD),
    ("reserved_key", captioned(json=packed({"text": "x"})), ODD),
    ("reserved_key", captioned(json=packed({"syn_text_old": ["x"]})), ODD),
    ("reserved_key", captioned(json=packed({"their_captions": ["x"]})), ODD),
    ("emb_key", captioned(json=packed({"member": 3})), ODD),
    ("overrides", last(captioned(json=packed({"uid": "other"})), "json"), ODD),
    ("overrides", last(captioned(json=packed({"url": "other"})), "json"), ODD),
    ("no_paug", reinforced(paug_json=None), "run"),
    ("no_emb", reinforced(npz=None), "run"),
    ("no_emb", reinforced(npz=npz(text_emb=table(1), syn_text_emb=table(2))), "run"),
    ("paug", reinforced(paug_json=packed({"param_aug": str([[1, 2]])})), "run"),
    ("paug", reinforced(paug_json=packed({"param_aug": [[[0, 0, 5, 5], [[14, 1.0]]]] * 3})), "run"),
    ("paug", reinforced(paug_json=packed({"param_aug": []})), "run"),
    *[("paug", augmented(one), met) for one, met in AUGMENTATIONS],
    *[("paug_key", reinforced(paug_json=packed({"param_aug": [BOX] * 3, key: "x"})), ODD) for key in OWN],
    *[("array_name", reinforced(npz=npz(**TABLES, **{key: table(1)})), ODD) for key in ("image", "uid", "text")],
    ("emb_rows", reinforced(npz=npz(image_emb=table(2), text_emb=table(1), syn_text_emb=table(2))), "run"),
    ("emb_rows", reinforced(npz=npz(image_emb=table(3), text_emb=table(1), syn_text_emb=table(1))), "run"),
    ("emb_rows", reinforced("legacy", syn_json=packed({"syn_text": ["a"] * 5})), "run"),
    ("emb_missing", reinforced(syn_json=packed({"syn_text": ["a", "b"], "syn_text_x": ["c"]})), "run"),
    ("emb_shape", reinforced(npz=npz(image_emb=table(3), text_emb=table(1), syn_text_emb=table(0))), "run"),
    ("emb_shape", reinforced(npz=npz(image_emb=table(3), text_emb=table(1, 5), syn_text_emb=table(2))), ODD),
    ("not_finite", reinforced(npz=npz(image_emb=table(3) * np.inf, text_emb=table(1), syn_text_emb=table(2))), ODD),
    ("legacy_keys", reinforced("legacy", syn_json=packed({"syn_text": ["a", "b"], "syn_text_x": ["c", "d"]})), ODD),
    ("legacy_keys", reinforced("legacy", syn_json=packed({"syn_text_x": ["c", "d"]})), ODD),
    ("unreadable_emb", reinforced(npz=b"no zip"), "shard"),
    ("unreadable_emb", reinforced(npz=None, pth_gz=b"no gzip"), "shard"),
    ("emb_rows", reinforced(bfloat16=True, paug_json=packed({"param_aug": [[[0, 0, 5, 5], None]] * 4})), "run"),
]  # fmt: skip


@pytest.mark.parametrize(("trap", "members", "met"), BAD, ids=[f"{one[0]}-{n}" for n, one in enumerate(BAD)])
def test_every_trap_is_told_and_the_judge_meets_it(trap, members, met, tmp_path):
    told = problems("0001", members)
    assert trap in [one.trap for one in told]
    assert all(one.remedy and one.member.startswith("0001.") and "\n" not in str(one) for one in told)
    path = foreign(tmp_path / "0.tar", [(f"0001.{name}", data) for name, data in members.items()])
    if met == "shard":
        with pytest.raises(Exception, match=r"(?s).*"):
            read_shard(path)
        return
    read_shard(path)
    random, online, died = np.random.default_rng(0), "paug.json" not in members and "npz" not in members, 0
    for _ in range(40):
        try:
            draw(grouped(path)["0001"], random, online)
        except (KeyError, ValueError, IndexError, TypeError):
            died += 1
    assert (died > 0) == (met == "run")


@pytest.mark.parametrize(
    ("name", "trap"),
    [
        ("./0001.jpg", "leading_dot"),
        ("v1.0/x.jpg", "dotted_name"),
        ("a.b.jpg", "dotted_name"),
        ("a.b.syn.json", "dotted_name"),
        (".hidden.jpg", "dotted_name"),
    ],
)
def test_names_that_readers_split_elsewhere(name, trap, tmp_path):
    key, _, extension = name.rpartition(".")
    assert traps({extension: b"x"}, key)[0] == trap
    # Some of them are read, as something else.
    path = foreign(tmp_path / "0.tar", [(name, b"{}")])
    with suppress(ValueError):
        assert read_shard(path)[0]["uid"] != key


def test_a_pickle_is_never_loaded():
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    file = io.BytesIO()
    np.savez(file, image_emb=np.array([Bomb()], dtype=object))
    assert "pickled" in traps(reinforced(npz=file.getvalue()))
    import gzip

    import torch

    file = io.BytesIO()
    torch.save({"image_emb": Bomb()}, file)
    assert "pickled" in traps(reinforced(npz=None, pth_gz=gzip.compress(file.getvalue())))
    assert "unreadable_emb" in traps(reinforced(npz=None, pth_gz=gzip.compress(pickle.dumps([1], protocol=2))))


def test_tokens_are_counted_as_the_tokenizer_does():
    exactly = "dog " * 75
    assert len(ClipTokenizer().encode(exactly)) == 75
    assert traps(syn({"syn_text": [exactly.strip()]})) == []
    (told,) = problems("0001", syn({"syn_text": [f"{exactly}dog"]}))
    assert "78 CLIP tokens" in told.what


def test_the_remedy_of_a_second_key_beside_legacy_embeddings_says_which_to_train_with():
    two = packed({"syn_text_x": ["c", "d"], "syn_text": ["a", "b"]})
    (told,) = [one for one in problems("0001", reinforced("legacy", syn_json=two)) if "2 keys" in one.what]
    assert told.remedy.endswith("--dataset-reinforcement-syn-text-key-regex '^(syn_text)$'")


def test_pth_of_float32_is_read_as_well():
    assert traps(reinforced(npz=None, pth_gz=pth(image_emb=table(3), text_emb=table(1), syn_text_emb=table(2)))) == []
