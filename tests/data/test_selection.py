"""captioners/data/selection.py: which captions are taken, against slow selections; sums that balance."""

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from captioners.core.errors import NotFoundError, UserError
from captioners.data.farthest import farthest
from captioners.data.selection import Select, Selection

MEMBERS = ("a", "b", "c")
WORDS = ["red", "blue", "dog", "cat", "sits", "runs", "on", "under", "the", "a", "table", "tree"]


def rows_of(samples=40, draws=3, seed=1):
    """Rows of three members in their order, some refused, some flagged, with a score."""
    random = np.random.Generator(np.random.PCG64(seed))
    found = []
    for member, index, draw in itertools.product(MEMBERS, range(samples), range(draws)):
        flags = [flag for flag in ("truncated", "repetitive") if random.random() < 0.2]
        found.append(
            {
                "shard": "00/0.tar", "key": f"k{index}", "index": index, "member": member, "draw": draw,
                "keep": bool(random.random() < 0.85), "text": " ".join(random.choice(WORDS, 4)), "flags": flags,
                "logprob": None if random.random() < 0.1 else float(-random.random()),
                "clipscore": None if random.random() < 0.1 else float(np.round(random.random(), 1)),
            }
        )  # fmt: skip
    return found


ROWS = rows_of()
TABLE = pa.Table.from_pylist(
    ROWS,
    schema=pa.schema(
        [
            ("shard", pa.string()), ("key", pa.string()), ("index", pa.int32()), ("member", pa.string()),
            ("draw", pa.int32()), ("keep", pa.bool_()), ("text", pa.string()), ("flags", pa.list_(pa.string())),
            ("logprob", pa.float64()), ("clipscore", pa.float64()),
        ]
    ),
)  # fmt: skip


def choose(**select):
    return Selection(Select(**select), MEMBERS, ["clipscore"]).choose(TABLE)


def names(chosen):
    return [(row["index"], row["member"], row["draw"]) for row in chosen.rows.to_pylist()]


def candidates(good=lambda row: True):
    """Sample -> its rows that may be taken, members and draws in order."""
    found = {}
    for row in ROWS:
        found.setdefault(row["index"], []).extend([row] if row["keep"] and good(row) else [])
    return found


def balanced(chosen):
    assert chosen.captions["taken"] == chosen.rows.num_rows
    assert sum(chosen.captions.values()) == len(ROWS)
    assert sum(chosen.samples.values()) == 40
    assert len(chosen.left) == 40 - chosen.samples["taken"]
    assert names(chosen) == sorted(names(chosen))


def test_without_a_number_all_kept_captions_are_taken():
    chosen = choose()
    balanced(chosen)
    assert set(names(chosen)) == {(r["index"], r["member"], r["draw"]) for r in ROWS if r["keep"]}
    assert chosen.captions["refused"] == sum(not row["keep"] for row in ROWS) > 0
    assert "keep" not in chosen.rows.column_names


@pytest.mark.parametrize("n", [1, 2, 4, 5, 7])
def test_round_robin_goes_around_the_members(n):
    """The independent answer: queues, taken from by turns."""
    chosen = choose(n=n, where="not truncated")
    balanced(chosen)
    expected = []
    for index, rows in candidates(lambda row: "truncated" not in row["flags"]).items():
        queues = {member: [row for row in rows if row["member"] == member] for member in MEMBERS}
        turn, taken = index % len(MEMBERS), []
        while len(taken) < n and any(queues.values()):
            queue = queues[MEMBERS[turn]]
            taken += [queue.pop(0)] if queue else []
            turn = (turn + 1) % len(MEMBERS)
        expected += sorted((index, row["member"], row["draw"]) for row in taken) if len(taken) == n else []
    assert names(chosen) == expected
    assert len(expected) > n


def test_what_is_over_goes_to_all_members_alike():
    chosen = Selection(Select(n=1), MEMBERS).choose(TABLE.filter(TABLE["keep"]))
    counts = {member: chosen.rows["member"].to_pylist().count(member) for member in MEMBERS}
    assert min(counts.values()) >= 10


@pytest.mark.parametrize("score", ["clipscore", "clipscore * 2 + logprob", "-logprob"])
def test_by_score_takes_the_largest(score):
    chosen = choose(n=3, by="score", score=score)
    balanced(chosen)
    best = {}
    for index, member, draw in names(chosen):
        best.setdefault(index, set()).add((member, draw))
    for index, rows in candidates().items():
        if index not in best:
            assert len(rows) < 3
            continue

        def value(row):
            known = {name: row[name] for name in ("clipscore", "logprob") if name in score}
            return -np.inf if None in known.values() else eval(score, {}, known)

        taken = [value(row) for row in rows if (row["member"], row["draw"]) in best[index]]
        assert sorted(taken, reverse=True) == sorted(map(value, rows), reverse=True)[:3]


def grams(text):
    words = re.findall(r"[a-z]+", text.lower())
    return set(words) | {f"{one} {two}" for one, two in itertools.pairwise(words)}


def test_diverse_is_the_greedy_answer_of_a_slow_one():
    texts = [row["text"] for row in ROWS[:12]] + ["A red, DOG.", "a red dog", ""]
    for n in range(1, len(texts) + 1):
        taken = [0]
        while len(taken) < n:
            gaps = {}
            for at, text in enumerate(texts):
                if at not in taken:
                    pairs = [(grams(text), grams(texts[other])) for other in taken]
                    gaps[at] = min(1 - len(a & b) / len(a | b) if a | b else 0 for a, b in pairs)
            taken.append(next(at for at in gaps if gaps[at] == max(gaps.values())))
        assert farthest(texts, n, range(len(texts))) == taken
    assert farthest(["a dog", "A dog!", "a cat"], 2, [7, 8, 9]) == [7, 9], "case and punctuation are no difference"


def test_diverse_takes_captions_that_differ_more():
    def spread(chosen):
        texts = {}
        for row in chosen.rows.to_pylist():
            texts.setdefault(row["index"], []).append(grams(row["text"]))
        return np.mean([1 - len(a & b) / len(a | b) for t in texts.values() for a, b in itertools.combinations(t, 2)])

    plain, diverse = choose(n=3), choose(n=3, by="diverse")
    balanced(diverse)
    assert spread(diverse) > spread(plain) + 0.05


def test_samples_that_cannot_have_so_many_are_listed_with_the_reason(tmp_path):
    listed = tmp_path / "keys.txt"
    listed.write_text("k3\n00/0.tar:k7\n other.tar:k8 \n\n", encoding="utf-8")
    chosen = choose(n=7, exclude=str(listed), where="clipscore > 0.3")
    balanced(chosen)
    reasons = {one["key"]: one["reason"] for one in chosen.left}
    assert {key for key, reason in reasons.items() if reason == "excluded"} == {"k3", "k7"}
    few = [one for one in chosen.left if one["reason"] == "too_few_captions"]
    assert re.match(r"\d captions? of 7 wanted; it has 9, .*\d that do not meet the condition", few[0]["error"])
    assert chosen.captions["unmet"] > 0 < chosen.captions["too_few"]
    for one in few:
        good = candidates(lambda r: (r["clipscore"] or 0) > 0.3)[one["index"]]
        assert one["error"].startswith(f"{len(good)} caption")


def test_a_table_without_rows_gives_none():
    chosen = Selection(Select(n=2), MEMBERS).choose(TABLE.slice(0, 0))
    assert (chosen.rows.num_rows, chosen.left) == (0, [])


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ({"n": 0}, "greater than or equal to 1"),
        ({"by": "best"}, "'round_robin', 'score' or 'diverse'"),
        ({"by": "score", "n": 1}, "go together"),
        ({"score": "clipscore", "n": 1}, "go together"),
        ({"by": "diverse"}, "say how many"),
        ({"where": "import os"}, "where\n  Value error, 'import os', character 1"),
        ({"where": "clipscore >", "score": "f(", "by": "best", "n": 0}, "4 validation errors"),
    ],
)
def test_mistakes_are_found_before_any_run_is_known(select, says):
    with pytest.raises(ValidationError, match=says):
        Select(**select)


def test_names_that_the_run_does_not_have_are_told_together(tmp_path):
    with pytest.raises(UserError) as caught:
        Selection(Select(n=1, by="score", score="clipscroe", where="truncted and drw > 1"), MEMBERS, ["clipscore"])
    said = str(caught.value)
    assert "select.where: " in said
    assert "character 1: no column, flag or score is named 'truncted'. Did you mean 'truncated'?" in said
    assert "character 14: no column, flag or score is named 'drw'. Did you mean 'draw'?" in said
    assert "select.score: 'clipscroe', character 1: " in said
    with pytest.raises(NotFoundError, match=r"nowhere.txt: no such file; it holds a KEY or SHARD:KEY a line"):
        Selection(Select(exclude=str(tmp_path / "nowhere.txt")), MEMBERS)
