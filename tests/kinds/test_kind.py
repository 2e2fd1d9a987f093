"""Every kind by every decoding, as `check` asks before anything loads; what recipes say of kinds, and mistakes."""

import subprocess
import sys

import pytest

from captioners.core.errors import RecipeError, UserError
from captioners.core.recipe import read_recipe, resolved
from captioners.decoding.values import decoding_names, parse_decoding
from captioners.jobs.check.job import cross_problems
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.choices import load_captioner, name_of, written
from captioners.kinds.kind import KindOptions, kinds

KINDS = {
    "coca": "random-tiny",
    "existing": {"kind": "existing"},
    "transformers": {"kind": "transformers", "model": "org/blip"},
    "endpoint": {"kind": "endpoint", "base_url": "http://host/v1", "model": "org/llava"},
    "endpoint of vllm": {"kind": "endpoint", "base_url": "http://host/v1", "model": "org/llava", "server": "vllm"},
    "vllm": {"kind": "vllm", "model": "org/blip2"},
}
ASKED = "Describe this picture."

NOTHING, SHORT, WIDE, NGRAM = "decodes nothing", "no min_tokens", "no width", "no no_repeat_ngram"
# Decoding, then for each kind in the order above: fine, or what its refusal says.
CELLS = [
    ({"top_p": 0.9}, None, None, None, SHORT, None, None),
    ({"top_p": 0.9, "min_tokens": 0}, None, NOTHING, None, None, None, None),
    ({"top_k": 50, "min_tokens": 0}, None, NOTHING, None, "no top_k", None, None),
    ({"min_p": 0.05, "min_tokens": 0}, None, NOTHING, None, "no min_p", None, None),
    ({"min_p": 0.05, "top_p": 0.9}, None, NOTHING, None, SHORT, "applies min_p before", "min_p before"),
    ({"temperature": 0.7, "max_tokens": 9, "min_tokens": 0}, None, NOTHING, None, None, None, None),
    ({"repetition_penalty": 1.2}, None, NOTHING, None, SHORT, None, None),
    ({"no_repeat_ngram": 3}, None, NOTHING, None, SHORT, NGRAM, NGRAM),
    ("greedy", None, NOTHING, None, SHORT, None, None),
    ({"beam": {"width": 1, "min_tokens": 0}}, None, NOTHING, None, None, None, None),
    ({"beam": {"width": 4, "length_penalty": 0.5}}, None, NOTHING, None, SHORT, WIDE, WIDE),
    ({"beam": {"width": 4, "early_stopping": True}}, None, NOTHING, None, SHORT, WIDE, WIDE),
    ("diverse_beam", None, NOTHING, "no groups", SHORT, WIDE, WIDE),
    ("raygen", None, NOTHING, None, SHORT, None, None),
    ("sample", None, None, None, SHORT, None, None),
    ("beam", None, NOTHING, None, SHORT, WIDE, WIDE),
]  # fmt: skip


def member(kind, decoding, **keys):
    asked = {"prompt": ASKED} if "endpoint" in kind else {}
    values = {"captioner": KINDS[kind], "decoding": decoding, "draws": 1, **asked, **keys}
    return Member.model_validate(values)


def test_the_table_covers_every_kind_and_every_named_decoding():
    assert {kind.partition(" ")[0] for kind in KINDS} == {"coca", *kinds.names()}
    told = [parse_decoding(decoding) for decoding, *_ in CELLS]
    named = [parse_decoding({name: v} if (v := {"top_p": 0.9}.get(name)) else name) for name in decoding_names()
             if name not in ("top_k", "min_p")]  # fmt: skip
    assert all(decoding in told for decoding in named)


@pytest.mark.parametrize(("place", "kind"), list(enumerate(KINDS)))
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: str(cell[0]))
def test_each_kind_says_which_decodings_it_can_do(place, kind, cell):
    problem = cell[1 + place]
    if problem is None:
        assert member(kind, cell[0]).captioner
    else:
        with pytest.raises(ValueError, match=problem):
            member(kind, cell[0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "existing"])
def test_a_beam_gives_no_more_captions_than_it_is_wide(kind):
    with pytest.raises(ValueError, match="cannot give 2 captions"):
        member(kind, {"beam": {"width": 1, "min_tokens": 0}}, draws=2)


@pytest.mark.parametrize("kind", ["existing", "endpoint", "transformers", "vllm"])
def test_keys_that_a_kind_does_not_heed_are_refused(kind):
    for key, value in (("context_length", 76), ("exact", True)):
        with pytest.raises(ValueError, match=f"has no {key}"):
            member(kind, {"top_p": 0.9, "min_tokens": 0} if kind != "existing" else {"top_p": 0.9}, **{key: value})


def test_a_prompt_is_needed_by_a_server_and_refused_where_nothing_is_asked():
    with pytest.raises(ValueError, match="write a prompt"):
        member("endpoint", {"min_tokens": 0}, prompt="")
    with pytest.raises(ValueError, match="leave the prompt out"):
        member("existing", {"top_p": 0.9}, prompt=ASKED)


def recipe(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(f"job: generate\nsource: {{kind: drawn, count: 3}}\nmembers:\n{text}")
    return file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "  - captioner: {kind: exist}",
            r"members\.0\.captioner: must be a captioner's name, or a mapping whose `kind` is",
        ),
        ("  - captioner: {model: a/b}", "or a mapping whose `kind` is endpoint, existing, transformers, vllm"),
        ("  - captioner: 3", r"members\.0\.captioner: must be text, found 3"),
        ("  - captioner: {kind: vllm, model: a/b, pyton: x}", r"captioner\.pyton: unknown key\. Did you mean 'python'"),
        ("  - captioner: {kind: vllm}", r"captioner\.model: missing; this key is needed"),
        ("  - captioner: {kind: endpoint, model: m, base_url: host}", "host is no address"),
        ("  - captioner: {kind: vllm, model: a/b, engine: {trust_remote_code: true}}", "trust_remote_code is not for"),
        ("  - captioner: {kind: endpoint, model: m, base_url: 'http://h', api_key: sk}", "looks like a secret"),
        ("  - captioner: {kind: endpoint, model: m, base_url: 'http://me:pw@h/v1'}", "looks like a secret"),
    ],
)
def test_mistakes_are_told_with_their_key(tmp_path, text, problem):
    with pytest.raises(RecipeError, match=problem):
        read_recipe(recipe(tmp_path, text + "\n"))


def test_a_recipe_is_read_again_as_it_was_and_can_be_overridden(tmp_path):
    text = "  - captioner: {kind: endpoint, model: a/b, base_url: 'http://h/v1', server: vllm}\n    prompt: Say.\n"
    found = read_recipe(recipe(tmp_path, text), ["members.0.captioner.concurrency=3"]).options
    assert isinstance(found, GenerateRecipe) and found.members[0].captioner.concurrency == 3
    again = tmp_path / "again.yaml"
    again.write_text(resolved(found))
    assert read_recipe(again).options == found
    other = read_recipe(again, ["members.0.captioner={kind: existing}", "members.0.prompt=''"]).options
    assert other.members[0].captioner == kinds.get("existing")()


def test_members_share_a_captioner_only_if_all_of_it_is_the_same():
    def groups(*captioners):
        members = [{"captioner": captioner, "name": str(n), "draws": 1} for n, captioner in enumerate(captioners)]
        found = GenerateRecipe.model_validate({"source": {"kind": "drawn"}, "members": members})
        return [len(together) for together in found.groups]

    model = {"kind": "transformers", "model": "org/blip"}
    assert groups(model, model, {**model, "max_tokens": 9}) == [2, 1]
    assert groups({"kind": "existing"}, {"kind": "existing", "field": "syn_text"}, "random-tiny") == [1, 1, 1]


def test_a_member_names_itself_after_its_captioner():
    assert member("vllm", {"top_p": 0.9}).called == "blip2.top_p-0.9"
    assert member("endpoint", {"min_tokens": 0}).called == "llava.min_tokens-0"
    assert member("existing", {"top_p": 0.9}).called == "captions"
    assert written(member("vllm", "greedy").captioner) == "vllm:blip2" and name_of("random-tiny") == "random-tiny"


def test_what_is_missing_and_what_a_licence_forbids_is_found_by_check(tmp_path):
    text = f"""
  - captioner: {{kind: transformers, model: {tmp_path}/none}}
  - captioner: {{kind: vllm, model: a/b, python: {tmp_path}/none/python}}
  - captioner: {{kind: existing, file: {tmp_path}/none.parquet}}
  - captioner: {{kind: endpoint, base_url: 'http://h/v1', model: m, api_key_env: NO_SUCH_KEY, commercial_use: "no"}}
    prompt: Say.
    decoding: {{min_tokens: 0}}
"""
    problems = cross_problems(read_recipe(recipe(tmp_path, text)).options)
    assert len(problems) == 5
    assert "members.0.captioner: model: " in problems[0] and "`make vllm`" in problems[1]
    assert "none.parquet does not exist" in problems[2] and "NO_SUCH_KEY is not set" in problems[3]
    assert "members.3.captioner: captioner m may not be used commercially" in problems[4]


def test_a_name_is_still_a_coca():
    assert type(load_captioner("random-tiny")).__name__ == "CocaCaptioner"
    with pytest.raises(UserError, match="no captioner is named"):
        load_captioner("random-tinny")


def test_a_kind_says_what_it_is_before_anything_heavy_is_imported():
    """`check` and `list` load no torch, no transformers, no client."""
    code = (
        "import sys; from captioners.jobs.recipes.generate import Member; from captioners.jobs.listing import listing;"
        "listing('kinds'); Member.model_validate({'captioner': {'kind': 'vllm', 'model': 'a/b'}});"
        "print([m for m in ('torch', 'transformers', 'httpx2', 'vllm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", kinds.names())
def test_every_kind_states_its_grade_where_it_is_described(name):
    from captioners.jobs.listing import details

    assert "\nGrade: " in details("kinds", name)
    assert issubclass(kinds.get(name), KindOptions)
