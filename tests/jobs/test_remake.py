"""Captions made again (jobs/runs/remake.py, --again of show and verify): the same alone as in company, or told apart.

The run is made by a real captioner of random weights, all images and members in flight together; made again, each
caption comes by itself.
"""

import json
import re
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest
import torch

from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer, claim
from captioners.core.recipe import resolved
from captioners.core.records import content_digest, to_bytes
from captioners.core.run_dir import RunDir
from captioners.core.seeds import Stream
from captioners.data.folder_source import FolderOptions
from captioners.images.decode import read_image
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.jobs.runs import remake as job
from captioners.jobs.runs.remake import remake
from captioners.jobs.runs.show import again, show
from captioners.jobs.runs.verify import verify
from captioners.jobs.runs.weights import check_weights
from captioners.kinds.captioner import Request
from captioners.kinds.coca import CocaCaptioner
from tests.runs_fixture import draw_picture

SHORT = {"max_tokens": 9}
MEMBERS = [
    {"captioner": "random-tiny", "name": "sampled", "decoding": {"top_p": 0.9, **SHORT}, "draws": 3},
    {"captioner": "random-tiny", "name": "searched", "decoding": {"beam": {"width": 4, **SHORT}}, "draws": 2},
]


@pytest.fixture(scope="module")
def captioner():
    """Return the one captioner of all tests: to make it takes longer than all that it says."""
    return CocaCaptioner("random-tiny")


@pytest.fixture(autouse=True)
def _loads_nothing_anew(captioner, monkeypatch):
    plain = CocaCaptioner

    def load(name, **how):
        return captioner if name == "random-tiny" else plain(name, **how)

    monkeypatch.setattr("captioners.kinds.coca.CocaCaptioner", load)


@pytest.fixture(scope="module")
def made(captioner, tmp_path_factory):
    """Return the folder of a run of 4 pictures x (3 + 2) captions, and its recipe."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(draw_picture(number))
    source = FolderOptions(inputs=[str(folder)])
    output = tmp_path_factory.mktemp("runs") / "run"
    recipe = GenerateRecipe.model_validate_json(
        json.dumps({"source": source.model_dump(mode="json"), "members": MEMBERS, "seed": 3, "output": str(output)})
    )
    run = RunDir(output)
    run.begin({"unit_samples": 1000, "seed": 3, "source": source.model_dump(mode="json")})
    run.write_recipe(resolved(recipe))
    (shard,) = source.open().shards()
    run.freeze([asdict(shard)])
    for member, rows in _caption(captioner, recipe, shard.path, sorted(folder.glob("*.jpg"))).items():
        _store(run, recipe, member, shard.path, rows)
    return run


def _caption(captioner, recipe, shard, files):
    captioner.open()
    requests, asked = [], []
    for index, file in enumerate(files):
        picture = read_image(file)
        for member in recipe.members:
            # The second draw of a sampled caption was refused twice, so it is of its third attempt.
            for draw in range(member.draws) if member.called == "sampled" else [None]:
                more = {} if draw is None else {"first_draw": draw, "attempt": 2 * (draw == 1)}
                stream = Stream(recipe.seed, picture.sha256, member.called)
                requests.append(
                    Request(
                        index=len(requests),
                        image=picture.image,
                        stream=stream,
                        draws=member.draws if draw is None else 1,
                        decoding=member.decoding,
                        **more,
                    )
                )
                asked.append((member.called, index, file, picture))
    rows = {member.called: [] for member in recipe.members}
    for result in captioner.caption(requests):
        member, index, file, picture = asked[result.index]
        rows[member].append(
            {
                "shard": shard,
                "key": file.stem,
                "index": index,
                "image_sha256": picture.sha256,
                "offset": None,
                "size": file.stat().st_size,
                "member": member,
                "draw": result.draw,
                "attempt": requests[result.index].attempt,
                "keep": True,
                "text": result.text,
                "raw_text": result.raw_text,
                "num_tokens": result.num_tokens,
                "logprob": result.logprob,
                "finish": result.finish,
                "flags": [],
            }
        )
    weights = captioner.info.weights_digest
    captioner.close()
    return {name: (weights, sorted(found, key=lambda row: (row["index"], row["draw"]))) for name, found in rows.items()}


def _store(run, recipe, name, shard, found):
    weights, rows = found
    member = next(m for m in recipe.members if m.called == name)
    meaning = {"weights": weights, "decoding": member.decoding.model_dump(mode="json"), "seed": 3}
    layer = Layer(name=name, draws=member.draws, meaning=meaning, facts={"captioner": member.captioner})
    claim(run.place, layer)
    data = to_bytes(rows, {})
    file = f"layers/{name}/0.00000.aaaaaaaa.parquet"
    run.place.create(file, data)
    entry = Entry(
        layer=name,
        fingerprint=layer.fingerprint,
        shard=shard,
        part=0,
        start=0,
        stop=4,
        last=True,
        counts=Counts(read=4, captioned=4, rows=len(rows)),
        file=file,
        digest=content_digest(rows),
        file_sha256=sha256(data).hexdigest(),
        environment={"torch": "2.9"},
        finished="2026-01-02",
    )
    run.ledger.commit(entry)


def rows_of(run, member):
    return run.captions([member]).to_pylist()


def test_every_caption_comes_out_the_same_to_the_last_bit_by_itself(made):
    rows = run_rows = made.captions().to_pylist()
    assert len(run_rows) == 20
    found = list(remake(made, rows))
    assert [one.outcome for one in found] == ["same"] * 20
    assert all(one.logprob == one.row["logprob"] and one.text == one.row["text"] for one in found)
    assert {one.row["attempt"] for one in found} == {0, 2}


def test_another_text_another_attempt_or_another_probability_differs(made):
    row = rows_of(made, "sampled")[0]
    changed = [
        {**row, "text": row["text"] + " indeed"},
        {**row, "attempt": 1},
        {**row, "draw": 1},
        {**row, "logprob": row["logprob"] - 0.5},
        {**row, "logprob": None},
    ]
    assert [one.outcome for one in remake(made, changed)] == ["wrong"] * 5
    beam = rows_of(made, "searched")[0]
    worse = {**beam, "text": "a worse one", "logprob": beam["logprob"] - 5}
    assert [one.outcome for one in remake(made, [worse])] == ["wrong"]


def test_a_tiny_shift_of_the_random_numbers_is_a_near_tie(made, captioner):
    row = rows_of(made, "sampled")[0]
    moved = _with_uniforms_moved(captioner, made, row, 1e-5)
    assert moved["text"] != row["text"]  # random weights are flat: any shift tells
    assert [one.outcome for one in remake(made, [moved])] == ["near tie"]
    far = _with_uniforms_moved(captioner, made, row, 0.013)
    assert [one.outcome for one in remake(made, [far])] == ["wrong"]


def _with_uniforms_moved(captioner, run, row, shift):
    """Return the row as a machine would have made it whose sums of probabilities are off by `shift`."""
    captioner.open()
    member = next(m for m in job.read_recipe_of(run).members if m.called == row["member"])
    image = read_image(job.RunPictures(run).image(row)).image
    stream = job._Shifted(3, row["image_sha256"], row["member"], shift)
    (result,) = captioner.caption([Request(index=0, image=image, stream=stream, decoding=member.decoding)])
    return {**row, "text": result.text, "logprob": result.logprob}


def test_a_beam_s_caption_of_the_same_score_is_a_near_tie(made):
    row = rows_of(made, "searched")[0]
    other = {**row, "text": "as likely as the other"}
    assert [one.outcome for one in remake(made, [other])] == ["near tie"]


@contextmanager
def flipped(captioner, bit, tensor="text_decoder.ln_final.weight"):
    """Flip one bit of one weight for a while."""
    bits = captioner.loaded.model.state_dict()[tensor].view(torch.int32).flatten()
    bits[0] ^= 1 << bit
    yield
    bits[0] ^= 1 << bit


@pytest.mark.parametrize("bit", [0, 12, 29])
def test_one_flipped_bit_of_one_weight_is_found(made, captioner, bit):
    with flipped(captioner, bit):
        found = verify(made)
    assert sum("made by weights" in finding for finding in found.findings) == 2, "one for each member"
    assert verify(made).findings == []


def test_a_flipped_bit_that_counts_makes_captions_wrong(made, captioner):
    with flipped(captioner, 29):
        found = verify(made, weights=False, shards_again=1)
    assert found.again["wrong"] > 5
    assert sum("made again it is another" in finding for finding in found.findings) == found.again["wrong"]


@pytest.mark.parametrize("change", ["temperature: 0.9", "seed: 4"])
def test_another_temperature_or_seed_is_wrong_and_the_recipe_is_named(made, monkeypatch, change):
    name, value = change.split(": ")
    text = re.sub(rf"\b{name}: \S+", change, made.recipe_text())
    assert text != made.recipe_text()
    monkeypatch.setattr(RunDir, "recipe_text", lambda self: text)
    found = verify(made, weights=False, shards_again=1)
    assert found.again["wrong"] >= 8 and found.again["near tie"] == 0, "12 captions are sampled"
    assert any("its layer was made with" in finding and str(value) in finding for finding in found.findings)


def test_a_difference_in_the_last_bit_is_never_wrong(made, captioner):
    """As on a machine that rounds what every weight of the decoder gives otherwise."""
    weights = list(captioner.loaded.model.text_decoder.parameters())
    kept = [parameter.data.clone() for parameter in weights]
    for parameter in weights:
        parameter.data.mul_(1 + 2**-23)
    found = verify(made, weights=False, shards_again=1)
    for parameter, before in zip(weights, kept, strict=True):
        parameter.data.copy_(before)
    assert set(found.again) <= {"same", "near tie"} and found.findings == []


def test_whole_shards_are_read_again_and_nothing_may_be_missing(made, monkeypatch):
    found = verify(made, weights=False, shards_again=2)
    assert found.findings == [] and found.again == {"same": 20}
    assert found.notes == ["1 shards are whole and sound; 2 were to be made again"]
    source = job.RunPictures.samples
    monkeypatch.setattr(job.RunPictures, "samples", lambda *given: islice(source(*given), 1, None))
    findings = verify(made, weights=False, shards_again=1).findings
    assert len(findings) == 2 and all("sample 0 was 0" in finding and "is nothing" in finding for finding in findings)


def test_what_stands_in_the_way_is_said(made, tmp_path):
    row = rows_of(made, "sampled")[0]
    (gone,) = remake(made, [{**row, "key": "17"}])
    assert (gone.outcome, gone.why) == ("not made", f"{row['shard']}: has no picture of the key '17'")
    (stranger,) = remake(made, [{**row, "member": "third"}])
    assert stranger.outcome == "not made"
    assert "'third' is no member of the run's last recipe" in stranger.why


def test_a_captioner_that_is_gone_is_said_for_each_of_its_captions(made, monkeypatch):
    text = made.recipe_text().replace("random-tiny", "random:no-such-model")
    monkeypatch.setattr(RunDir, "recipe_text", lambda self: text)
    found = list(remake(made, rows_of(made, "sampled")[:2]))
    assert [one.outcome for one in found] == ["not made"] * 2
    assert "no-such-model" in found[0].why


def test_show_makes_one_sample_again(made):
    sample = show(made, "2")
    assert [(shown.member, len(shown.rows)) for shown in sample.members] == [("sampled", 3), ("searched", 2)]
    assert [one.outcome for one in again(made, sample)] == ["same"] * 5


def test_verify_makes_samples_again_and_hashes_weights(made):
    found = verify(made, again=3)
    assert found.findings == []
    assert found.again == {"same": 15}
    assert [note.startswith("member s") and "hashed anew, the same" in note for note in found.notes] == [True, True]


def test_verify_finds_captions_that_differ_and_weights_that_changed(made, captioner):
    trained = next(captioner.loaded.model.visual.parameters())
    trained.data.mul_(4)  # as if somebody had trained it further
    found = verify(made, again=2)
    trained.data.div_(4)
    assert found.again["wrong"] > 0
    assert sum("made again it is another" in finding for finding in found.findings) == found.again["wrong"]
    assert sum("made by weights" in finding for finding in found.findings) == 2


def test_weights_that_would_have_to_be_fetched_are_not(made, monkeypatch):
    text = made.recipe_text().replace("random-tiny", "coca-l14-coco")
    monkeypatch.setattr(RunDir, "recipe_text", lambda self: text)
    monkeypatch.setenv("HF_HUB_CACHE", str(Path(made.url) / "no-cache"))
    lines = list(check_weights(made))
    assert [wrong for _, wrong in lines] == [False, False]
    assert "weights not hashed, as coca-l14-coco is not on this machine" in lines[0][0]


def test_a_layer_that_the_last_recipe_does_not_have_is_noted(made, monkeypatch):
    text = made.recipe_text().replace("name: searched", "name: renamed")
    monkeypatch.setattr(RunDir, "recipe_text", lambda self: text)
    lines = dict(check_weights(made))
    assert lines["member searched: weights not hashed, as the run's last recipe has no such member"] is False


def test_samples_to_make_again_are_chosen_by_the_seed(made):
    rows = [verify(made, weights=False, again=2, seed=seed).again for seed in (0, 1)]
    assert rows == [{"same": 10}, {"same": 10}]
