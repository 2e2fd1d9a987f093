"""The kind `transformers`, on tiny random BLIP, BLIP-2 and GIT: tokens against plain forward passes, and its grade."""

import pytest
import torch

from captioners.core.errors import CaptionersError, NotFoundError, UserError
from captioners.core.seeds import Stream
from captioners.decoding.sampling import filtered, pick
from captioners.decoding.values import Beam, Sample
from captioners.kinds.captioner import Captioner, Request
from captioners.kinds.transformers_options import TransformersOptions
from captioners.models.weights import read_weights, weights_digest
from tests.kinds import tiny_models
from tests.kinds.tiny_models import pictures

MODELS = {"blip": tiny_models.write_blip, "git": tiny_models.write_git, "blip2": tiny_models.write_blip2}
LONGEST = 10
NUMBER = 1  # of a request for which BLIP-2 draws no image token, which a plain forward pass would take for a picture
SAMPLE = Sample(top_p=0.9, temperature=1.2, min_tokens=2)


@pytest.fixture(autouse=True)
def _one_thread(_two_threads):
    torch.set_num_threads(1)  # the models are tiny


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    return MODELS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def captioner(folder):
    return opened(folder)


def opened(folder, **options):
    kind = TransformersOptions(model=str(folder), max_tokens=LONGEST, **options).load("cpu", "auto")
    kind.open()
    return kind


def request(number, image, **how):
    return Request(index=number, image=image, stream=Stream(0, str(number) * 64, "m"), **{"decoding": SAMPLE, **how})


def said(captioner, requests):
    return {(r.index, r.draw): (r.text, r.logprob, r.finish) for r in captioner.caption(requests)}


def to_end(tokens, ends):
    return tokens[: next((n + 1 for n, token in enumerate(tokens) if token in ends), len(tokens))]


def plain_logits(captioner, image, prompt, ids):
    """The model's logits [T, V] for tokens fed at once, without any cache or `generate`."""
    model, inputs = captioner._model, captioner._inputs([image], prompt)
    written = torch.tensor([ids])
    with torch.no_grad():
        if model.config.model_type == "blip":
            seen = model.vision_model(inputs["pixel_values"])[0]
            start = inputs["input_ids"][:, :-1] if prompt else torch.tensor([[model.config.text_config.bos_token_id]])
            start[:, 0] = model.config.text_config.bos_token_id
            out = model.text_decoder(torch.cat([start, written], 1), encoder_hidden_states=seen)
        elif model.config.model_type == "git":
            start = inputs.get("input_ids", torch.tensor([[model.config.bos_token_id]]))
            out = model(input_ids=torch.cat([start, written], 1), pixel_values=inputs["pixel_values"])
        else:
            queries = [model.config.image_token_index] * model.config.num_query_tokens
            bare = torch.tensor([[*queries, model.config.text_config.bos_token_id]])
            start = inputs.get("input_ids", bare)
            out = model(input_ids=torch.cat([start, written], 1), pixel_values=inputs["pixel_values"])
    return out.logits[0, -len(ids) - 1 : -1]


@pytest.mark.parametrize("prompt", ["", "a red"])
def test_each_token_is_the_one_that_its_random_number_means(captioner, prompt):
    image = pictures(1)[0]
    asked = request(NUMBER, image, draws=2, prompt=prompt)
    inputs = captioner._inputs([image], prompt)
    rows = list(captioner._sampled(inputs, [asked], SAMPLE))
    ends = captioner._end_ids.tolist()
    for draw, (whole, logprob) in enumerate(rows):
        tokens = to_end(whole, ends)
        logits = plain_logits(captioner, image, prompt, tokens)
        uniforms = torch.from_numpy(asked.stream.uniforms(draw, 0, LONGEST))[: len(tokens)]
        assert logprob == pytest.approx(
            float(logits.log_softmax(1).gather(1, torch.tensor(tokens)[:, None]).sum()), abs=1e-3
        )
        logits[: SAMPLE.min_tokens, ends] = float("-inf")
        assert pick(filtered(logits, SAMPLE), uniforms).tolist() == tokens
    assert len({tuple(tokens) for tokens, _ in rows}) == 2, "draws differ"


def test_greedy_takes_the_likeliest_token_and_a_beam_finds_no_worse(captioner):
    image = pictures(1)[0]
    greedy = Beam(width=1, min_tokens=0)
    ((tokens, logprob),) = captioner._greedy(captioner._inputs([image], ""), 1, greedy)
    ends = captioner._end_ids.tolist()
    tokens = to_end(tokens, ends)
    assert plain_logits(captioner, image, "", tokens).argmax(1).tolist() == tokens
    wide = Beam(width=4, min_tokens=0, length_penalty=0.0)
    rows = list(captioner._searched(captioner._inputs([image], ""), wide, 3))
    assert max(logprob for _, logprob in rows) >= logprob - 1e-4
    for whole, logprob in rows:
        tokens = to_end(whole, ends)
        logits = plain_logits(captioner, image, "", tokens).log_softmax(1)
        assert float(logits.gather(1, torch.tensor(tokens)[:, None]).sum()) == pytest.approx(logprob, abs=1e-3)


def test_a_caption_depends_on_its_image_and_draws_alone_where_the_grade_says_so(captioner):
    """The claim of grade same-plan: bit for bit, text and log-probability, in any company and order."""
    assert captioner.info.grade == "same-plan"
    images = pictures(4)
    together = said(captioner, [request(n, image, draws=2) for n, image in enumerate(images)])
    backwards = said(captioner, [request(n, images[n], draws=2) for n in (3, 1)])
    assert backwards == {key: value for key, value in together.items() if key[0] in (1, 3)}
    assert len({text for text, *_ in together.values()}) == 8
    other = said(captioner, [request(1, images[1], draws=2, attempt=1)])
    assert {other[1, 0][0], other[1, 1][0]}.isdisjoint({together[1, 0][0], together[1, 1][0]})


def test_a_draw_asked_for_by_itself_has_the_random_numbers_it_had(captioner):
    image = pictures(1)[0]
    all_three = said(captioner, [request(0, image, draws=3)])
    alone = said(captioner, [request(0, image, draws=1, first_draw=2)])
    assert alone[0, 2][0] == all_three[0, 2][0]


def test_a_batch_of_images_says_the_same_and_claims_less(captioner, folder):
    batched = opened(folder, batch=3)
    assert batched.info.grade == "best-effort" and batched.info.meaning == captioner.info.meaning
    asked = [request(n, image, draws=2) for n, image in enumerate(pictures(4))]
    mixed = [asked[0], request(9, pictures(1)[0], decoding=Beam(width=2, min_tokens=0)), *asked[1:]]
    found = said(batched, mixed)
    assert found.keys() == {(n, draw) for n in range(4) for draw in range(2)} | {(9, 0)}
    for key, (text, logprob, _) in said(captioner, asked).items():
        assert found[key][0] == text and found[key][1] == pytest.approx(logprob, abs=1e-3)


def test_limits_are_kept(captioner):
    image = pictures(1)[0]
    found = list(captioner.caption([request(0, image, draws=8, decoding=Sample(max_tokens=4, min_tokens=4))]))
    assert {result.num_tokens for result in found} == {4} and {result.finish for result in found} == {"length"}
    once = Sample(no_repeat_ngram=1, min_tokens=8)
    for result in captioner.caption([request(0, image, draws=4, decoding=once)]):
        assert len(set(result.text.split())) == len(result.text.split())


def test_info_is_that_of_the_files(captioner, folder):
    kind: Captioner = captioner
    info = kind.info
    assert info.weights_digest == weights_digest(read_weights(folder / "model.safetensors"))
    assert info.meaning["weights"] == info.weights_digest and info.max_tokens == LONGEST
    assert kind.device_type == "cpu" and kind.environment["dtype"] == "float32" and kind.fit is None


def test_what_it_cannot_do_is_said(captioner):
    assert "max_tokens 11 is more" in captioner.accepts(Sample(max_tokens=11))
    assert "no groups" in captioner.accepts(Beam(width=4, groups=2, diversity_penalty=0.5))
    with pytest.raises(UserError, match="cannot give 2 captions"):
        list(captioner.caption([request(0, pictures(1)[0], draws=2, decoding=Beam(width=1))]))


def test_a_closed_one_says_so(folder):
    with pytest.raises(CaptionersError, match="not open"):
        next(TransformersOptions(model=str(folder)).load("cpu", "auto").caption([]))


def test_weights_that_are_no_safetensors_are_refused(tmp_path):
    folder = tiny_models.write_blip(tmp_path / "blip")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no safetensors \(pytorch_model.bin\)"):
        TransformersOptions(model=str(folder)).load("cpu", "auto")


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    folder = tiny_models.write_blip(tmp_path / "blip")
    (folder / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}')
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(UserError, match="transformers cannot load it"):
        TransformersOptions(model=str(folder)).load("cpu", "auto")
    assert not (tmp_path / "ran").exists()


def test_a_model_that_is_nowhere_is_not_found(tmp_path):
    options = TransformersOptions(model=str(tmp_path / "none"))
    assert "no directory here" in options.missing()
    with pytest.raises(NotFoundError, match="no directory here"):
        options.load("cpu", "auto")
    assert TransformersOptions(model="org/name").missing() is None
    with pytest.raises(UserError, match="hub cannot be reached"):
        TransformersOptions(model="org/name").load("cpu", "auto")
