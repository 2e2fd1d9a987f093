"""reinforce: what it writes against pixels and embeddings computed one by one, what it leaves out, how it goes on."""

import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from captioners.cli.main import run as command
from captioners.cli.reinforce import report
from captioners.core.errors import RecipeError, UserError
from captioners.core.recipe import options_from
from captioners.core.run_dir import RunDir
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.estimate import estimate
from captioners.jobs.reinforce.job import reinforce
from captioners.reinforcement.augmentation import Augmentation, replay
from captioners.reinforcement.contract import problems
from captioners.reinforcement.dataset import ReinforcedDataset, StudentTransform
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.teachers import Ensemble, open_teacher
from tests.data.tars import foreign
from tests.jobs import captioned

NAMES = ("00/0.tar", "01/0.tar", "01/1.tar")


def recipe(folder, out="run", **more):
    """A recipe over `folder`/in; small batches, so that a shard has several groups of several chunks."""
    said = {
        "source": {"inputs": [f"{folder}/in"]}, "n_aug": 3, "batch": 2, "output": f"{folder}/{out}",
        "image_augmentation": {"random_resized_crop": {"size": 32}}, "quarantine_ceiling": 1.0, **more,
    }  # fmt: skip
    return options_from(ReinforceRecipe, said, [] if "teachers" in more else [f"teachers={captioned.TEACHERS}"])


def shards(run):
    folder = Path(run, "shards")
    return {path.relative_to(folder).as_posix(): captioned.read(path) for path in sorted(folder.rglob("*.tar"))}


@lru_cache
def teacher_of(name, seed=None):
    return open_teacher(TeacherOptions(name=name, pretrained="random", seed=seed), torch.device("cpu"))


def one_by_one(members, syn=("syn_text",)):
    """The independent answer: each crop and each text by itself, by open_clip's own encoders, in float64 at the end."""
    image = Image.open(io.BytesIO(members["jpg"])).convert("RGBA").convert("RGB")
    drawn = json.loads(members["paug.json"])["param_aug"]
    captions = json.loads(members["syn.json"])
    blocks = []
    for teacher in (teacher_of("tiny"), teacher_of("tiny-siglip", 1)):
        means, stds = torch.tensor(teacher.preprocess.means), torch.tensor(teacher.preprocess.stds)
        found = {"image_emb": [], "text_emb": [members["txt"].decode()], **{f"{key}_emb": captions[key] for key in syn}}
        with torch.inference_mode():
            for params in drawn:
                crop = replay(image, params, Augmentation(size=32), teacher.size)
                pixels = (torch.from_numpy(np.array(crop)).float() / 255 - means) / stds
                found["image_emb"].append(teacher.model.encode_image(pixels.permute(2, 0, 1)[None])[0].double())
            for key in list(found)[1:]:
                found[key] = [teacher.model.encode_text(teacher.tokens([text]))[0].double() for text in found[key]]
        blocks.append({key: np.stack([(row / row.norm()).numpy() for row in rows]) for key, rows in found.items()})
    return {key: np.concatenate([block[key] for block in blocks], axis=1) for key in blocks[0]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reinforce")
    captioned.write(folder / "in", NAMES, samples=11)
    return folder, reinforce(recipe(folder))


def test_every_sample_of_every_batch_has_what_its_teachers_say(made):
    folder, run = made
    assert (run.counts.read, run.counts.captioned, run.counts.quarantined) == (33, 33, 0)
    for name, found in shards(folder / "run").items():
        for key, members in found:
            assert problems(key, members) == []
            said, wanted = captioned.arrays(members), one_by_one(members)
            assert set(said) == set(wanted) == {"image_emb", "text_emb", "syn_text_emb"}
            for array in wanted:
                assert said[array].shape == wanted[array].shape and said[array].dtype == np.float32
                assert np.abs(said[array] - wanted[array]).max() < 1e-5, (name, key, array)
            assert np.abs(said["image_emb"] - wanted["image_emb"][::-1]).max() > 1e-3, "the rows differ"
            lengths = [np.linalg.norm(rows, axis=1) for rows in (said["image_emb"][:, :48], said["image_emb"][:, 48:])]
            assert np.abs(np.concatenate(lengths) - 1).max() < 1e-5


def test_what_was_there_stays_as_it_was_in_its_order_under_its_name(made):
    folder, _ = made
    found = shards(folder / "run")
    assert sorted(found) == sorted(NAMES)
    for name in NAMES:
        before = captioned.read(folder / "in" / name)
        assert [key for key, _ in before] == [key for key, _ in found[name]]
        for (_, old), (_, new) in zip(before, found[name], strict=True):
            assert {extension: new[extension] for extension in old} == old
            assert set(new) - set(old) == {"paug.json", "npz"}
            assert list(new) == sorted(new)


def test_what_stands_beside_the_shards_is_what_trainers_look_for(made):
    folder, _ = made
    run = folder / "run/shards"
    assert json.loads((run / "01/sizes.json").read_text()) == {"0.tar": 11, "1.tar": 11}
    lines = (run / "01/manifest.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"shard": "0", "num_uids": 11}, {"shard": "1", "num_uids": 11}]
    config = json.loads((run / "config.json").read_text())
    assert config["num_samples"] == 3 and config["model_name"] == "tiny,tiny-siglip"
    assert [teacher["logit_scale"] for teacher in config["teachers"]] == [70.0, 60.0]
    assert [teacher["dim"] for teacher in config["teachers"]] == list(captioned.DIMS)
    assert Augmentation.of(config["reinforce"]["image_augmentation"]) == Augmentation(size=32)
    assert not (folder / "run/left_out.jsonl").exists() and not (folder / "run/attempts").exists()


def test_other_workers_give_the_same_bytes(made):
    folder, _ = made
    for number, more in enumerate(({"workers": 2, "decode_threads": 1}, {"decode_threads": 3})):
        reinforce(recipe(folder, f"other-{number}", **more))
        assert captioned.digests(folder / f"other-{number}") == captioned.digests(folder / "run")
    reinforce(recipe(folder, "other-seed", seed=1))
    assert captioned.digests(folder / "other-seed") != captioned.digests(folder / "run"), "the negative control"


def test_a_pilot_then_the_rest_is_the_same_run_and_what_is_done_stays(made):
    folder, _ = made
    first = reinforce(recipe(folder, "pilot", max_shards=1))
    assert (first.shards, first.frozen, first.counts.captioned) == (1, 3, 11)
    before = {path: path.stat().st_mtime_ns for path in (folder / "pilot").rglob("*.tar")}
    assert len(before) == 1
    reinforce(recipe(folder, "pilot", batch=5))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert captioned.digests(folder / "pilot") == captioned.digests(folder / "run"), "the batch stays as it began"


def test_a_finished_shard_that_is_gone_is_told(tmp_path):
    captioned.write(tmp_path / "in", ("0.tar",), 2)
    reinforce(recipe(tmp_path))
    (tmp_path / "run/shards/0.tar").unlink()
    with pytest.raises(UserError, match=r"run/shards/0.tar is gone, .*captioners verify"):
        reinforce(recipe(tmp_path))


def test_another_teacher_or_augmentation_is_refused_by_name_and_another_scale_is_none(made):
    folder, _ = made
    with pytest.raises(UserError, match=r"shards that were made otherwise \(n_aug: 3 there, 4 here\)"):
        reinforce(recipe(folder, n_aug=4))
    other = [{"name": "tiny", "pretrained": "random", "seed": 5}, {"name": "tiny-siglip", "pretrained": "random"}]
    with pytest.raises(UserError, match=r"teachers\.0\.weights"):
        reinforce(recipe(folder, teachers=other))
    scaled = [
        {"name": "tiny", "pretrained": "random", "scale": 1},
        {"name": "tiny-siglip", "pretrained": "random", "seed": 1},
    ]
    assert reinforce(recipe(folder, teachers=scaled)).counts.captioned == 33
    reinforce(recipe(folder))


@pytest.mark.parametrize(
    ("dtype", "layout", "extension", "names"),
    [
        ("bfloat16", "split", "pth.gz", {"image_emb", "text_emb", "syn_text_emb"}),
        ("bfloat16", "legacy", "pth.gz", {"image_emb", "text_emb"}),
        ("float32", "legacy", "npz", {"image_emb", "text_emb"}),
    ],
)
def test_both_layouts_and_dtypes_hold_the_same_embeddings(made, dtype, layout, extension, names):
    folder, _ = made
    out = f"{dtype}-{layout}"
    reinforce(recipe(folder, out, dtype=dtype, layout=layout, max_shards=1))
    name = "00/0.tar"
    for (key, members), (_, plain) in zip(shards(folder / out)[name], shards(folder / "run")[name], strict=True):
        said, wanted = captioned.arrays(members), captioned.arrays(plain)
        assert problems(key, members) == [] and extension in members and set(said) == names
        texts = np.concatenate([wanted["text_emb"], wanted["syn_text_emb"]])
        told = said["text_emb"] if layout == "legacy" else np.concatenate([said["text_emb"], said["syn_text_emb"]])
        worst = max(np.abs(told - texts).max(), np.abs(said["image_emb"] - wanted["image_emb"]).max())
        assert worst < (4e-3 if dtype == "bfloat16" else 1e-9)
        assert members["paug.json"] == plain["paug.json"]


def oriented(number):
    """A photo whose EXIF says that it lies on its side, which a trainer does not heed."""
    image, exif = Image.open(io.BytesIO(captioned.jpeg(number))), Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def transparent(number):
    image = Image.open(io.BytesIO(captioned.jpeg(number))).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_pictures_are_seen_as_in_training(tmp_path):
    odd = {0: oriented(0), 1: transparent(1), 2: captioned.jpeg(2, (80, 60))[:-900]}
    captioned.write(
        tmp_path / "in",
        ("0.tar",),
        4,
        lambda number, members: {**members, **({"jpg": odd[number]} if number in odd else {})},
    )
    assert reinforce(recipe(tmp_path)).counts.captioned == 4
    for _, members in shards(tmp_path / "run")["0.tar"][:2]:
        assert np.abs(captioned.arrays(members)["image_emb"] - one_by_one(members)["image_emb"]).max() < 1e-5
    cut = shards(tmp_path / "run")["0.tar"][2][1]
    assert np.isfinite(captioned.arrays(cut)["image_emb"]).all()


def test_samples_that_cannot_be_reinforced_are_left_out_with_their_reason(tmp_path):
    def spoil(number, members):
        spoiled = {
            1: {**members, "jpg": b"not a picture"},
            2: {name: data for name, data in members.items() if name != "syn.json"},
            3: {**members, "syn.json": b'{"syn_text": []}'},
            4: {name: data for name, data in members.items() if name != "txt"},
            5: {**members, "syn.json": b'{"syn_text": "not a list"}'},
            6: {**members, "txt": b"\xff\xfe"},
            7: {**members, "syn.json": json.dumps({"syn_text": ["many words " * 60 + "end", "b"]}).encode()},
            8: {**members, "jpg": b""},
            9: {"png" if name == "jpg" else name: data for name, data in members.items()},
        }
        return spoiled.get(number, members)

    captioned.write(tmp_path / "in", ("0.tar", "1.tar"), 8, spoil)
    whole = (tmp_path / "in/1.tar").read_bytes()
    (tmp_path / "in/1.tar").write_bytes(whole[: len(whole) * 3 // 4])
    captioned.write(tmp_path / "in", ("2.tar",), 3, lambda number, members: {**members, "jpg": b""})
    run = reinforce(recipe(tmp_path))
    left = [json.loads(line) for line in (tmp_path / "run/left_out.jsonl").read_text().splitlines()]
    reasons = {(one["shard"], one["index"]): one["reason"] for one in left}
    assert reasons == {
        ("0.tar", 1): "not_an_image", ("0.tar", 2): "no_syn", ("0.tar", 3): "empty_list", ("0.tar", 4): "no_text",
        ("0.tar", 5): "not_a_list", ("0.tar", 6): "not_utf8", ("1.tar", 0): "empty_image", ("1.tar", 1): "image_name",
        ("1.tar", 6): "cut_tar", ("2.tar", 0): "empty_image", ("2.tar", 1): "empty_image", ("2.tar", 2): "empty_image",
    }  # fmt: skip
    counts = run.counts
    assert counts.read == counts.captioned + counts.quarantined == 8 + 6 + 3
    found = shards(tmp_path / "run")
    assert sum(len(samples) for samples in found.values()) == counts.captioned and "2.tar" not in found
    assert [key for key, _ in found["0.tar"]] == ["000000", "000007"]
    assert json.loads((tmp_path / "run/shards/sizes.json").read_text()) == {name: len(of) for name, of in found.items()}
    for samples in found.values():
        for _, members in samples:
            assert np.abs(captioned.arrays(members)["image_emb"] - one_by_one(members)["image_emb"]).max() < 1e-5


def with_more_captions(folder, out, change):
    """Write the reinforced shards of `folder`/run again, their captions changed."""
    for name, found in shards(folder / "run").items():
        path = Path(folder, out, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for key, members in found:
                for extension, data in sorted(change(key, members).items()):
                    info = tarfile.TarInfo(f"{key}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def more(_key, members):
    captions = json.loads(members["syn.json"]) | {"syn_text_more": ["one more caption", "and yet another"]}
    return {**members, "syn.json": json.dumps(captions).encode()}


@pytest.mark.parametrize("before", [{}, {"dtype": "bfloat16", "layout": "legacy"}])
def test_an_embedded_shard_that_got_captions_gets_their_embeddings_and_keeps_its_own(tmp_path, before):
    captioned.write(tmp_path / "in", ("0.tar",), 5)
    reinforce(recipe(tmp_path, **before))
    with_more_captions(tmp_path, "more", more)
    reinforce(recipe(tmp_path, "again", source={"inputs": [f"{tmp_path}/more"]}))
    for (key, members), (_, old) in zip(
        shards(tmp_path / "again")["0.tar"], shards(tmp_path / "run")["0.tar"], strict=True
    ):
        said, known = captioned.arrays(members), captioned.arrays(old)
        assert problems(key, members) == [] and "pth.gz" not in members
        assert members["paug.json"] == old["paug.json"]
        assert (said["image_emb"] == known["image_emb"]).all(), "kept as they were"
        wanted = one_by_one(members, ("syn_text", "syn_text_more"))
        assert set(said) == set(wanted)
        assert np.abs(said["syn_text_more_emb"] - wanted["syn_text_more_emb"]).max() < 1e-5
        assert np.abs(said["syn_text_emb"] - wanted["syn_text_emb"]).max() < 4e-3


@pytest.mark.parametrize("before", [{}, {"dtype": "bfloat16", "layout": "legacy"}])
def test_captions_replaced_under_their_key_get_their_own_embeddings(tmp_path, capsys, before):
    def replaced(key, members):
        captions = json.loads(members["syn.json"])["syn_text"]
        if key == "000001":
            captions = [captions[0], "a giraffe on the moon"]
        if key == "000002":
            captions = [*captions, "and a third"]
        said = {"syn_text": captions}
        return {**members, "syn.json": json.dumps(said).encode()}

    captioned.write(tmp_path / "in", ("0.tar",), 3)
    reinforce(recipe(tmp_path, **before))
    with_more_captions(tmp_path, "more", replaced)
    run = reinforce(recipe(tmp_path, "again", source={"inputs": [f"{tmp_path}/more"]}))
    assert (run.counts.captioned, run.renewed) == (3, 1 + 3)
    report(run)
    assert "4 captions had embeddings of other ones" in capsys.readouterr().out
    found, old = shards(tmp_path / "again")["0.tar"], dict(shards(tmp_path / "run")["0.tar"])
    for key, members in found:
        said, wanted = captioned.arrays(members), one_by_one(members)
        assert np.abs(said["syn_text_emb"] - wanted["syn_text_emb"]).max() < 4e-3
        known = captioned.arrays(old[key])
        if key == "000002":
            continue
        rows = known.get("syn_text_emb", known["text_emb"][1:])
        assert [bool((a == b).all()) for a, b in zip(said["syn_text_emb"], rows, strict=True)] == (
            [True, key != "000001"]
        ), "what is right stays bit for bit"


def test_augmentations_that_are_there_are_as_many_as_the_configuration_says(tmp_path):
    captioned.write(tmp_path / "in", ("0.tar",), 3)
    reinforce(recipe(tmp_path))
    source = {"inputs": [f"{tmp_path}/run/shards"]}
    with pytest.raises(UserError, match=r"n_aug 2: 0.tar: 000000 has 3 augmentations, .* say n_aug=3"):
        reinforce(recipe(tmp_path, "two", source=source, n_aug=2))
    bare = dict(captioned.read(tmp_path / "in/0.tar"))["000000"]
    with_more_captions(tmp_path, "mixed", lambda key, members: bare if key == "000000" else members)
    run = reinforce(recipe(tmp_path, "mixed-2", source={"inputs": [f"{tmp_path}/mixed"]}, n_aug=2))
    assert (run.counts.captioned, run.reasons["other_augmentations"][0]) == (1, 2)
    assert json.loads((tmp_path / "mixed-2/shards/config.json").read_text())["num_samples"] == 2


def test_an_embedded_sample_is_judged_in_the_order_that_it_is_written_in(tmp_path):
    captioned.write(tmp_path / "in", ("0.tar",), 2)
    reinforce(recipe(tmp_path))
    (tmp_path / "odd").mkdir()
    entries = [
        (f"{key}.{name}", data if name != "json" else b'{"uid": "x", "url": "y"}')
        for key, members in shards(tmp_path / "run")["0.tar"]
        for name, data in reversed(members.items())
    ]
    foreign(tmp_path / "odd/0.tar", entries)
    run = reinforce(recipe(tmp_path, "again", source={"inputs": [f"{tmp_path}/odd"]}))
    assert run.counts.captioned == 2
    assert all(problems(key, members) == [] for key, members in shards(tmp_path / "again")["0.tar"])


def test_embeddings_of_other_teachers_are_not_mixed_with_these(tmp_path):
    captioned.write(tmp_path / "in", ("0.tar",), 3)
    reinforce(recipe(tmp_path))
    with_more_captions(tmp_path, "more", more)
    source = {"inputs": [f"{tmp_path}/more"]}
    others = [
        {"name": "tiny", "pretrained": "random", "seed": 9},
        {"name": "tiny-siglip", "pretrained": "random", "seed": 1},
    ]
    run = reinforce(recipe(tmp_path, "others", source=source, teachers=others))
    assert run.counts.captioned == 0 and run.reasons["other_teachers"][0] == 3
    assert "teacher 1 says another thing" in run.reasons["other_teachers"][1]
    run = reinforce(recipe(tmp_path, "one", source=source, teachers=others[:1]))
    assert "80 wide, these teachers' 48" in run.reasons["other_teachers"][1]


@pytest.mark.parametrize("syn", [{"syn_text": ["a"], "syn_text_more": ["b"]}, {"syn_text_coco": ["a"]}], ids=list)
def test_a_layout_that_cannot_hold_the_keys_of_captions_is_refused_at_the_start(tmp_path, syn):
    packed = json.dumps(syn).encode()
    captioned.write(tmp_path / "in", ("0.tar",), 3, lambda _, members: {**members, "syn.json": packed})
    with pytest.raises(UserError, match=rf"the key syn_text alone, here are {', '.join(syn)}; .*tags=.*layout=split"):
        reinforce(recipe(tmp_path, layout="legacy"))
    assert not (tmp_path / "run").exists()


def test_a_sample_further_on_that_the_layout_cannot_hold_is_left_out(tmp_path):
    captioned.write(
        tmp_path / "in", ("0.tar",), 3, lambda number, members: more("", members) if number == 2 else members
    )
    run = reinforce(recipe(tmp_path, layout="legacy"))
    assert (run.counts.captioned, run.reasons["legacy_keys"][0]) == (2, 1)


@pytest.mark.parametrize(
    "more", [{"uids": "x.npy"}, {"image_key": "png"}, {"caption_key": "json:caption"}, {"keep": ["cls"]}]
)
def test_what_chooses_of_samples_is_refused_and_not_ignored(tmp_path, more):
    (name,) = more
    with pytest.raises(RecipeError, match=rf"source\.{name} chooses of samples"):
        recipe(tmp_path, source={"inputs": [f"{tmp_path}/in"], **more})


def test_the_command_says_what_it_did_and_refuses_what_it_cannot_do(tmp_path, capfd):
    captioned.write(tmp_path / "in", ("0.tar",), 3)
    arguments = ["reinforce", "reinforce/dfndr_2b", f"source.inputs=['{tmp_path}/in']", f"output={tmp_path}/run"]
    assert command([*arguments, f"teachers={captioned.TEACHERS}"]) == 0
    said = capfd.readouterr().out
    assert "3 samples = 3 reinforced + 0 left out" in said and "to write" in said and "verify" in said
    assert command([*arguments, f"teachers={captioned.TEACHERS}"]) == 0 and "nothing is left" in capfd.readouterr().out
    assert command([*arguments, "allow_noncommercial=false"]) == 1
    assert "allow_noncommercial=true" in capfd.readouterr().err
    assert command(["status", f"{tmp_path}/run"]) == 0 and command(["verify", f"{tmp_path}/run"]) == 0
    assert "3 read = 3 reinforced + 0 left out" in (said := capfd.readouterr().out) and "captions" not in said
    (tmp_path / "run/shards/0.tar").write_bytes(b"x")
    capfd.readouterr()
    assert command(["verify", f"{tmp_path}/run"]) == 2 and "has changed since it was written" in capfd.readouterr().err
    assert RunDir(tmp_path / "run").ledger.find("reinforced", "0.tar", 0).counts.captioned == 3


@pytest.mark.parametrize(("dtype", "layout", "n_aug"), [("float32", "split", 2), ("bfloat16", "legacy", 30)])
def test_the_size_that_is_told_at_the_start_is_the_written_one(tmp_path, dtype, layout, n_aug):
    captioned.write(tmp_path / "in", ("0.tar", "1.tar"), 60)
    asked = recipe(tmp_path, dtype=dtype, layout=layout, n_aug=n_aug, batch=64)
    source = asked.source.open()
    told = estimate(asked, source.shards(), captioned.DIMS)
    run = reinforce(asked)
    assert told.samples == 120 and told.whole == pytest.approx(run.written, rel=0.03)


def test_a_stored_augmentation_replayed_is_what_the_teachers_saw_bit_for_bit(tmp_path, monkeypatch):
    seen, images = {32: [], 48: []}, Ensemble.images

    def spy(self, pixels):
        for size in pixels:
            seen[size] += list(pixels[size].copy())
        return images(self, pixels)

    monkeypatch.setattr(Ensemble, "images", spy)
    captioned.write(tmp_path / "in", ("0.tar",), 6)
    reinforce(recipe(tmp_path))
    for size, teachers_saw in seen.items():
        replayed = []
        for _, members in shards(tmp_path / "run")["0.tar"]:
            image = Image.open(io.BytesIO(members["jpg"])).convert("RGBA").convert("RGB")
            for params in json.loads(members["paug.json"])["param_aug"]:
                replayed.append(np.asarray(replay(image, params, Augmentation(size=32), size)).transpose(2, 0, 1))
        assert np.array_equal(np.stack(teachers_saw), np.stack(replayed))
        assert not np.array_equal(teachers_saw[0], teachers_saw[1]), "each is drawn for itself"


def test_what_is_written_passes_verify_and_trains_a_student_that_sees_what_its_teacher_saw(made, capfd):
    folder, _ = made
    assert command(["verify", f"{folder}/run/shards", "--target", "mobileclip-dr"]) == 0, capfd.readouterr()
    teacher = teacher_of("tiny")
    tokenize = open_clip.SimpleTokenizer(context_length=77)
    dataset = ReinforcedDataset([f"{folder}/run/shards"], tokenize, StudentTransform(size=32))
    assert len(dataset) == 33
    for number in range(len(dataset)):
        example = dataset[number]
        with torch.inference_mode():
            seen = torch.nn.functional.normalize(teacher.model.encode_image(example.image[None]), dim=-1)[0]
            read = torch.nn.functional.normalize(teacher.model.encode_text(example.text[None]), dim=-1)[0]
        assert (seen - example.image_emb[:48]).abs().max() < 1e-5
        assert (read - example.text_emb[:48]).abs().max() < 1e-5
