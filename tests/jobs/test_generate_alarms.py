"""Alarms of generate: one caption for much of a unit, a blind captioner, pictures that stand in for missing ones."""

from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace

from PIL import Image

from captioners.core.alarms import FEWEST, placeholders
from captioners.core.entry import Counts
from captioners.core.segments import table_of
from captioners.jobs.generate.alarms import (
    PICTURES,
    Seen,
    blind,
    marked,
    nothing_kept,
    of_rows,
    pictures_of,
    repeated,
    same_caption,
)
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.captioner import Result
from captioners.text.flags import Rules
from tests.jobs.generate_fakes import ScriptedCaptioner
from tests.jobs.shards import write_shards
from tests.jobs.test_generate_stream import Stage, png, recipe


def rows(count, text=str, picture=str, **more):
    """One draw of each of `count` samples."""
    return [
        {
            "index": n, "image_sha256": picture(n), "text": text(n), "keep": True, "flags": [], "finish": "eos", **more,
        }
        for n in range(count)
    ]  # fmt: skip


def test_one_caption_for_much_of_a_unit_is_an_alarm_and_for_little_of_it_none():
    (alarm,) = same_caption("a", "0.tar", rows(40, lambda n: "A dog" if n % 4 == 0 else "a dog" if n == 1 else f"{n}"))
    assert (alarm.name, alarm.member, alarm.shard, alarm.share) == ("same_caption", "a", "0.tar", 11 / 40)
    assert "11 of 40 different pictures have the same caption, 'a dog'" in alarm.text
    assert same_caption("a", "0.tar", rows(40, lambda n: "a dog" if n < 9 else f"{n}")) == []
    assert same_caption("a", "0.tar", rows(19, lambda n: "a dog")) == [], "too few to judge by"
    assert same_caption("a", "0.tar", []) == []


def test_the_same_caption_of_the_same_picture_and_refused_ones_are_no_alarm():
    assert (
        same_caption(
            "a", "0.tar", rows(40, lambda n: "a dog" if n < 20 else f"{n}", lambda n: "x" if n < 20 else f"{n}")
        )
        == []
    )
    assert same_caption("a", "0.tar", rows(40, lambda n: "a dog", keep=False)) == []


def test_a_unit_of_which_nothing_is_kept_is_an_alarm_and_says_why():
    refused = rows(5, lambda n: "", keep=False, flags=["empty"], raw_text="the sample has no field 'txt'")
    (alarm,) = nothing_kept("a", "0.tar", refused)
    assert (alarm.name, alarm.member, alarm.shard) == ("nothing_kept", "a", "0.tar")
    assert alarm.text == ("not one caption of 5 samples is kept (empty 5), such as \"the sample has no field 'txt'\"")
    assert of_rows("a", "0.tar", refused) == [alarm]
    assert nothing_kept("a", "0.tar", refused[:4]) == [], "too few to judge by"
    assert nothing_kept("a", "0.tar", [*refused, *rows(1, raw_text=None)]) == []
    assert nothing_kept("a", "0.tar", []) == []


@dataclass
class Captioner:
    """Says by turns what it sees, or what only its random numbers say."""

    sees: float
    kind: str = "scripted"
    asked: int = 0

    @property
    def info(self):
        return SimpleNamespace(kind=self.kind)

    def caption(self, requests):
        for request in requests:
            self.asked += 1
            seen = request.image.getpixel((0, 0)) if request.index < self.sees else ""
            yield Result(
                index=request.index, draw=0, text=f"{request.stream.image_sha256[:6]} {seen}", raw_text=None,
                num_tokens=5, logprob=-1.0, finish="eos",
            )  # fmt: skip


def seen(count=PICTURES):
    return [Seen(sha256(bytes([n])).hexdigest(), Image.new("RGB", (4, 4), (n, n, n))) for n in range(count)]


def test_captions_that_do_not_change_when_pictures_are_swapped_are_an_alarm():
    said = recipe()
    (alarm,) = blind(Captioner(sees=0), said.members[0], seen(), 7, "0.tar")
    assert (alarm.name, alarm.member, alarm.share) == ("blind", "a", 1.0) and "is blind" in alarm.text
    assert blind(Captioner(sees=1), said.members[0], seen(), 7, "0.tar") == [], "one that changes suffices"
    assert blind(Captioner(sees=99), said.members[0], seen(), 7, "0.tar") == []


def test_too_few_pictures_or_captions_that_exist_already_are_not_judged():
    few, existing = Captioner(sees=0), Captioner(sees=0, kind="existing")
    assert blind(few, recipe().members[0], seen(PICTURES - 1), 7, "0.tar") == [] and not few.asked
    assert blind(existing, recipe().members[0], seen(), 7, "0.tar") == [] and not existing.asked


def test_pictures_to_swap_are_different_ones_apart_from_each_other(tmp_path):
    write_shards(tmp_path / "in", shards=1, samples=40, broken=(16,))
    said = GenerateRecipe.model_validate(
        {"source": {"kind": "webdataset", "inputs": [str(tmp_path / "in")]}, "members": [{"captioner": "random-tiny"}]},
        strict=False,
    )
    (shard,) = said.source.open().shards()
    assert len(pictures_of(said, shard)) == 2, "of 0, 16 and 32 the second is no picture"


def test_a_file_that_recurs_in_a_unit_is_marked_and_left_out_if_the_rules_say_so():
    unit = rows(100, picture=lambda n: "same" if n % 20 == 0 else f"{n}")
    kept = marked(unit, Rules())
    assert [row["index"] for row in kept if row["flags"] == ["placeholder"]] == [0, 20, 40, 60, 80]
    assert all(row["keep"] for row in kept)
    dropped = marked(unit, Rules(placeholder="drop"))
    assert [row["index"] for row in dropped if not row["keep"]] == [0, 20, 40, 60, 80]
    assert marked(dropped, Rules(placeholder="drop")) == dropped
    assert marked(marked(unit, Rules()), Rules(placeholder_share=0.06)) == unit, "and the mark goes where it is not"
    few = rows(100, picture=lambda n: "same" if n < 4 else f"{n}")
    assert marked(few, Rules()) == few, "fewer than five are no pattern"


def test_draws_of_one_sample_are_one_picture():
    unit = [{**row, "draw": draw} for row in rows(10) for draw in range(5)]
    assert marked(unit, Rules()) == unit and repeated(unit) == {}


def test_a_picture_refused_for_its_words_stays_refused_when_it_is_marked():
    unit = rows(10, picture=lambda n: "same")
    unit[0] |= {"flags": ["too_short"], "keep": False}
    unit[1] |= {"finish": "error", "keep": False}
    assert [row["keep"] for row in marked(unit, Rules())][:3] == [False, False, True]


def test_placeholders_are_counted_and_filtered_in_the_entry_of_their_unit(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [0] * 6 + list(range(1, 15))}, unit=20)
    stage.go(recipe({"name": "a", "draws": 2}, placeholder="drop"), ScriptedCaptioner())
    (entry,) = stage.entries().values()
    assert entry.counts == Counts(read=20, captioned=14, filtered=6, rows=40)
    assert entry.flags == {"placeholder": 12} and entry.repeated == {sha256(png(0)).hexdigest(): 6}
    assert entry.alarms == []


def test_a_blind_member_is_told_by_its_unit_too(tmp_path):
    stage = Stage(tmp_path, {"0.tar": list(range(24))}, unit=24)
    stage.go(recipe({"name": "a", "draws": 1}), ScriptedCaptioner(lambda *_: "a dog on a mat"))
    (entry,) = stage.entries().values()
    assert [alarm["name"] for alarm in entry.alarms] == ["same_caption"]


def table(*units):
    """The ledger's table of units of 500 pictures, given as (layer, part, repeated)."""
    entries = [
        {
            "layer": layer, "fingerprint": "f", "shard": "0.tar", "part": part, "start": 0, "stop": 500, "last": False,
            "counts": {"read": 500, "captioned": 500, "filtered": 0, "quarantined": 0, "rows": 500},
            "repeated": repeated,
        }
        for layer, part, repeated in units
    ]  # fmt: skip
    return table_of([(f"{entry['layer']}.{entry['part']}", entry) for entry in entries])


def test_a_picture_all_over_a_run_is_an_alarm_though_no_unit_has_much_of_it():
    units = [(layer, part, {"abc": 6, "rare": 3 * (part == 0)}) for layer in "ab" for part in range(5)]
    (alarm,) = placeholders(table(*units))
    assert alarm.name == "placeholder" and "30 of 2,500 pictures (1.2%; sha256 abc)" in alarm.text
    assert placeholders(table(*[(*unit[:2], {"abc": 4}) for unit in units])) == [], "below one in a hundred"
    assert FEWEST > 6 * 3 and placeholders(table(*units[:3])) == [], "too few to judge by"
    assert placeholders(table()) == []
