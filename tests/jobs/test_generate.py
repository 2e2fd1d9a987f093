"""captioners generate as a user runs it: what it stores, how it goes on, and one clear line for every mistake."""

import errno
import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

import captioners as captioners_package
from captioners.cli.main import run
from captioners.core.entry import Counts
from captioners.core.errors import UserError
from captioners.core.leases import Leases
from captioners.core.package_data import SAMPLES
from captioners.core.run_dir import RunDir, open_run
from captioners.core.storage import Place
from captioners.executors import claims as generate_claims
from captioners.jobs.generate import setup as generate_setup
from captioners.jobs.generate import worker as generate_worker
from captioners.jobs.generate.alarms import PICTURES
from captioners.jobs.recipes.generate import Member
from tests.jobs.shards import content, orphans, picture, sums, write_shards

QUICK = ("-c", "random-tiny", "-n", "2", "-d", "{top_k: 5, max_tokens: 6}", "unit_samples=3", "decode_workers=0")
LAYER = "random-tiny.max_tokens-6_top_k-5"


@pytest.fixture
def captioners(capfd, run_dir):
    def call(*arguments):
        code = run(list(map(str, arguments)))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def work(monkeypatch):
    """Load each captioner once for all tests, and note what the engine is asked for: (member, image, draw, attempt)."""
    asked = []

    def load(member, recipe, rank=0):
        captioner = _kind(member.captioner, member.context_length)
        caption = type(captioner).caption.__get__(captioner)
        monkeypatch.setattr(captioner, "caption", lambda requests: caption(noted(requests)))
        return captioner

    def noted(requests):
        for request in requests:
            draws = range(request.first_draw, request.first_draw + request.draws)
            stream = request.stream
            if stream.member == "canary":
                yield request
                continue
            asked.extend((stream.member, stream.image_sha256, draw, request.attempt) for draw in draws)
            yield request

    monkeypatch.setattr(generate_setup, "load", load)
    monkeypatch.setattr(generate_worker, "load", load)
    return asked


@cache
def _kind(captioner, context_length):
    from captioners.kinds.coca import CocaCaptioner

    return CocaCaptioner(captioner, context_length=context_length)


def first(work):
    """How many captions were asked for, those not counted that a rule refused and that were made again."""
    return sum(attempt == 0 for *_, attempt in work)


def test_shards_get_captions_a_run_and_a_way_on(captioners, run_dir):
    write_shards("shards")
    code, out, err = captioners("generate", "shards", *QUICK)
    assert code == 0, err
    assert "3 tar shards" in out and "3 shards to caption" in out
    assert f"{LAYER}: 15 samples = 15 captioned + 0 filtered + 0 quarantined; 30 captions" in out
    (folder,) = [path for path in Path("runs").iterdir() if path.name != "latest"]
    assert re.fullmatch(r"generate-[0-9a-f]{6}", folder.name) and f"written: runs/{folder.name}" in out
    assert Path("runs/latest").resolve() == folder.resolve()
    assert sums(folder) == {LAYER: Counts(read=15, captioned=15, rows=30)}
    assert orphans(folder) == []
    table = open_run("latest").captions()
    assert table.num_rows == 30 and table["member"].unique().to_pylist() == [LAYER]
    row = table.to_pylist()[0]
    tar = Path("shards", row["shard"]).read_bytes()
    assert tar[row["offset"] : row["offset"] + row["size"]] == picture(0), "a row says where its image lies"
    assert Path("runs/latest/recipe.yaml").read_text().startswith("job: generate")


def test_the_same_command_finds_nothing_left_and_says_so(captioners, work):
    write_shards("shards")
    captioners("generate", "shards", *QUICK)
    stored, done = content("runs/latest"), len(work)
    assert first(work) == 30
    code, out, _ = captioners("generate", "shards", *QUICK)
    assert code == 0 and "nothing is left to do" in out and len(work) == done
    code, out, _ = captioners("generate", "runs/latest/recipe.yaml")
    assert code == 0 and "nothing is left to do" in out and len(work) == done
    assert content("runs/latest") == stored


def test_tar_folder_and_jsonl_of_the_same_pictures_give_the_same_captions(captioners, work):
    write_shards("tars", shards=1, samples=6)
    Path("folder").mkdir()
    for number in range(6):
        Path("folder", f"{number:06d}.png").write_bytes(picture(number))
    lines = [json.dumps({"image": f"folder/{number:06d}.png", "key": f"{number:06d}"}) for number in range(6)]
    Path("list.jsonl").write_text("\n".join(lines) + "\n")
    found = []
    for given in ("tars", "folder", "list.jsonl"):
        assert captioners("generate", given, *QUICK, "-o", f"out-{given}")[0] == 0
        rows = RunDir(f"out-{given}").captions().to_pylist()
        found.append([(row["image_sha256"], row["draw"], row["text"], row["logprob"]) for row in rows])
    assert found[0] == found[1] == found[2] and len(found[0]) == 12


def plain(folder, *changes):
    """Caption into `folder` without interruption."""
    return ("generate", "shards", *QUICK, "-o", folder, *changes)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param((), id="the rest after a pilot"),
        pytest.param(("memory_gb=1", "queue_mb=1"), id="another batch size"),
        pytest.param(("unit_samples=2",), id="another unit, which stays as it was"),
        pytest.param(("decode_workers=1",), id="other decode processes"),
    ],
)
def test_a_run_goes_on_under_other_circumstances_and_nothing_is_made_twice(captioners, work, second):
    write_shards("shards", shards=4)
    assert captioners(*plain("whole"))[0] == 0
    whole, all_work = content("whole"), sorted(work)
    work.clear()
    code, out, _ = captioners(*plain("run", "max_shards=2"))
    assert code == 0 and "2 shards (a pilot of 4)" in out and first(work) == 20
    pilot = content("run")
    assert captioners(*plain("run", *second))[0] == 0
    assert sorted(work) == all_work, "nothing is made twice, and nothing else"
    assert content("run") == whole and pilot.items() <= whole.items()


def test_more_shards_go_on_with_the_run(captioners, work):
    write_shards("shards", shards=2)
    captioners("generate", "shards", *QUICK)
    write_shards("shards", shards=2, first=2)
    code, out, _ = captioners("generate", "shards", *QUICK)
    assert code == 0 and "4 shards" in out and "2 shards to caption" in out and first(work) == 40
    assert sums("runs/latest")[LAYER].read == 20


def test_a_pattern_of_more_shards_goes_on_with_the_run(captioners, work):
    write_shards("shards", shards=4)
    captioners("generate", "shards/{00000..00001}.tar", *QUICK)
    code, out, _ = captioners("generate", "shards/{00000..00003}.tar", *QUICK)
    assert code == 0 and "2 shards to caption" in out and first(work) == 40


TWO = "[{captioner: random-tiny, name: a, draws: 2, decoding: {top_k: 5, max_tokens: 6}}, %s]"
B = "{captioner: random-tiny, name: b, draws: 1, decoding: {beam: {width: 2, max_tokens: 6}}}"
C = "{captioner: random-tiny, name: c, draws: 1, context_length: 20, decoding: {top_k: 4, max_tokens: 6}}"


def ensemble(folder, members, *changes):
    source = "source={kind: webdataset, inputs: [shards]}"
    return (
        "generate", "generate/shards", source, f"members={members}", "decode_workers=0", "unit_samples=3", "-o",
        folder, *changes,
    )  # fmt: skip


def test_one_more_member_goes_on_with_the_run(captioners, work):
    write_shards("shards", shards=2)
    alone = TWO % B
    captioners(*ensemble("whole", alone))
    whole = content("whole")
    work.clear()
    captioners(*ensemble("run", alone.replace(f", {B}", "")))
    assert first(work) == 20
    work.clear()
    code, _, err = captioners(*ensemble("run", alone))
    assert code == 0, err
    assert [member for member, *_ in work] == ["b"] * 10, "the first member is left alone"
    assert content("run") == whole
    work.clear()
    assert captioners(*ensemble("run", TWO % f"{B}, {C}"))[0] == 0
    assert {member for member, *_ in work} == {"c"}
    assert sums("run")["c"] == Counts(read=10, captioned=10, rows=10)


def test_captioners_that_fit_share_a_pass_and_store_what_two_passes_store(captioners, work):
    write_shards("shards", shards=2)
    code, out, _ = captioners(*ensemble("one", TWO % C))
    assert code == 0 and "pass 1: a, c share the read and the image encode (" in out and " in 2 passes" not in out
    members = [member for member, *_ in work]
    assert set(members) == {"a", "c"} and members != sorted(members), "both are under way together"
    work.clear()
    code, out, _ = captioners(*ensemble("two", TWO % C, "memory_gb=0.4"))
    assert code == 0 and "pass 1: a; pass 2: c (a worker may use 0.4 GB)" in out and "in 2 passes" in out
    members = [member for member, *_ in work]
    assert members == sorted(members) and set(members) == {"a", "c"}, "one captioner after the other"
    assert content("one") == content("two") and len(content("one")) == 8


@pytest.mark.parametrize(("pictures", "looks"), [(PICTURES, 1), (PICTURES - 1, 0)])
def test_whether_a_captioner_is_blind_is_asked_once_however_often_its_stream_runs_dry(
    captioners, work, monkeypatch, pictures, looks
):
    """It used to be asked by each stream: on a slow machine after every two shards."""
    asked, ledgers, passed = [], set(), generate_worker.Pass.run

    def run(self, *given):
        ledgers.add(self.run_dir.ledger)
        asked.append("stream")
        return passed(self, *given)

    monkeypatch.setattr(generate_claims, "_HELD_SMALL", 0)
    monkeypatch.setattr(generate_claims, "_HELD_S", 0.0)
    monkeypatch.setattr(generate_worker.Pass, "run", run)
    monkeypatch.setattr(generate_worker, "pictures_of", lambda *_: [None] * pictures)
    monkeypatch.setattr(generate_worker, "blind", lambda *_: asked.append("blind") or [])
    code, _, err = captioners("generate", write_shards("shards", 6, samples=2), *QUICK, "output=out")
    assert code == 0, err
    assert (asked.count("blind"), asked.count("stream"), len(ledgers)) == (looks, 3, 1)


def test_other_workers_store_the_same_bytes(captioners):
    write_shards("shards", shards=4, samples=4)
    assert captioners(*plain("one"))[0] == 0
    code, _, err = captioners(*plain("two", "workers=2"))
    assert code == 0, err
    assert content("two") == content("one") and len(content("one")) == 8


def test_jsonl_layers_hold_the_same_rows(captioners, work):
    write_shards("shards", shards=1)
    captioners(*plain("a"))
    captioners(*plain("b", "format=jsonl"))
    assert RunDir("a").captions().to_pylist() == RunDir("b").captions().to_pylist()
    assert {digest for digest, _ in content("a").values()} == {digest for digest, _ in content("b").values()}


def test_what_cannot_be_read_is_summed_up_with_an_example(captioners, work):
    write_shards("shards", shards=3, samples=10, broken={4})
    code, out, err = captioners("generate", "shards", *QUICK)
    assert code == 0, "one of thirty is below the ceiling"
    assert "30 samples = 29 captioned + 0 filtered + 1 quarantined; 58 captions" in out
    assert "quarantined, not_an_image: 1, such as" in err and "00000.tar" in err and "000004" in err
    (record,) = open_run("latest").quarantine()
    assert (record["shard"], record["key"], record["index"], record["reason"]) == (
        "00000.tar", "000004", 4, "not_an_image",
    )  # fmt: skip


def test_much_that_cannot_be_read_needs_a_look_at_the_end(captioners, work):
    write_shards("shards", shards=1, samples=10, broken={4})
    assert captioners("generate", "shards", *QUICK)[0] == 2
    assert captioners("generate", "shards", *QUICK, "quarantine_ceiling=0.2")[0] == 0


def test_an_empty_shard_is_said_and_finished(captioners, work):
    write_shards("shards", shards=1)
    write_shards("shards", shards=1, samples=0, first=1)
    code, _, err = captioners("generate", "shards", *QUICK)
    assert code == 2 and "quarantined, empty: 1, such as" in err and "00001.tar" in err
    code, out, _ = captioners("generate", "shards", *QUICK)
    assert code == 2 and "nothing is left to do" in out
    assert captioners("generate", "shards", *QUICK, "quarantine_ceiling=0.5")[0] == 0


def test_a_tar_cut_in_the_middle_yields_its_whole_samples_and_says_where(captioners, work):
    write_shards("shards", shards=2, samples=4)
    cut = Path("shards/00001.tar")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    code, _, err = captioners("generate", "shards", *QUICK)
    assert code == 2 and "quarantined, cut_tar: 1" in err
    counts = sums("runs/latest")[LAYER]
    assert 4 < counts.read < 8 and counts.read == counts.captioned


def test_more_than_the_ceiling_over_fifty_shards_stops_the_run(captioners, work):
    broken = {shard * 3 for shard in range(0, 60, 2)}
    write_shards("shards", shards=60, samples=3, broken=broken)
    code, _, err = captioners("generate", "shards", *QUICK)
    assert code == 2
    said = r"of the last 50 shards 1[67]% of samples could not be read, over the ceiling of 5%: not_an_image \(2[456]\)"
    assert re.search(said, err), err
    assert "00000.tar" in last_line(err), "with an example"
    shards = {entry.shard for entry in RunDir(next(Path("runs").glob("generate-*"))).entries()}
    assert 50 <= len(shards) < 60
    code, _, err = captioners("generate", "shards", *QUICK)
    assert code == 2 and "over the ceiling" in err, "the same command looks at what was stored before, too"
    code, _, _ = captioners("generate", "shards", *QUICK, "quarantine_ceiling=0.2")
    assert code == 0


def last_line(err):
    """The message; before it only progress may stand."""
    *before, last = err.strip().splitlines()
    assert all("images/s" in line for line in before), err
    return last


def mistakes():
    write_shards("shards", shards=1)
    Path("empty").mkdir()
    Path("file").write_text("x")
    Path("text.txt").write_text("x")
    bad = "source={kind: webdataset, inputs: [shards]}"
    return {
        "unknown key": (("generate", "generate/shards", bad, "worker=2"), "Did you mean 'workers'"),
        "wrong type": (("generate", "generate/shards", bad, "workers=two"), "workers: must be a whole number"),
        "captioner not found": (("generate", "shards", "-c", "coca-l14-cocoo"), "Did you mean 'coca-l14-coco'"),
        "no network": (("generate", "shards"), "the hub cannot be reached"),
        "no network, hub form": (("generate", "shards", "-c", "hf-hub:nobody/nothing"), "the hub cannot be reached"),
        "beam narrower than draws": (
            ("generate", "shards", "-c", "random-tiny", "-n", "3", "-d", "{beam: {width: 2}}"),
            "a beam of width 2 cannot give 3 captions",
        ),
        "context too small": (
            ("generate", "shards", "-c", "random-tiny", "-d", "{max_tokens: 30}", "members.0.context_length=20"),
            "does not fit a context of 20",
        ),
        "longer than the captioner's own context": (
            ("generate", "shards", "-c", "random-tiny", "-d", "{max_tokens: 75}"), "max_tokens 75 is more than",
        ),
        "output inside the input": (("generate", "shards", *QUICK, "-o", "shards/out"), "lies inside the input shards"),
        "output below a file": (("generate", "shards", *QUICK, "-o", "file/out"), "a file stands where a folder"),
        "output unwritable": (("generate", "shards", *QUICK, "-o", "/proc/out"), "cannot be written"),
        "no shards matched": (("generate", "shards/x*.tar", *QUICK), "no such"),
        "an empty folder": (("generate", "empty", *QUICK), "neither pictures, tars nor JSONL files"),
        "no such path": (("generate", "shrads", *QUICK), "Did you mean"),
        "not a source": (("generate", "text.txt", *QUICK), "not a file that a source reads"),
        "another job's recipe": (("generate", "caption/photos"), "run it with 'captioners caption"),
        "no draws": (("generate", "shards", "-n", "0"), "give 1 or more"),
        "a licence": (("generate", "shards", "-c", "apple-coca-context77"), "allow_noncommercial=true"),
        "two members of one name": (
            ensemble("out", TWO % B.replace("name: b", "name: a")), "2 members are called 'a'",
        ),
        "options for one member of two": ((*ensemble("out", TWO % B), "-n", "3"), "speak of one member"),
        "no members": (ensemble("out", "[]"), "members"),
    }  # fmt: skip


def test_every_mistake_is_one_clear_line_and_makes_nothing(captioners):
    for name, (arguments, says) in mistakes().items():
        code, _, err = captioners(*arguments)
        assert code == 1, f"{name}: {err}"
        assert says in err, name
        assert last_line(err).startswith("captioners: "), f"{name}: {err}"
        assert not Path("runs").exists() and not Path("out").exists(), f"{name} left something behind"


def test_a_member_that_changed_under_its_name_is_refused_with_what_differs(captioners, work):
    write_shards("shards", shards=1)
    captioners(*ensemble("run", TWO % B))
    before, done = content("run"), len(work)
    changes = {
        "decoding.top_k: 5 there, 6 here": ensemble("run", (TWO % B).replace("top_k: 5", "top_k: 6")),
        "seed: 0 there, 1 here": ensemble("run", TWO % B, "seed=1"),
        "rules.retries: 3 there, 2 here": ensemble("run", TWO % B, "rules.retries=2"),
        "draws: 2 there, 3 here": ensemble("run", (TWO % B).replace("draws: 2", "draws: 3")),
        "pictures.decode_profile: upright there": ensemble("run", TWO % B, "decode_profile=as_trained"),
    }
    for says, arguments in changes.items():
        code, _, err = captioners(*arguments)
        assert code == 1 and says in err, err
        assert "member 'a'" in err and "a name of its own" in err and "--replace a" in err, "both ways out"
    assert content("run") == before and len(work) == done, "refused before anything was captioned"
    assert captioners(*ensemble("run", TWO % f"{B.replace('name: b', 'name: b8')}"))[0] == 0


def test_a_shard_that_changed_since_the_run_began_is_refused(captioners, work):
    write_shards("shards", shards=2)
    captioners(*plain("run", "max_shards=1"))
    Path("shards/00001.tar").write_bytes(b"\0" * 10240)
    code, _, err = captioners(*plain("run"))
    assert code == 1 and "00001.tar" in err and "has changed since this run began" in err
    Path("shards/00001.tar").unlink()
    code, _, err = captioners(*plain("run"))
    assert code == 1 and "bring it back" in err


def test_a_full_disk_is_one_line_loses_nothing_and_the_same_command_continues(captioners, work, monkeypatch):
    write_shards("shards", shards=2)
    assert captioners(*plain("whole"))[0] == 0
    whole, real = content("whole"), {name: getattr(Place, name) for name in ("write", "create")}
    full = {"after": 0}

    def limited(name):
        def call(self, file, data):
            full["after"] -= 1
            if full["after"] < 0:
                raise OSError(errno.ENOSPC, "No space left on device", file)
            return real[name](self, file, data)

        return call

    for name in real:
        monkeypatch.setattr(Place, name, limited(name))
    starts, code = 0, 1
    while code:
        full["after"] = 4 + starts % 6  # starting takes some writes; then the disk is full at another write each time
        code, _, err = captioners(*plain("run"))
        starts += 1
        assert code == 0 or (code in (1, 75) and "out of disk" in err and "run the same command again" in err), err
        assert code == 0 or last_line(err)
        if Path("run/run.json").exists():
            assert orphans("run") == [] and content("run").items() <= whole.items()
        assert starts < 40
    assert starts > 3
    assert content("run") == whole


def test_a_failing_disk_leaves_the_unit_open_and_asks_for_the_same_command(captioners, work, monkeypatch):
    write_shards("shards", shards=2)
    real = Place.write

    def failing(self, name, data):
        if "00001.tar" in name:
            raise OSError(errno.EIO, "Input/output error", name)
        real(self, name, data)

    monkeypatch.setattr(Place, "write", failing)
    code, _, err = captioners(*plain("run"))
    assert code == 75 and "Input/output error" in err and "run the same command again" in err
    monkeypatch.setattr(Place, "write", real)
    assert captioners(*plain("run"))[0] == 0
    assert sums("run")[LAYER].read == 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_beside_the_workers_ends_as_it_does_in_them(captioners, work, monkeypatch, number):
    write_shards("shards", shards=1)

    def failing(*_):
        raise OSError(number, os.strerror(number), "leases")

    monkeypatch.setattr(Leases, "__enter__", failing)
    code, _, err = captioners(*plain("run"))
    said = "out of disk; free some space" if number == errno.ENOSPC else "the machine failed"
    assert code == 75 and said in err and os.strerror(number) in err, err
    assert err.count("\n") == 1 and "Run the same command again" in err


def test_names_are_made_of_captioner_and_decoding_alone():
    made = lambda **fields: Member.model_validate({"captioner": "random-tiny", **fields}).called  # noqa: E731
    assert made() == "random-tiny.top_p-0.9"
    assert made(decoding={"beam": {"width": 8}}) == "random-tiny.beam_width-8"
    assert made(decoding="greedy", draws=1) == "random-tiny.beam_width-1"
    assert made(decoding="sample") == "random-tiny.sample"
    assert made(name="mine") == "mine"
    assert made(captioner="coca_ViT-L-14/some/tag") == "coca_ViT-L-14-some-tag.top_p-0.9"


def test_the_python_api_runs_a_recipe_and_reads_captions_and_quarantine(run_dir, work):
    write_shards("shards", shards=2, broken={3})
    member = {"captioner": "random-tiny", "name": "m", "draws": 2, "decoding": {"top_k": 5, "max_tokens": 6}}
    source = {"kind": "webdataset", "inputs": ["shards"]}
    done = captioners_package.run("generate/shards", source=source, members=[member], decode_workers=0)
    table = done.captions()
    assert table.num_rows == 18 and set(table["member"].to_pylist()) == {"m"}
    assert [record["key"] for record in done.quarantine()] == ["000003"]
    again = captioners_package.run("generate/shards", source=source, members=[member], decode_workers=0)
    assert again.directory == done.directory and first(work) == 18


def test_the_packaged_samples_in_a_real_run_with_its_own_processes(captioners):
    """Nothing patched: the real pool, the real captioner, loaded anew."""
    code, out, err = captioners("generate", SAMPLES, "-c", "random-tiny", "-n", 1, "-d", "{max_tokens: 5}")
    assert code == 0, err
    assert "6 samples = 6 captioned" in out


def test_a_worker_refuses_a_captioner_that_is_not_what_was_claimed():
    class Changed:
        info = type("Info", (), {"meaning": {"weights": "b"}})

    member = Member(captioner="random-tiny")
    recipe = type("R", (), {"groups": [(member,)]})
    layer = type("L", (), {"meaning": {"weights": "a"}})
    setting = type("S", (), {"recipe": recipe, "layers": {member.called: layer}, "loaded": {0: Changed}})
    with pytest.raises(UserError, match="changed while the run was starting"):
        generate_worker.loaded_captioner(setting, 0, 0)
