"""captioners/jobs/compare/votes.py: the blind page keeps its secret, and votes from anywhere are not believed."""

import json
import re

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.compare.findings import Side
from captioners.jobs.compare.images import ComparedImage
from captioners.jobs.compare.job import compare_captions
from captioners.jobs.compare.votes import blind_page, count_votes
from tests.jobs.comparing import VOICES, picture, references

COUNT = 40
IMAGES = {f"k{n:02d}": ComparedImage(key=f"k{n:02d}", image=picture(n)) for n in range(COUNT)}


def found(seed=0, same=0):
    before = [VOICES["good"](n) if n < same else f"before says {n}" for n in range(COUNT)]
    after = [VOICES["good"](n) if n < same else f"after says {n}" for n in range(COUNT)]
    told = [references(n) for n in range(COUNT)]
    sides = Side(name="coca-init"), Side(name="garden-tuned")
    return compare_captions(list(IMAGES), before, after, told, sides=sides, seed=seed)


@pytest.fixture(scope="module")
def blind():
    return blind_page(found(), IMAGES)


@pytest.fixture
def given(blind, tmp_path):
    """Writes the key and votes; returns their paths."""
    (tmp_path / "blind.key.json").write_text(blind[1].model_dump_json())

    def write(name, votes, **more):
        told = {"format": "captioners-votes", "version": 1, "page": blind[1].page, "votes": votes} | more
        (tmp_path / name).write_text(json.dumps(told))
        return tmp_path / name

    return write


def whose(blind, choice):
    """Votes for one captioner everywhere."""
    return {key: "left" if left == choice else "right" for key, left in blind[1].left.items()}


def test_the_key_says_whose_caption_stands_where(blind):
    text, key = blind
    ballots = re.findall(r'data-key="(k\d+)".*?left"><h2>Left</h2><p class="text">(.*?)</p>', text, re.S)
    assert len(ballots) == COUNT
    for name, left in ballots:
        assert left == f"{key.left[name]} says {int(name[1:])}"
    sides = list(key.left.values())
    assert 8 < sides.count("before") < 32, "a coin that is not fair"
    assert [name for name, _ in ballots] != sorted(IMAGES)


def test_the_page_does_not_tell(blind):
    """With the captions' own words taken out, nothing on the page depends on who said what."""
    text, key = blind
    swapped = compare_captions(
        list(IMAGES),
        [f"after says {n}" for n in range(COUNT)],
        [f"before says {n}" for n in range(COUNT)],
        [references(n) for n in range(COUNT)],
        sides=(Side(name="coca-init"), Side(name="garden-tuned")),
    )

    def bare(page):
        return re.sub(r"(before|after) says", "says", page)

    assert bare(blind_page(swapped, IMAGES)[0]) == bare(text)
    for secret in ("coca-init", "garden-tuned", "CIDEr", references(3)[0], "key.json"):
        assert secret not in text
    bare_text = bare(text)
    for word in ("before", "after"):
        assert not re.search(rf"data-[a-z]+=.{word}", bare_text)
    assert key.page in text


def test_the_sides_are_a_hash_of_image_and_seed(blind):
    assert blind_page(found(), IMAGES)[1] == blind[1]
    other = blind_page(found(seed=1), IMAGES)[1]
    assert other.left != blind[1].left
    assert other.page != blind[1].page


def test_images_of_which_both_say_the_same_are_left_out_and_counted():
    text, key = blind_page(found(same=15), IMAGES)
    assert (len(key.left), key.same) == (COUNT - 15, 15)
    assert text.count('class="ballot"') == COUNT - 15
    with pytest.raises(UserError, match="say the same of every image; nothing to vote on"):
        blind_page(found(same=COUNT), IMAGES)


@pytest.mark.parametrize(("choice", "who"), [("after", "garden-tuned"), ("before", "coca-init")])
def test_votes_say_who_is_preferred(blind, given, choice, who):
    counted = count_votes([given("votes.json", whose(blind, choice))])
    assert counted.sentence.startswith(f"Which do people prefer? {who}: garden-tuned is preferred in ")
    assert (counted.found.images, counted.voters) == (COUNT, 1)
    assert getattr(counted.found, choice) == COUNT


def test_several_voters_and_ties(blind, given):
    ties = dict.fromkeys(blind[1].left, "tie")
    one, other = given("a.json", whose(blind, "after")), given("b.json", ties)
    counted = count_votes([one, other])
    assert (counted.found.after, counted.found.tie, counted.found.images, counted.voters) == (COUNT, COUNT, COUNT, 2)
    assert counted.found.share == 0.75
    assert "40 ties; 2 voters" in counted.sentence
    assert count_votes([other]).sentence.startswith("Which do people prefer? CAN'T TELL")
    assert count_votes([given("none.json", {})]).sentence.endswith("there is no vote")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not votes that a blind page gave out"),
        (b"\xff\xfe", "not votes"),
        (b"[" * 100_000, "not votes"),
        (b'{"format": "captioners-votes"', "not votes"),
        (b'{"format": "other", "version": 1, "page": "x", "votes": {}}', "format"),
        (b'{"format": "captioners-votes", "version": 2, "page": "x", "votes": {}}', "version"),
        (b'{"format": "captioners-votes", "version": 1, "page": "x", "votes": {"k00": "both"}}', "votes.k00"),
        (b'{"format": "captioners-votes", "version": 1, "page": "x", "votes": {"k00": 1}}', "votes.k00"),
        (b'{"format": "captioners-votes", "version": 1, "page": "x", "votes": {}, "more": 1}', "more"),
        (b" " * 4_000_001, "larger than"),
    ],
    ids=range(10),
)
def test_what_is_no_votes_file_is_refused_in_one_line(given, tmp_path, content, says):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        count_votes([tmp_path / "bad.json"])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_votes_of_another_page_or_image_and_the_same_file_twice_are_refused(blind, given, tmp_path):
    good = given("good.json", {"k01": "left"})
    with pytest.raises(UserError, match=r"votes of page 'other', and .*good.json are of"):
        count_votes([good, given("other.json", {}, page="other")])
    with pytest.raises(UserError, match="votes on 'k99', which is not on page"):
        count_votes([given("more.json", {"k99": "left"})])
    (tmp_path / "copy.json").write_bytes(good.read_bytes())
    with pytest.raises(UserError, match=r"copy.json: the same votes as .*good.json"):
        count_votes([good, tmp_path / "copy.json"])
    with pytest.raises(NotFoundError, match=r"nowhere.json: no such file"):
        count_votes(["nowhere.json"])
    with pytest.raises(UserError, match="no votes were given"):
        count_votes([])


def test_the_key_is_found_beside_the_votes_or_where_it_is_said_to_be(blind, given, tmp_path, monkeypatch):
    votes = given("votes.json", {"k01": "tie"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert count_votes([votes]).found.tie == 1
    (tmp_path / "blind.key.json").rename(elsewhere / "page.key.json")
    assert count_votes([votes]).found.tie == 1, "in the working folder"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=r"the key of page '[0-9a-f]{16}' is not there"):
        count_votes([votes])
    assert count_votes([votes], [elsewhere / "page.key.json"]).found.tie == 1
