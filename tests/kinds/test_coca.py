"""The kind `coca` and the public API over it: what it says of itself, what it refuses, what it promises."""

import dataclasses

import pytest
import torch

import captioners
from captioners.core.errors import CaptionersError, NotFoundError, UserError
from captioners.core.package_data import SAMPLES
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample, parse_decoding
from captioners.images.decode import read_image
from captioners.jobs.recipes.caption import CaptionRecipe
from captioners.kinds import _selftest
from captioners.kinds.captioner import Captioner, CaptionerInfo, Request
from captioners.kinds.catalogue import find, known_captioners
from captioners.kinds.coca import CocaCaptioner
from captioners.models.arithmetic import Exact
from captioners.models.coca import context_rows

PHOTOS = sorted(SAMPLES.glob("*.jpg"))


@pytest.fixture(scope="module")
def tiny():
    return captioners.load("random-tiny")


def test_public_names_are_the_documented_ones():
    assert sorted(captioners.__all__) == [
        "Captioner", "Gallery", "Report", "Run", "describe", "draw", "gallery", "list_captioners", "list_data_cards",
        "list_decodings", "list_kinds", "list_metrics", "list_recipes", "list_scores", "list_sources", "load",
        "measure", "open_run", "run", "samples", "source",
    ]  # fmt: skip
    assert all(hasattr(captioners, name) for name in captioners.__all__)
    assert "coca-l14-coco" in captioners.list_captioners()
    assert "raygen" in captioners.list_decodings()
    assert "caption/photos" in captioners.list_recipes()


def test_the_card_has_what_an_info_has_and_the_grade_was_proven(tiny):
    assert set(tiny.card) == {field.name for field in dataclasses.fields(CaptionerInfo)}
    assert tiny.card["grade"] == "exact"
    assert tiny.card["context_length"] == 76 and tiny.card["max_tokens"] == 74
    assert tiny.card["num_parameters"] == sum(p.numel() for p in tiny._kind.loaded.model.parameters())
    assert len(tiny.card["weights_digest"]) == 64 and tiny.card["tower_digest"] != tiny.card["weights_digest"]


def test_caption_returns_images_by_draws_in_order(tiny):
    decoding = {"top_p": 0.9, "max_tokens": 5, "min_tokens": 0}
    together = tiny.caption(PHOTOS, draws=3, decoding=decoding)
    assert [[result.draw for result in draws] for draws in together] == [[0, 1, 2]] * len(PHOTOS)
    backwards = tiny.caption(reversed(PHOTOS), draws=2, decoding=decoding)
    assert [[r.text for r in draws] for draws in reversed(backwards)] == [
        [r.text for r in draws[:2]] for draws in together
    ]
    from_bytes = tiny.caption(PHOTOS[0].read_bytes(), decoding=decoding)
    assert from_bytes[0][0].logprob == together[0][0].logprob


def test_another_seed_draws_other_captions(tiny):
    decoding = {"top_p": 0.9, "max_tokens": 5}
    assert tiny.caption(PHOTOS[0], decoding=decoding) != tiny.caption(PHOTOS[0], decoding=decoding, seed=1)


def test_a_prompt_begins_the_caption_and_is_not_repeated_in_it(tiny):
    decoding = {"beam": {"width": 2, "max_tokens": 3, "min_tokens": 0}}
    (plain,), (prompted,) = (
        tiny.caption(PHOTOS[0], decoding=decoding),
        tiny.caption(PHOTOS[0], decoding=decoding, prompt="a photo of"),
    )
    assert plain[0].text != prompted[0].text and not prompted[0].text.startswith("a photo")


def test_a_prompt_that_holds_the_pad_token_is_refused(tiny):
    assert 0 in tiny._kind.tokenizer.encode("wow!;")
    with pytest.raises(UserError, match="pads with"):
        tiny.caption(PHOTOS[0], prompt="wow!;")


ACCEPTS = [
    ({"top_p": 0.9}, 5, None),
    ("greedy", 1, None),
    ("raygen", 3, None),
    ({"beam": {"width": 5}}, 5, None),
    ({"diverse_beam": {}}, 6, None),
    ({"beam": {"width": 5}}, 6, "cannot give 6 captions"),
    ("greedy", 2, "cannot give 2 captions"),
    ({"top_k": 5, "max_tokens": 75}, 1, "max_tokens 75"),
    ({"top_p": 0.9, "min_tokens": 75}, 1, "min_tokens 75"),
    ({"beam": {"width": 65}}, 1, "more than the 64 rows"),
]


@pytest.mark.parametrize(("decoding", "draws", "problem"), ACCEPTS)
def test_accepts_says_why_not(tiny, decoding, draws, problem):
    said = tiny._kind.accepts(parse_decoding(decoding), draws)
    assert said is None if problem is None else problem in said
    if problem:
        with pytest.raises(UserError, match=problem):
            tiny.caption(PHOTOS[0], draws=draws, decoding=decoding)


def test_the_context_can_be_resized_on_loading():
    kind: Captioner = CocaCaptioner("random-tiny", context_length=256)
    assert kind.info.context_length == 255 and kind.info.max_tokens == 253
    with pytest.raises(CaptionersError, match="not open"):
        next(kind.caption([]))
    kind.open()
    assert kind.info.grade == "exact"


@pytest.mark.parametrize("threads", [1, 5, 16])
def test_captions_are_the_same_on_any_number_of_threads(tiny, threads):
    decoding = {"top_p": 0.9, "max_tokens": 5, "min_tokens": 0}
    expected = tiny.caption(PHOTOS[:2], draws=2, decoding=decoding)
    torch.set_num_threads(threads)
    teacher = captioners.load("random-tiny")
    assert teacher.caption(PHOTOS[:2], draws=2, decoding=decoding) == expected
    assert torch.get_num_threads() == threads, "the caller's setting is his"


def test_exact_mode_that_does_not_hold_is_refused_on_opening(monkeypatch):
    """Negative control of the self-test: an arithmetic that looks at the number of rows must not pass for exact."""
    monkeypatch.setattr(
        Exact, "linear", lambda self, x, weight, bias: torch.nn.functional.linear(x, weight, bias) + x.shape[0] * 1e-9
    )
    with pytest.raises(CaptionersError, match="exact mode did not hold"):
        CocaCaptioner("random-tiny").open()


def test_a_decoder_that_is_not_the_model_is_refused_on_opening(monkeypatch):
    monkeypatch.setattr(_selftest, "_full_forward", lambda model, ids, image: torch.zeros(len(ids), 49408))
    with pytest.raises(CaptionersError, match="differs from the model"):
        CocaCaptioner("random-tiny").open()


def test_precision_and_device_are_checked():
    with pytest.raises(UserError, match="exact mode on a CPU is fp32"):
        CocaCaptioner("random-tiny", precision="bf16", exact=True, device="cpu")
    with pytest.raises(UserError, match="no precision is named 'fp8'"):
        CocaCaptioner("random-tiny", precision="fp8")
    with pytest.raises(UserError, match="no device is named 'gpu'"):
        CocaCaptioner("random-tiny", device="gpu")


def test_bf16_captions_and_says_best_effort():
    teacher = captioners.load("random-tiny", precision="bf16", device="cpu")
    assert teacher.card["grade"] == "best-effort"
    assert teacher.caption(PHOTOS[0], decoding={"beam": {"width": 2, "max_tokens": 5}})[0][0].num_tokens == 5


def test_the_catalogue_has_unique_names_licences_and_every_form_is_understood(tmp_path):
    names = [known.name for known in known_captioners()]
    assert len(set(names)) == len(names) and names[0] == "coca-l14-coco"
    assert all(known.licences.get("weights") for known in known_captioners())
    assert find("coca_ViT-B-32/laion2b_s13b_b90k").origin.kind == "tag"
    assert find("coca_ViT-B-32@some.pt").origin.kind == "file"
    assert find("hf-hub:a/b").origin.kind == "hub" and find("hf-hub:apple/x").noncommercial
    assert find(str(tmp_path)).origin.kind == find(f"local-dir:{tmp_path}").origin.kind == "directory"
    assert (find("random:coca_base").origin.kind, find("random:coca_base").origin.model) == ("random", "coca_base")
    with pytest.raises(NotFoundError, match="Did you mean 'coca-l14-coco'"):
        find("coca-l14-coca")
    with pytest.raises(NotFoundError, match=r"no weights are tagged 'laion'.*laion2b_s13b_b90k"):
        captioners.load("coca_ViT-L-14/laion")


def test_recipes_run_from_python(run_dir):
    done = captioners.run(
        "caption/varied",
        captioner="random-tiny",
        inputs=[str(SAMPLES)],
        draws=2,
        decoding={"top_k": 9, "max_tokens": 5},
    )
    table = done.captions()
    assert table.num_rows == 2 * len(PHOTOS) and done.quarantine() == []
    assert table.column_names[:3] == ["path", "image_sha256", "draw"]


def test_the_recommended_decoding_is_used_when_nothing_is_said(tiny):
    assert tiny.recommended_decoding == Beam()
    assert tiny._default(1) == Beam() and tiny._default(3) == Sample(top_p=0.9)


def test_a_recipe_and_a_captioner_read_the_names_of_contexts_alike():
    for name in (40, 76, 77, 127, 128, 255, 256):
        assert CaptionRecipe(context_length=name).context_length == context_rows(name)


def ask(kind, requests):
    return {(result.index, result.draw): result for result in kind.caption(requests)}


def requests_for(picture, **options):
    decoding = Sample(top_p=0.9, max_tokens=5, min_tokens=0)
    return Request(image=picture.image, stream=Stream(0, picture.sha256, "m"), decoding=decoding, **options)


def test_a_draw_asked_for_by_itself_is_the_draw_among_five_bit_for_bit(tiny):
    picture = read_image(PHOTOS[0])
    five = ask(tiny._kind, [requests_for(picture, index=7, draws=5)])
    alone = ask(tiny._kind, [requests_for(picture, index=7, first_draw=3)])
    assert alone == {(7, 3): five[7, 3]}
    assert len({result.text for result in five.values()}) == 5
    again = ask(tiny._kind, [requests_for(picture, index=7, first_draw=3, attempt=1)])
    assert again[7, 3].text != five[7, 3].text, "another attempt draws otherwise"


def test_one_caption_of_a_beam_cannot_be_asked_for_by_itself(tiny):
    picture = read_image(PHOTOS[0])
    with pytest.raises(UserError, match="draw 1 of a beam search"):
        ask(tiny._kind, [dataclasses.replace(requests_for(picture, index=0, first_draw=1), decoding=Beam(width=2))])


def test_requests_of_one_image_object_encode_it_once_and_change_no_bit(tiny):
    pictures = [read_image(path) for path in PHOTOS]

    def requests(shared):
        for number, picture in enumerate(pictures):
            for member in range(2):
                again = picture if shared else dataclasses.replace(picture, image=picture.image.copy())
                request = requests_for(again, index=2 * number + member, draws=2)
                yield dataclasses.replace(request, stream=Stream(0, picture.sha256, f"m{member}"))

    engine = tiny._kind._engine
    before = engine.images_encoded
    shared = ask(tiny._kind, requests(True))
    assert engine.images_encoded - before == len(PHOTOS)
    apart = ask(tiny._kind, requests(False))
    assert engine.images_encoded - before == 3 * len(PHOTOS)
    assert shared == apart and len(shared) == 4 * len(PHOTOS)
    assert tiny._kind.encode_seconds > 0


def test_the_meaning_is_the_same_for_the_same_captioner_and_tells_contexts_apart(tiny):
    meaning = tiny.card["meaning"]
    assert meaning == CocaCaptioner("random-tiny").info.meaning
    other = CocaCaptioner("random-tiny", context_length=40).info.meaning
    assert {key for key in meaning if meaning[key] != other[key]} == {"weights", "context_length"}
    plain = CocaCaptioner("random-tiny", exact=False).info.meaning
    assert {key for key in meaning if meaning[key] != plain[key]} == {"exact"}
