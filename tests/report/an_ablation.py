"""An ablation as a run would leave it, made in a moment: the drawn world's voices as captioners, measured truly.

Only the probe's numbers are made up (from a seed): no student is trained here. One arm failed, one is still to come,
one has numbers without intervals, and there are undefined cells.
"""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from captioners.data.drawn_check import check, facts, facts_stated
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import Draws, scene
from captioners.data.drawn_spans import clause_spans, things_in_words
from captioners.data.drawn_voices import captions
from captioners.metrics.diversity import METRICS, diversity
from captioners.metrics.faithfulness import CLAIMS_TRUE, COVERAGE, Claim, Judged, Verdict, claims_true, coverage
from captioners.metrics.intervals import Interval, mean, paired_difference
from captioners.report.ablation import (
    Ablation,
    Added,
    Arm,
    Cell,
    Change,
    Column,
    Contrast,
    Control,
    Correlation,
    Declared,
    Member,
    Overlap,
    Saturation,
)
from captioners.report.ablation_gallery import Said, Seen, Span

SCENES = [scene(11, "eval", index) for index in range(24)]
TASKS = ("Avg-S", "zero-shot shape x colour", "retrieval R@1", "relation 2AFC")
ARMS: dict[str, tuple[tuple[str, int], ...]] = {
    "short_1": (("short", 1),),
    "short_5": (("short", 5),),
    "detailed_5": (("detailed", 5),),
    "web_5": (("alt_text", 5),),
    "five_x1": (("short", 1), ("detailed", 1), ("relational", 1), ("count", 1), ("alt_text", 1)),
}
"""Arm -> (voice, captions of an image)."""
CLIP = Column(
    name="CLIPScore", unit="score", better="higher", group="quality", source="Hessel et al. 2021", default=False
)
WORDS = ("Div-1", "Div-2", "distinct-2", "unique captions", "length", "length spread")
_GROUPS = {"length": "length", "length spread": "length"}


@cache
def said_by(members: tuple[tuple[str, int], ...]) -> list[list[str]]:
    """Return every scene's captions."""
    return [[text for voice, draws in members for text in captions(one, voice, draws, seed=0)] for one in SCENES]


@cache
def judged(members: tuple[tuple[str, int], ...]) -> list[Judged]:
    """Return the checker's verdicts."""
    found = []
    for said, one in zip(said_by(members), SCENES, strict=True):
        verdicts = [
            Verdict(
                claims=tuple(Claim(kind=claim.kind, true=claim.true) for claim in check(text, one).claims),
                facts=frozenset(facts_stated(text, one)),
            )
            for text in said
        ]
        found.append(Judged(verdicts=tuple(verdicts), num_facts=len(facts(one))))
    return found


def cell(found: Interval, why: str = "") -> Cell:
    """Return an interval as a cell."""
    return Cell.of(found.value, found.low, found.high, found.count, why)


def columns() -> tuple[Column, ...]:
    """Return the heads of the table."""
    metrics = [*(metric for metric in METRICS if metric.name in WORDS), CLAIMS_TRUE, COVERAGE]
    made = [
        Column(
            name=metric.name,
            unit=metric.unit,
            better=metric.better,
            group="truth" if metric in (CLAIMS_TRUE, COVERAGE) else _GROUPS.get(metric.name, "within an image"),
            source=metric.source,
            default=metric.name not in ("Div-1", "length spread"),
        )
        for metric in metrics
    ]
    return (*made, CLIP)


@cache
def cells(members: tuple[tuple[str, int], ...]) -> dict[str, Cell]:
    """Return an arm's numbers, with a hole where one caption has no diversity."""
    texts = said_by(members)
    m = len(texts[0])
    found = {}
    for metric, values in diversity(texts).items():
        if metric.name in WORDS:
            alone = m == 1 and metric.better == "higher"
            found[metric.name] = Cell(why="one caption an image has no diversity") if alone else cell(mean(values))
    seen = judged(members)
    found[CLAIMS_TRUE.name] = cell(claims_true(seen))
    found[COVERAGE.name] = cell(coverage(seen, m))
    found[CLIP.name] = Cell(why="needs --clip NAME")
    return found


def probe(name: str, level: float, seeds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return made-up results: a level of the arm, one of the task, and noise that seeds share."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for weight, shrunk in (("0", 1.0), ("1", 0.4)):
        for place, task in enumerate(TASKS):
            found.setdefault(weight, {})[task] = {
                str(seed): round(
                    0.42
                    + 0.1 * place
                    + shrunk * level
                    + Draws(f"{seed}{task}").uniform(-0.03, 0.03)
                    + Draws(f"{name}{seed}{task}{weight}").uniform(-0.01, 0.01),
                    6,
                )
                for seed in range(seeds)
            }
    return found


def _contrasts(arms: Sequence[Arm]) -> tuple[Contrast, ...]:
    by_name = {arm.name: arm for arm in arms}
    made = []
    for weight in ("0", "1"):
        for arm, against in (("short_5", "short_1"), ("five_x1", "short_5"), ("detailed_5", "short_5")):
            one, other = (by_name[name].probe[weight]["Avg-S"] for name in (arm, against))
            gaps = [one[seed] - other[seed] for seed in one]
            middle, half = sum(gaps) / len(gaps), 0.008 + 0.004 * (weight == "0")
            made.append(
                Contrast(
                    arm=arm,
                    against=against,
                    task="Avg-S",
                    distillation=weight,
                    seeds=len(gaps),
                    difference=middle,
                    low=middle - half,
                    high=middle + half,
                    p=0.03125,
                    p_holm=0.09375 if weight == "1" else 0.03125,
                    equivalent=abs(middle) + half < 0.02,
                    primary=weight == "0",
                )
            )
    last = Contrast(arm="mixed_255", against="short_5", task="Avg-S", distillation="0", seeds=0, difference=None)
    return (*made, last)


def _gallery(arms: Sequence[Arm], count: int) -> tuple[Seen, ...]:
    return tuple(
        Seen(
            key=f"{one.index:06d}",
            jpeg=b64encode(jpeg(one, 192)).decode(),
            width=192,
            height=192,
            facts=tuple(things_in_words(one)),
            references=tuple(captions(one, "paraphrased", 2, seed=5)),
            captions={
                arm.name: tuple(
                    Said(
                        text=text,
                        spans=tuple(Span(start=a, stop=b, mark=mark) for a, b, mark in clause_spans(text, one)),
                    )
                    for text in said_by(ARMS[arm.name])[place]
                )
                for arm in arms
                if arm.name in ARMS
            },
        )
        for place, one in enumerate(SCENES[:count])
    )


@cache
def _jaccard(one: str, other: str) -> float:
    shares = []
    for left, right in zip(said_by(((one, 1),)), said_by(((other, 1),)), strict=True):
        a, b = ({pair for text in said for pair in pairwise(text.split())} for said in (left, right))
        shares.append(len(a & b) / len(a | b) if a | b else 0.0)
    return sum(shares) / len(shares)


@cache
def _adds() -> tuple[Added, ...]:
    whole = ARMS["five_x1"]
    everything = judged(whole)
    made = []
    for voice, _ in whole:
        rest = judged(tuple(member for member in whole if member[0] != voice))
        told = [
            [len(frozenset[object]().union(*(v.facts for v in image.verdicts))) / image.num_facts for image in images]
            for images in (everything, rest)
        ]
        ones = [1.0] * len(told[0])
        changes = {"facts told": cell(paired_difference((told[0], ones), (told[1], ones)))}
        made.append(Added(arm="five_x1", captioner=voice, changes=changes))
    return tuple(made)


@cache
def an_ablation(text: str = "", *, value: float | None = None, seeds: int = 6, pictures: int = 6) -> Ablation:
    """Return it; with `text` in every place of its own that a user or a captioner fills, or `value` as a first cell."""
    levels = {"short_1": -0.02, "short_5": 0.0, "detailed_5": 0.05, "web_5": -0.07, "five_x1": 0.02}
    arms = [
        Arm(
            name=name,
            members=tuple(
                Member(captioner=voice, decoding=f"top-p 0.9{text}", draws=draws) for voice, draws in members
            ),
            axes={"fine-tune set": " + ".join(voice for voice, _ in members), "context": "76"},
            status="done",
            m=sum(draws for _, draws in members),
            seconds=12.5 * len(members),
            cells=cells(members) | ({"Div-1": Cell(value=value)} if value is not None and name == "short_1" else {}),
            probe=probe(name, levels[name], seeds),
        )
        for name, members in ARMS.items()
    ]
    failed = f"captioner mixed_255: no weights at runs/mixed; train it, or leave the arm out {text}".strip()
    arms.append(
        Arm(name="mixed_255", axes={"fine-tune set": "mixed", "context": "255"}, status="failed", reason=failed)
    )
    arms.append(
        Arm(
            name=f"beam_5{text}",
            members=(Member(captioner="short", decoding="beam 5", draws=5),),
            axes={"fine-tune set": "short", "context": "76"},
        )
    )
    arms.append(Arm(name="oracle", status="done", sanity=True, m=5, probe=probe("oracle", 0.12, seeds)))
    voices = [voice for voice, _ in ARMS["five_x1"]]
    return Ablation(
        name="drawn_table6_small",
        title=f"Which captions teach the student most? {text}".strip(),
        columns=columns(),
        tasks=TASKS,
        chance={"relation 2AFC": 0.5, "zero-shot shape x colour": 1 / 48},
        arms=tuple(arms),
        declared=Declared(
            sha256="5e" * 32,
            task="Avg-S",
            distillation="0",
            contrasts=(("short_5", "short_1"), ("five_x1", "short_5"), ("detailed_5", "short_5")),
            margin=0.02,
            seeds=seeds,
            when="2026-11-28T20:11:00Z",
            changes=(Change(what=f"declare.margin{text}", before="0.01", after="0.02", when="2026-11-28T21:40:00Z"),),
        ),
        contrasts=_contrasts(arms),
        correlations=(
            Correlation(metric="Div-2", outcome="facts told", arms=5, rho=-0.3, low=-0.9, high=0.6),
            Correlation(metric="distinct-2", outcome="facts told", arms=5, rho=0.2, low=-0.7, high=0.8),
            Correlation(metric="facts told", outcome="Avg-S, λ 0", arms=5, rho=0.9, low=0.1, high=0.99),
            Correlation(metric="unique captions", outcome="Avg-S, λ 0", arms=5, rho=None),
        ),
        frontiers=(("distinct-2", "claims true"), ("facts told", "claims true")),
        saturation=tuple(
            Saturation(
                name=voice,
                metric="facts told",
                points=tuple((m, cell(coverage(judged(((voice, 10),)), m))) for m in (1, 2, 5, 10)),
            )
            for voice in ("short", "detailed", "relational")
        ),
        overlap=(
            Overlap(
                title="Jaccard index of bigrams",
                captioners=tuple(voices),
                values=tuple(tuple(round(_jaccard(one, other), 4) for other in voices) for one in voices),
            ),
        ),
        adds=_adds(),
        gallery=_gallery(arms, pictures),
        notes=(f"Drawn world: proves the pipeline and the statistics, not magnitudes. {text}".strip(),),
        controls=(
            Control(
                name="captions of other pictures teach nothing", holds=True, says=f"average 0.03, 0.02 by chance {text}"
            ),
            Control(
                name="true captions of every manner are the ceiling", holds=False, says="average 0.12, 0.14 of five_x1"
            ),
        ),
        recipe=f"name: drawn_table6_small\nseed: 0\n{text}".strip(),
        provenance={"images": f"24 drawn scenes of split eval {text}".strip(), "machine": "2 cores"},
        made_by="captioners 0.5.0",
    )
