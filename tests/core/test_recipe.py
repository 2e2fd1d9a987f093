"""captioners/core/recipe.py and what stands below it: reading, extends, overrides, secrets, the resolved recipe."""

from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, RecipeError, UserError
from captioners.core.options import Options
from captioners.core.package_data import recipe_names
from captioners.core.recipe import find_recipe, read_options, read_recipe, resolved
from captioners.decoding.values import Beam, Sample
from captioners.jobs.recipes.caption import CaptionRecipe

BAD = sorted(Path(__file__).parent.parent.joinpath("bad_recipes").glob("*.yaml"))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="mine.yaml"):
        tmp_path.joinpath(name).write_text(text, encoding="utf-8")
        return name

    return write


def options(source, *overrides, smoke=False):
    return read_options(CaptionRecipe, source, overrides, smoke=smoke)


def mistakes(source, *overrides):
    with pytest.raises(RecipeError) as caught:
        read_recipe(source, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_bad_recipe_is_refused_with_the_message_in_its_first_line(path, monkeypatch):
    monkeypatch.chdir(path.parent.parent)
    expected = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    with pytest.raises(RecipeError) as caught:
        read_recipe(f"bad_recipes/{path.name}", smoke="smoke" in path.stem)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_the_bad_recipes_were_found():
    assert len(BAD) == len(list(BAD[0].parent.iterdir())) > 20


def test_all_mistakes_of_a_file_and_of_the_command_line_come_at_once(write):
    name = write(
        "job: caption\ncaptoiner: x\ndraws: five\nseed: 1\nseed: 2\ndecoding: {sample: {top_q: 1}}\nprompt: 3\n"
    )
    assert mistakes(name, "precision=half", "drwas=2", "oops").splitlines() == [
        "mine.yaml has 8 mistakes:",
        "  line 2: captoiner: unknown key. Did you mean 'captioner'?",
        "  line 3: draws: must be a whole number, found the text 'five'",
        "  line 5: seed: the key is repeated; it first stands in line 4",
        "  line 6: decoding.sample.top_q: unknown key. Did you mean 'top_p', 'top_k'?",
        "  line 7: prompt: must be text, found 3",
        "  command line: drwas: unknown key. Did you mean 'draws'?",
        "  command line: oops: not an override; write key=value",
        "  command line: precision: must be 'auto', 'fp32' or 'bf16', found the text 'half'.",
    ]


@pytest.mark.parametrize(
    ("decoding", "overrides", "expected"),
    [
        ("{beam: {width: 4, length_penalty: 0.6}}", ["decoding.width=3"], Beam(width=3, length_penalty=0.6)),
        ("{beam: {width: 4, length_penalty: 0.6}}", ["decoding.beam.width=3"], Beam(width=3, length_penalty=0.6)),
        ("{beam: {width: 4, length_penalty: 0.6}}", ["decoding.beam={width: 7}"], Beam(width=7, length_penalty=0.6)),
        ("{beam: {width: 4}}", ["decoding.sample.top_p=0.3"], Sample(top_p=0.3)),
        ("{beam: {width: 4}}", ["decoding={top_p: 0.3}"], Sample(top_p=0.3)),
        ("{beam: {width: 4}}", ["decoding=greedy"], Beam(width=1)),
        ("raygen", ["decoding.top_p=0.5"], Sample(top_p=0.5, max_tokens=28, min_tokens=4, cut="first_sentence")),
        ("{top_p: 0.9}", ["decoding.top_k=5", "decoding.temperature=0.7"], Sample(top_p=0.9, top_k=5, temperature=0.7)),
        (
            "{diverse_beam: {width: 8}}",
            ["decoding.diverse_beam.groups=4"],
            Beam(width=8, groups=4, diversity_penalty=0.5),
        ),
        ("{strategy: beam, length_penalty: 0.6}", ["decoding.beam.width=3"], Beam(width=3, length_penalty=0.6)),
    ],
)
def test_an_override_reaches_into_a_decoding_however_it_is_written(write, decoding, overrides, expected):
    assert options(write(f"job: caption\ndecoding: {decoding}\n"), *overrides).decoding == expected


def test_an_override_of_what_the_file_does_not_say_changes_a_part_of_the_default(write):
    assert options(write("job: caption\n"), "decoding.min_tokens=3").decoding == Beam(min_tokens=3)
    assert "not an option of 'beam'; 'sample' has it" in mistakes("mine.yaml", "decoding.top_p=0.9")


def test_a_key_below_one_that_is_written_as_null_is_taken_as_if_nothing_stood_there(write):
    """A resolved recipe says `budget: null`, and `budget.least=0.5` was refused of it: a single value."""
    text = "job: ablate\nsource: {kind: drawn}\ncaptioners: {a: demo}\ngrid: {captioners: [a]}\n"
    for budget in ("", "budget: null\n"):
        write(text + budget)
        assert read_recipe("mine.yaml", ["budget.least=0.5"]).options.budget.least == 0.5
        assert "budget.x: unknown key" in mistakes("mine.yaml", "budget.x=1")


def test_override_values_are_yaml(write):
    got = options(write("job: caption\n"), "inputs=[a b, 'c']", "prompt=", "exact=true", "output=null", "memory_gb=1e1")
    assert (got.inputs, got.prompt, got.exact, got.output, got.memory_gb) == (["a b", "c"], "", True, None, 10.0)
    assert options("mine.yaml", "inputs=[x, y]", "inputs.1=z").inputs == ["x", "z"]
    assert "command line: inputs: not YAML" in mistakes("mine.yaml", "inputs={0..9}.tar")
    assert "no such item; the list has 0" in mistakes("mine.yaml", "inputs.0=x")
    assert "decoding.beam: must be a mapping of the options of 'beam'" in mistakes("mine.yaml", "decoding.beam=3")
    assert "decoding: must be" in mistakes(write("job: caption\ndecoding: [1]\n"), "decoding.beam.width=3")
    write("job: caption\n")
    assert "holds a single value" in mistakes("mine.yaml", "decoding.width.x=1")


def test_extends_merges_mappings_but_replaces_a_choice(write):
    write("job: caption\ndraws: 2\nseed: 7\ndecoding: {beam: {width: 4}}\ninputs: [a, b]\n", "base.yaml")
    got = options(write("extends: base.yaml\ndecoding: {top_p: 0.5}\ninputs: [c]\n"))
    assert (got.decoding, got.draws, got.seed, got.inputs) == (Sample(top_p=0.5), 2, 7, ["c"])


def test_extends_takes_a_packaged_name_and_a_path_beside_the_file(write, tmp_path):
    assert options(write("extends: caption/varied\nseed: 3\n")).draws == 5
    (tmp_path / "sub").mkdir()
    write("job: caption\nseed: 9\n", "sub/base.yaml")
    assert options(write("extends: base.yaml\n", "sub/mine.yaml")).seed == 9


def test_a_mistake_of_the_base_names_the_base(write):
    write("job: caption\n\ndraws: x\n", "base.yaml")
    assert mistakes(write("extends: base.yaml\nsed: 1\n")).splitlines()[1:] == [
        "  line 2: sed: unknown key. Did you mean 'seed'?",
        "  base.yaml line 3: draws: must be a whole number, found the text 'x'",
    ]


SECRETS = [
    "sk-proj-abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0123456789_abcdefghij",
    "-----BEGIN RSA PRIVATE KEY-----",
    "https://user:hunter2hunter2@example.org/v1",
    "s3://bucket/key?X-Amz-Signature=0123456789abcdef0123",
    "Bearer abcdefghijklmnop",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_refused_wherever_it_stands_and_never_printed(write, secret):
    for text in (
        f"job: caption\nprompt: '{secret}'\n",
        f"job: caption\ninputs: [a, '{secret}']\n",
        f"job: '{secret}'\n",
        f"job: caption\nnew: {{deep: ['{secret}']}}\n",
        f"job: caption\n'{secret}': 1\n",
        f"job: caption\ndecoding: '{secret}'\n",
        f"extends: '{secret}'\n",
        f"job: caption\nprompt: '{secret}\n",
    ):
        said = mistakes(write(text))
        assert secret not in said
        assert "looks like a secret" in said or "not YAML" in said
    write("job: caption\n")
    for override in (f"prompt='{secret}'", f"decoding.width='{secret}'", secret, f"a.b='{secret}"):
        assert secret not in mistakes("mine.yaml", override)


@pytest.mark.parametrize(
    "name", ["password", "api_key", "apikey", "secret", "token", "hf_token", "aws_secret", "private-key"]
)
def test_a_value_with_a_secret_name_is_refused(write, name):
    said = mistakes(write(f"job: caption\n{name}: swordfish\n"))
    assert "looks like a secret" in said
    assert "swordfish" not in said


@pytest.mark.parametrize(
    "text", ["my-sk-learn-experiments-2024", "sk-learn", "hf_tokenizer_name", "s3://bucket/token.tar"]
)
def test_ordinary_words_are_no_secrets(write, text):
    assert options(write(f"job: caption\nprompt: '{text}'\n")).prompt == text


def test_counts_of_tokens_and_names_of_variables_are_no_secrets(write):
    name = write("job: caption\napi_key_env: OPENAI_API_KEY\ndecoding: {min_tokens: 3, max_tokens: 9, top_p: 0.9}\n")
    assert mistakes(name).startswith("mine.yaml, line 2: api_key_env: unknown key")


@pytest.mark.parametrize("name", recipe_names())
def test_the_resolved_recipe_reads_back_equal(name, tmp_path):
    known = type(read_recipe(name).options).model_fields
    changes = {"seed": "3", "prompt": "'no: 1e-5 # \"x\"'", "memory_gb": "0.00001"}
    overrides = [f"{key}={value}" for key, value in changes.items() if key in known]
    for smoke in (False, True):
        want = read_recipe(name, overrides, smoke=smoke)
        saved = tmp_path / "recipe.yaml"
        saved.write_text(resolved(want.options), encoding="utf-8")
        again = read_recipe(saved)
        assert again.options == want.options
        assert not again.has_smoke


def test_every_field_is_written_out_and_nothing_is_inherited(write):
    text = resolved(options(write("extends: caption/varied\n")))
    assert set(CaptionRecipe.model_fields) <= {line.partition(":")[0] for line in text.splitlines()}
    assert "extends" not in text
    assert text.startswith("job: caption\n")


def test_the_smoke_section_applies_only_when_asked_for(write):
    name = write("job: caption\nsmoke: {draws: 2, decoding.width: 3}\n")
    assert options(name) == CaptionRecipe()
    assert options(name, smoke=True) == CaptionRecipe(draws=2, decoding=Beam(width=3))
    assert options(name, "draws=3", smoke=True).draws == 3


def test_a_recipe_is_found_by_path_and_by_name_with_near_names(write, tmp_path):
    name = write("job: caption\n")
    assert find_recipe(name) == Path(name)
    assert find_recipe("caption/photos").name == "photos.yaml"
    assert read_recipe("caption/photos").name == "caption/photos"
    assert read_recipe(tmp_path / name).name == "mine"
    for wrong, near in (("caption/fotos", "caption/photos"), ("mien.yaml", "mine.yaml")):
        with pytest.raises(NotFoundError, match=f"Did you mean '{near}'"):
            find_recipe(wrong)
    with pytest.raises(NotFoundError, match="a folder"):
        find_recipe(tmp_path)


def test_a_recipe_of_another_job_is_refused_with_the_command_that_runs_it(write):
    class Other(Options):
        pass

    with pytest.raises(UserError, match=r"run it with 'captioners caption mine\.yaml'"):
        read_options(Other, write("job: caption\n"))


def test_bytes_that_are_no_text_and_files_too_large_are_refused(write, tmp_path):
    tmp_path.joinpath("photo.yaml").write_bytes(b"\xff\xd8\xff\xe0\x00")
    assert mistakes("photo.yaml") == "photo.yaml, not text in UTF-8; this isn't a recipe"
    tmp_path.joinpath("large.yaml").write_bytes(b"# \n" * 400_000)
    assert "larger than 1,000,000 bytes" in mistakes("large.yaml")


def test_the_paper_s_names_of_context_lengths_are_understood(write):
    write("job: caption\n")
    for name, slots in ((77, 76), (128, 127), (255, 255), (76, 76)):
        assert options("mine.yaml", f"context_length={name}").context_length == slots
