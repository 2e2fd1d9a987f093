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
from captioners.jobs.probe.work import CONTROLS
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

    def asked(rows: Sequence[Row]) -> ProbeRecipe:
        return probe_recipe(recipe, arms, rows, shards, maker.out)

    def told(line: str) -> None:
        say(f"  {line}")

    if recipe.probe is not None and recipe.probe.kind == "external":
        with book.part("students elsewhere"):
            arms.probed(probe(asked(rows), told, known=[row.name for row in arms.rows]), rows)
        return
    sanity = recipe.probe is not None and recipe.probe.sanity
    rows = _begun(asked, arms, told, sanity=sanity)
    for number, row in enumerate(rows, start=1):
        with book.part(f"{folder.STUDENTS}{row.name}", f"students of arm {number} of {len(rows)}, {row.name}"):
            _trained(partial(probe, asked(rows), told, only=[row.name]), arms, rows, [row])
    if sanity and arms.to_probe:
        with book.part("controls"):
            controlled = asked(rows).model_copy(update={"sanity": True})
            _trained(partial(probe, controlled, told, only=CONTROLS), arms, rows, [])


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


def _begun(
    asked: Callable[[Sequence[Row]], ProbeRecipe], arms: Arms, say: Callable[[str], None], *, sanity: bool
) -> list[Row]:
    """Return the arms whose students train on the same pictures, and take note of what these have come to before.

    So have the controls (with `sanity`): a page that had them keeps them while students are trained.
    Where arms share no picture, one that has none by itself fails, and the others are asked again.
    """

    def of(rows: Sequence[Row]) -> Callable[[], ProbeRun]:
        return partial(probe, asked(rows).model_copy(update={"sanity": sanity}), say, only=())

    rows = arms.to_probe
    if not _trained(of(rows), arms, rows, []):
        for row in rows:
            _trained(partial(probe, asked([row]), say, only=()), arms, [], [row])
        rows = arms.to_probe
        if rows:
            _trained(of(rows), arms, rows, rows)
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
    recipe: AblateRecipe, arms: Arms, rows: Sequence[Row], shards: Mapping[str, Path], out: Path
) -> ProbeRecipe:
    """Return the recipe of these arms, without controls: all share their pictures. Contrasts are the ablation's own."""
    assert recipe.probe is not None
    fields = {name: getattr(recipe.probe, name) for name in ProbeOptions.model_fields}
    first = next(iter(shards))
    return ProbeRecipe(
        **fields
        | {
            "shards": [str(shards[first])],
            "arms": {row.name: _arm(arms, row, shards, first) for row in rows},
            "declare": recipe.declare.model_copy(update={"contrasts": []}),
            "sanity": False,
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
