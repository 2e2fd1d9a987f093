"""The students of an ablation: arm after arm on the same reinforced pictures, so that the page grows arm by arm."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from captioners.core.errors import CaptionersError, InterruptedRunError
from captioners.jobs.ablate import folder
from captioners.jobs.ablate.arms import Arms
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.captions import Maker
from captioners.jobs.ablate.declared import declare
from captioners.jobs.probe.job import probe
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
        shards = {
            called: maker.reinforce(maker.export(batch, arms.refused(batch)), teachers)
            for called, batch in wanted.items()
        }
    declare(recipe, maker.out)
    if recipe.probe is not None and recipe.probe.kind == "external":
        with book.part("students elsewhere"):
            asked = probe_recipe(recipe, arms, rows, shards, maker.out, last=True)
            known = [row.name for row in arms.rows]
            arms.probed(probe(asked, lambda line: say(f"  {line}"), known=known), rows)
        return
    done: list[Row] = []
    for number, row in enumerate(rows, start=1):
        with book.part(f"{folder.STUDENTS}{row.name}", f"students of arm {number} of {len(rows)}, {row.name}"):
            asked = probe_recipe(recipe, arms, [*done, row], shards, maker.out, last=number == len(rows))
            try:
                run = probe(asked, lambda line: say(f"  {line}"))
            except InterruptedRunError:
                raise
            except CaptionersError as error:
                arms.fail(row, str(error))
                continue
        done.append(row)
        arms.probed(run, done)
    arms.write()


def teachers_of(recipe: AblateRecipe, out: Path, say: Callable[[str], None]) -> Sequence[TeacherOptions]:
    """Return the teachers, the oracle trained if it is not there yet."""
    asked = recipe.reinforce.teachers
    if asked != "oracle":
        return asked
    steps = recipe.reinforce.oracle_steps
    where = train_teacher(out / folder.TEACHER, steps=steps, say=lambda line: say(f"  {line}"))
    return [TeacherOptions(name=f"local-dir:{where}")]


def probe_recipe(
    recipe: AblateRecipe, arms: Arms, rows: Sequence[Row], shards: Mapping[str, Path], out: Path, *, last: bool
) -> ProbeRecipe:
    """Return the recipe of the arms so far; controls come with the last one. Contrasts are the ablation's own."""
    assert recipe.probe is not None
    fields = {name: getattr(recipe.probe, name) for name in ProbeOptions.model_fields}
    first = next(iter(shards))
    return ProbeRecipe(
        **fields
        | {
            "shards": [str(shards[first])],
            "arms": {row.name: _arm(arms, row, shards, first) for row in rows},
            "declare": recipe.declare.model_copy(update={"contrasts": []}),
            "sanity": recipe.probe.sanity and last,
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
