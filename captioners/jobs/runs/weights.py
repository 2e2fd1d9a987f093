"""Whether the captioners of a run are still those that made its layers: their weights hashed anew, from the files.

Weights that are not on this machine are not fetched for it; a note says so.
"""

from collections.abc import Iterator

from captioners.core.errors import CaptionersError
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir
from captioners.jobs.recipes.generate import Member
from captioners.jobs.runs.remake import read_recipe_of
from captioners.kinds.catalogue import find
from captioners.kinds.choices import written
from captioners.kinds.kind import KindOptions


def check_weights(run: RunDir) -> Iterator[tuple[str, bool]]:
    """Yield a line for each layer, and whether it is a finding."""
    from captioners.kinds.loading import is_cached

    recipe = read_recipe_of(run)
    members = {member.called: member for member in recipe.members}
    digests: dict[tuple[object, ...], str] = {}
    for layer in run.layers():
        member = members.get(layer.name)
        if member is None:
            yield f"member {layer.name}: weights not hashed, as the run's last recipe has no such member", False
            continue
        try:
            if isinstance(member.captioner, KindOptions):
                yield f"member {layer.name}: weights not hashed, as it is of the kind {member.captioner.kind}", False
                continue
            if not is_cached(find(member.captioner)):
                yield f"member {layer.name}: weights not hashed, as {member.captioner} is not on this machine", False
                continue
            if member.loads not in digests:
                digests[member.loads] = _digest(member.captioner, member.context_length)
        except CaptionersError as error:
            yield f"member {layer.name}: weights not hashed: {error}", False
            continue
        yield _compared(layer, member, digests[member.loads])


def _compared(layer: Layer, member: Member, found: str) -> tuple[str, bool]:
    made_by = layer.meaning.get("weights")
    if found == made_by:
        return f"member {layer.name}: weights hashed anew, the same ({found[:12]})", False
    then = f"made by weights {str(made_by)[:12]}"
    return f"member {layer.name}: {then}, and {written(member.captioner)} now holds {found[:12]}", True


def _digest(captioner: str, context_length: int | None) -> str:
    from captioners.kinds.coca import CocaCaptioner
    from captioners.models.weights import weights_digest

    loaded = CocaCaptioner(captioner, precision="fp32", device="cpu", context_length=context_length).loaded
    return weights_digest(loaded.model.state_dict())
