"""captioners check, list and doctor, as a user runs them."""

from pathlib import Path

import pytest
from PIL import Image

from captioners.cli.main import run
from captioners.core.package_data import recipe_names, recipes_dir
from captioners.decoding.values import decoding_names
from captioners.jobs.listing import sorts
from tests.jobs.shards import write_shards


@pytest.fixture
def captioners(capsys):
    def call(*arguments):
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_check_says_what_is_right_and_what_was_not_checked(captioners):
    code, out, err = captioners("check", "caption/photos")
    assert (code, err) == (0, "")
    assert out.startswith("right  caption/photos: coca-l14-coco, beam search of width 5")
    assert "checked 1: 1 right, 0 wrong\nnot checked:\n  that the weights exist and load" in out
    assert "next:    captioners caption caption/photos" in out


def test_check_takes_a_folder_of_recipes_by_path_and_by_name(captioners):
    count = len([name for name in recipe_names() if name.startswith("caption/")])
    for folder in (str(recipes_dir() / "caption"), "caption"):
        code, out, _ = captioners("check", folder)
        assert code == 0
        assert f"checked {count}: {count} right, 0 wrong" in out


def test_every_recipe_on_disk_is_checked_and_right(captioners):
    count = len(list(recipes_dir().rglob("*.yaml")))
    code, out, _ = captioners("check", str(recipes_dir()))
    assert code == 0
    assert f"checked {count}: {count} right, 0 wrong" in out


def test_check_refuses_every_bad_recipe_at_once(captioners):
    folder = Path(__file__).parent.parent / "bad_recipes"
    code, out, err = captioners("check", str(folder))
    assert code == 1
    assert f"checked {len(list(folder.iterdir()))}: 0 right" in out
    assert err.count("wrong  ") == len(list(folder.iterdir()))


def test_check_applies_overrides_and_names_inputs_that_are_not_there(captioners, run_dir):
    code, _, err = captioners("check", "caption/photos", "drwas=2")
    assert code == 1
    assert "command line: drwas: unknown key. Did you mean 'draws'?" in err
    code, _, err = captioners("check", "caption/photos", "inputs=[nope]")
    assert code == 1
    assert "inputs: no such file or folder: nope" in err


def test_check_refuses_an_unknown_captioner_with_near_names(captioners):
    code, _, err = captioners("check", "caption/photos", "captioner=coca-l14-cocoo")
    assert code == 1
    assert "Did you mean 'coca-l14-coco'" in err


def test_check_refuses_a_non_commercial_captioner_until_it_is_allowed(captioners):
    code, _, err = captioners("check", "caption/photos", "captioner=apple-coca-context77")
    assert code == 1
    assert "say allow_noncommercial: true" in err
    assert captioners("check", "caption/photos", "captioner=apple-coca-context77", "allow_noncommercial=true")[0] == 0


def test_a_listed_captioner_shows_its_licences(captioners):
    code, out, _ = captioners("list", "captioners", "coca-l14-coco")
    assert code == 0
    assert "open_clip coca_ViT-L-14/mscoco_finetuned_laion2b_s13b_b90k" in out
    assert "licence of the weights" in out


def test_check_looks_at_members_and_shards_of_a_generate_recipe(captioners, run_dir):
    code, out, _ = captioners("check", "generate/shards")
    assert code == 0 and "generate/shards: coca-l14-coco.top_p-0.9 x 5; no inputs yet" in out
    write_shards("shards", shards=2)
    code, out, _ = captioners("check", "generate/shards", "source.inputs=[shards]")
    assert code == 0 and "x 5; 2 shards" in out and "next:    captioners generate generate/shards" in out
    mistakes = {
        "members.0.captioner=coca-l14-cocoo": "members.0.captioner: no captioner is named 'coca-l14-cocoo'",
        "members.0.captioner=apple-coca-context77": "may not be used commercially",
        "source.inputs=[shrads]": "source: ",
        "members.0.draws=0": "members.0.draws",
        "members.0.decoding={beam: {width: 3}}": "a beam of width 3 cannot give 5 captions",
    }
    for override, says in mistakes.items():
        code, _, err = captioners("check", "generate/shards", "source.inputs=[shards]", override)
        assert code == 1 and says in err, override
    later = ("members.0.captioner=runs/demo/none", "source.inputs=[runs/demo/none]")
    code, out, _ = captioners("check", "generate/shards", *later)
    assert code == 0 and "runs/demo/none is not made yet" in out, "what another recipe makes first is no mistake"


def test_check_says_what_a_picture_and_a_folder_are(captioners, run_dir):
    Image.new("RGB", (40, 30)).save("photo.png")
    Path("broken.jpg").write_bytes(b"not a picture")
    code, out, _ = captioners("check", "photo.png")
    assert code == 0
    assert "a picture of 40 x 30 px" in out
    assert "captioners caption photo.png" in out
    code, out, _ = captioners("check", ".")
    assert code == 0
    assert "a folder of 2 pictures" in out
    code, _, err = captioners("check", "broken.jpg")
    assert code == 1
    assert "broken.jpg" in err


def test_check_says_what_a_captioner_s_directory_is(captioners, run_dir):
    Path("mine").mkdir()
    Path("mine/open_clip_config.json").write_text("{}")
    code, out, _ = captioners("check", "mine")
    assert code == 0
    assert "mine: a captioner's directory" in out


def test_check_of_nothing_that_exists_and_of_an_empty_folder(captioners, run_dir):
    code, _, err = captioners("check", "caption/fotos")
    assert code == 1
    assert "Did you mean 'caption/photos'" in err
    code, _, err = captioners("check", ".")
    assert code == 1
    assert "neither recipes (.yaml) nor pictures, but no files" in err


@pytest.mark.parametrize("what", sorts())
def test_every_sort_is_listed_with_its_count_or_says_honestly_that_it_is_empty(captioners, what):
    code, out, _ = captioners("list", what)
    assert code == 0
    rows = out.rstrip().splitlines()
    assert what in rows[-1]
    assert len(rows) > 1


def test_a_listed_recipe_is_the_commented_file_and_nothing_else(captioners, run_dir):
    code, out, _ = captioners("list", "recipes", "caption/photos")
    assert code == 0
    assert out == (recipes_dir() / "caption" / "photos.yaml").read_text()
    Path("mine.yaml").write_text(out)
    assert captioners("check", "mine.yaml")[0] == 0


@pytest.mark.parametrize("name", decoding_names())
def test_a_listed_decoding_shows_fields_with_defaults_and_meaning(captioners, name):
    code, out, _ = captioners("list", "decodings", name)
    assert code == 0
    assert "min_tokens  (int, >= 0, default 5)\n    Content tokens before" in out
    assert ("short for" in out) == (name not in ("sample", "beam"))


def test_a_listed_source_says_in_words_what_its_keys_take(captioners):
    code, out, _ = captioners("list", "sources", "mixture")
    assert code == 0 and "parts  (list of {source, weight}, needed)" in out
    assert "captioners." not in out, "no name of a class"


def test_a_listed_metric_says_whether_it_is_measured_by_default_and_what_it_needs(captioners):
    _, out, _ = captioners("list", "metrics")
    assert "\nSelf-CIDEr * " in out and "\nLSA diversity  " in out and "*: the default bundle" in out
    assert captioners("list", "metrics", "LSA diversity")[1].rstrip().endswith("by default: with --all")
    assert "needs: several captioners\nby default: yes" in captioners("list", "metrics", "Vendi beta")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recpes"], "Did you mean 'recipes'"),
        (["recipes", "caption/fotos"], "Did you mean 'caption/photos'"),
        (["captioners", "coca-l14"], "Did you mean 'coca-l14-coco'"),
        (["decodings", "gredy"], "Did you mean 'greedy'"),
        (["metrics", "cider"], "Known: Div-1"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(captioners, arguments, says):
    code, _, err = captioners("list", *arguments)
    assert code == 1
    assert says in err
    assert err.count("\n") == 1


def test_doctor_names_versions_devices_codecs_and_no_secrets(captioners, monkeypatch, tmp_path):
    secret = "hf_" + "x" * 30
    monkeypatch.setenv("HF_TOKEN", secret)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    code, out, _ = captioners("doctor")
    assert code == 0
    for part in ("**Versions**", "- torch: ", "- open-clip-torch: ", "- cpu capability: ", "- heif: ", "- jpeg: yes"):
        assert part in out
    assert secret not in out
    assert str(tmp_path) not in out
    assert "~/cache/hub" in out
