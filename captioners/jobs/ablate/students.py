"""The students of an ablation: arm after arm on the same reinforced pictures, so that the page grows arm by arm."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from captioners.core.errors import CaptionersError, InterruptedRunError, NeedsLookError
from captioners.jobs.ablate import folder
from captioners.jobs.ablate.arms import Arms
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.captions import Maker
from captioners.jobs.ablate.declared import declare
from captioners.jobs.ablate.layers import Batch
from captioners.jobs.probe.job import ProbeRun, probe
from captioners.jobs.probe.teacher import train_teacher
from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.jobs.recipes.probe import Arm, ProbeOptions, ProbeRecipe
from captioners.reinforcement.teacher_options import TeacherOptions


def probe_arms(recipe: AblateRecipe, arms: Arms, maker: Maker, book: Book, say: Callable[[str], None]) -> None:
    """Train every arm's students that are missing; an arm that cannot be does not stop the others.

    Raises InterruptedRunError where something was stopped; the same command continues.
    """
    rows = arms.to_probe
    wanted = {arms.batch_of(row).called: arms.batch_of(row) for row in rows if row.members}
    if not wanted:
        return
    with book.part("teachers"):
        teachers = teachers_of(recipe, maker.out, say)
    with book.part("reinforce"):
        shards = _reinforced(wanted, arms, maker, teachers)
    rows = arms.to_probe
    if not shards:
        return
    declare(recipe, maker.out)

    def asked(rows: Sequence[Row], *, sanity: bool = False) -> ProbeRecipe:
        return probe_recipe(recipe, arms, rows, shards, maker.out, sanity=sanity)

    def told(line: str) -> None:
        say(f"  {line}")

    if recipe.probe is not None and recipe.probe.kind == "external":
        with book.part("students elsewhere"):
            arms.probed(probe(asked(rows), told, known=[row.name for row in arms.rows]), rows)
        return
    rows = _begun(asked, arms, told)
    for number, row in enumerate(rows, start=1):
        with book.part(f"{folder.STUDENTS}{row.name}", f"students of arm {number} of {len(rows)}, {row.name}"):
            _trained(partial(probe, asked(rows), told, only=[row.name]), arms, rows, [row])
    if recipe.probe is not None and recipe.probe.sanity and arms.to_probe:
        with book.part("controls"):
            _trained(partial(probe, asked(rows, sanity=True), told, only=()), arms, rows, [])


def _reinforced(
    wanted: Mapping[str, Batch], arms: Arms, maker: Maker, teachers: Sequence[TeacherOptions]
) -> dict[str, Path]:
    """Return the shards of each batch; where one cannot be embedded, its arms fail, and the others go on."""
    shards = {}
    for called, batch in wanted.items():
        try:
            shards[called] = maker.reinforce(maker.export(batch, arms.refused(batch)), teachers)
        except (InterruptedRunError, NeedsLookError):
            raise
        except CaptionersError as error:
            for row in arms.to_probe:
                if row.members and arms.batch_of(row) is batch:
                    arms.fail(row, str(error))
    return shards


def _begun(asked: Callable[[Sequence[Row]], ProbeRecipe], arms: Arms, say: Callable[[str], None]) -> list[Row]:
    """Return the arms whose students train on the same pictures, and take note of what these have come to before.

    Where they share none, an arm that has none by itself fails, and the others are asked again.
    """
    rows = arms.to_probe
    if not _trained(partial(probe, asked(rows), say, only=()), arms, rows, []):
        for row in rows:
            _trained(partial(probe, asked([row]), say, only=()), arms, [], [row])
        rows = arms.to_probe
        if rows:
            _trained(partial(probe, asked(rows), say, only=()), arms, rows, rows)
    return arms.to_probe


def _trained(run: Callable[[], ProbeRun], arms: Arms, rows: Sequence[Row], fail: Sequence[Row]) -> bool:
    """Take note of what a run finds of `rows`; where there is none, those to fail do, with its reason."""
    try:
        arms.probed(run(), rows)
    except InterruptedRunError:
        raise
    except CaptionersError as error:
        for row in fail:
            arms.fail(row, str(error))
        return False
    return True


def teachers_of(recipe: AblateRecipe, out: Path, say: Callable[[str], None]) -> Sequence[TeacherOptions]:
    """Return the teachers, the oracle trained if it is not there yet."""
    asked = recipe.reinforce.teachers
    if asked != "oracle":
        return asked
    steps = recipe.reinforce.oracle_steps
    where = train_teacher(out / folder.TEACHER, steps=steps, say=lambda line: say(f"  {line}"))
    return [TeacherOptions(name=f"local-dir:{where}")]


def probe_recipe(
    recipe: AblateRecipe, arms: Arms, rows: Sequence[Row], shards: Mapping[str, Path], out: Path, *, sanity: bool
) -> ProbeRecipe:
    """Return the recipe of these arms: all share their pictures. Contrasts are the ablation's own."""
    assert recipe.probe is not None
    fields = {name: getattr(recipe.probe, name) for name in ProbeOptions.model_fields}
    first = next(iter(shards))
    return ProbeRecipe(
        **fields
        | {
            "shards": [str(shards[first])],
            "arms": {row.name: _arm(arms, row, shards, first) for row in rows},
            "declare": recipe.declare.model_copy(update={"contrasts": []}),
            "sanity": sanity,
            "output": str(out / folder.PROBE),
        }
    )


def _arm(arms: Arms, row: Row, shards: Mapping[str, Path], first: str) -> Arm:
    """Return the table of captions of an arm: keys of captioned shards, and the first how many captions of each."""
    batch = arms.batch_of(row)
    own = row.members and batch.called != first
    return Arm(
        captions={batch.key(one.layer): one.draws for one in row.members},
        shards=[str(shards[batch.called])] if own else [],
    )
