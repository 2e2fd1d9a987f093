"""Make captions of a run again, with the captioners of its recipe, and say whether they are the same.

A caption that differs may still be right. Where the model gives two tokens nearly the same probability, the rounding of
another machine may choose the other one. So a sampled caption is a *near tie* if a tiny shift of its random numbers
gives the stored text, and one of a beam search if the search would score both nearly alike. Anything else is *wrong*:
other weights, another decoding, another seed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import CaptionersError
from captioners.core.recipe import read_options
from captioners.core.run_dir import RunDir
from captioners.core.seeds import Stream
from captioners.data.run_pictures import RunPictures
from captioners.decoding.values import Beam
from captioners.images.fast import picture_of
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner, Request, Result
from captioners.kinds.choices import load_captioner
from captioners.kinds.kind import KindOptions

Outcome = Literal["same", "near tie", "wrong", "not made"]
_NEAR = {"float32": 1e-4, "bfloat16": 2e-2}
"""How far a probability, or a log-probability a token, may move by rounding elsewhere, by the captioner's dtype."""
_FEW_STEPS = 16
_ENOUGH = 4
"""Captions of a member that came out wrong, with no near tie among them, after which others are wrong unexamined."""
_SHIFTS = (1e-6, 1e-5, 3e-5, 1e-4, 1e-3, 5e-3, 2e-2)

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Again:
    """One row of a layer, and what became of it this time."""

    row: Row
    outcome: Outcome
    text: str = ""
    logprob: float | None = None
    why: str = ""
    """For `not made`: what stood in the way."""


def remake(run: RunDir, rows: Iterable[Row]) -> Iterator[Again]:
    """Yield each row's second making, captioner by captioner; `rows` are any rows of the run.

    Raises:
        UserError: the run's recipe cannot be read.
    """
    recipe, pictures = read_recipe_of(run), RunPictures(run)
    members = {member.called: member for member in recipe.members}
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["member"], []).append(row)
    for name in sorted(set(groups) - set(members)):
        why = f"'{name}' is no member of the run's last recipe; run it with that member once more"
        yield from (Again(row=row, outcome="not made", why=why) for row in groups[name])
    for together in recipe.groups:
        wanted = [(member, groups[member.called]) for member in together if member.called in groups]
        if wanted:
            yield from _with_captioner(recipe, pictures, wanted)


def read_recipe_of(run: RunDir) -> GenerateRecipe:
    """Return the recipe of a run's last start; raise UserError or RecipeError if it cannot be read."""
    with TemporaryDirectory() as folder:  # a run may lie in an object store, and recipes are read from files
        file = Path(folder) / "recipe.yaml"
        file.write_text(run.recipe_text(), encoding="utf-8")
        return read_options(GenerateRecipe, file)


def _with_captioner(
    recipe: GenerateRecipe, pictures: RunPictures, wanted: Sequence[tuple[Member, Sequence[Row]]]
) -> Iterator[Again]:
    first = wanted[0][0]
    if isinstance(first.captioner, KindOptions) and not first.captioner.DRAWS:
        why = "captions that were there before the run are not made"
        yield from (Again(row=row, outcome="not made", why=why) for _, rows in wanted for row in rows)
        return
    try:
        captioner = load_captioner(
            first.captioner,
            precision=first.precision,
            exact=first.exact,
            device=recipe.device,
            context_length=first.context_length,
        )
        captioner.open(int(recipe.memory_gb * 10**9) if recipe.memory_gb else None)
    except CaptionersError as error:
        yield from (Again(row=row, outcome="not made", why=str(error)) for _, rows in wanted for row in rows)
        return
    maker = _Maker(recipe, captioner, pictures, _NEAR.get(captioner.environment["dtype"], 1e-3))
    for member, rows in wanted:
        yield from maker.again(member, rows)
    captioner.close()


@dataclass
class _Maker:
    """An open captioner, and the pictures that it needs, one at a time."""

    recipe: GenerateRecipe
    captioner: Captioner
    pictures: RunPictures
    near: float
    _last: tuple[str, Image.Image] | None = field(default=None, init=False)
    _examined: Counter[tuple[str, Outcome]] = field(default_factory=Counter, init=False)

    def again(self, member: Member, rows: Sequence[Row]) -> Iterator[Again]:
        """Yield each row's second making, in the order of the rows; all are in the captioner together."""
        made: dict[int, Result] = {}
        lost: dict[int, str] = {}
        for result in self.captioner.caption(self._requests(member, rows, lost)):
            first = rows[result.index]
            beams = range(result.index, len(rows)) if isinstance(member.decoding, Beam) else (result.index,)
            for number in beams:
                if (rows[number]["shard"], rows[number]["index"]) != (first["shard"], first["index"]):
                    break
                if rows[number]["draw"] == result.draw:
                    made[number] = result
        for number, row in enumerate(rows):
            if number not in made:
                yield Again(row=row, outcome="not made", why=lost.get(number, f"it has no draw {row['draw']} any more"))
                continue
            outcome, why = self._outcome(member, row, made[number]), ""
            if outcome == "wrong" and self.captioner.info.grade == "best-effort":
                outcome, why = "not made", "it came out otherwise, as a captioner without a promise may say"
            yield Again(row=row, outcome=outcome, text=made[number].text, logprob=made[number].logprob, why=why)

    def _requests(self, member: Member, rows: Sequence[Row], lost: dict[int, str]) -> Iterator[Request]:
        """Yield a request for each row, for beams one for all rows of an image; note what cannot be asked for."""
        before: tuple[str, int] | None = None
        for number, row in enumerate(rows):
            if isinstance(member.decoding, Beam) and before == (row["shard"], row["index"]):
                if number - 1 in lost:
                    lost[number] = lost[number - 1]
                continue
            before = row["shard"], row["index"]
            try:
                image = self._image(row)
            except (CaptionersError, OSError) as error:
                lost[number] = str(error)
                continue
            yield self._request(member, row, image, self._stream(member, row), number)

    def _stream(self, member: Member, row: Row) -> Stream:
        return Stream(self.recipe.seed, row["image_sha256"], member.called)

    def _image(self, row: Row) -> Image.Image:
        name = f"{row['shard']}: {row['key']}"
        if self._last is None or self._last[0] != row["image_sha256"]:
            data = self.pictures.image(row)
            profile, most = self.recipe.decode_profile, self.recipe.max_pixels
            image = picture_of(data, profile, most, name, self.captioner.fit).image
            self._last = row["image_sha256"], image
        return self._last[1]

    def _request(self, member: Member, row: Row, image: Image.Image, stream: Stream, index: int = 0) -> Request:
        """Ask for a caption as that row's member did, draw and attempt the same; beams come together."""
        beam = isinstance(member.decoding, Beam)
        return Request(
            index=index,
            image=image,
            stream=stream,
            draws=member.draws if beam else 1,
            first_draw=0 if beam else row["draw"],
            attempt=row["attempt"],
            decoding=member.decoding,
            prompt=member.prompt,
        )

    def _outcome(self, member: Member, row: Row, made: Result) -> Outcome:
        if made.text == row["text"]:
            # The same words by other log-probabilities come from other weights.
            return "same" if self._alike(row["logprob"], made.logprob, made.num_tokens + 1) else "wrong"
        if isinstance(member.decoding, Beam):
            power = member.decoding.length_penalty
            before = _score(row["logprob"], row["num_tokens"], row["finish"], power)
            after = _score(made.logprob, made.num_tokens, made.finish, power)
            return "near tie" if self._alike(before, after) else "wrong"
        name = member.called
        if self._examined[name, "wrong"] >= _ENOUGH and not self._examined[name, "near tie"]:
            return "wrong"
        outcome = self._examine(member, row, made)
        self._examined[name, outcome] += 1
        return outcome

    def _examine(self, member: Member, row: Row, made: Result) -> Outcome:
        """Say whether a tiny shift of its random numbers gives the stored caption; up to a hundred are tried."""
        # The step at which the two part is unknown, so each is shifted by itself, and all of them; in one go.
        shifts = [sign * size for size in _SHIFTS if size <= self.near for sign in (1, -1)]
        steps = [None, *_steps(row["text"], made)]
        image, of = self._image(row), (self.recipe.seed, row["image_sha256"], member.called)
        streams = [_Shifted(*of, shift, step) for step in steps for shift in shifts]
        requests = (self._request(member, row, image, stream, at) for at, stream in enumerate(streams))
        texts = {result.text for result in self.captioner.caption(requests)}
        return "near tie" if row["text"] in texts else "wrong"

    def _alike(self, before: float | None, after: float | None, tokens: int = 1) -> bool:
        if before is None or after is None:
            return before is after
        return abs(before - after) <= self.near * tokens


def _score(logprob: float | None, tokens: int, finish: str, power: float) -> float | None:
    """Return what a beam search compares: the sum over the length, the end token counted, to `power`."""
    return None if logprob is None else logprob / (tokens + (finish == "eos")) ** power


def _steps(text: str, made: Result) -> range:
    """Return the steps at which a caption may have parted from what was made now, by what both begin with."""
    steps = made.num_tokens + 1
    if steps <= _FEW_STEPS:
        return range(steps)
    shared = next((at for at, (a, b) in enumerate(zip(text, made.text, strict=False)) if a != b), len(text))
    near = steps * shared // max(len(made.text), 1)
    return range(max(near - _FEW_STEPS // 2, 0), min(near + _FEW_STEPS // 2, steps))


@dataclass(frozen=True)
class _Shifted(Stream):
    """Another's random numbers, one of them (None: each) moved by a little."""

    shift: float = 0.0
    step: int | None = None

    def uniforms(self, draw: int, attempt: int, count: int) -> NDArray[np.float64]:
        """Return the numbers, moved and kept in [0, 1)."""
        found = super().uniforms(draw, attempt, count)
        moved = slice(self.step, None if self.step is None else self.step + 1)
        found[moved] = np.clip(found[moved] + self.shift, 0.0, np.nextafter(1.0, 0.0))
        return found
