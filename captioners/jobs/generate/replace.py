"""Set a member's layer aside, so that the member can be made anew under its name; nothing is deleted.

What is set aside becomes a run of its own, `RUN/replaced/MEMBER-FINGERPRINT`, with the same inputs: `status`, `show`,
`export` and all others read it. A kill on the way leaves both runs sound, and the same command goes on.
"""

from collections.abc import Callable
from pathlib import Path

from captioners.core import layers
from captioners.core.layers import Layer
from captioners.core.ledger import slug
from captioners.core.run_dir import RunDir


def set_aside(run: RunDir, layer: Layer, say: Callable[[str], None]) -> None:
    """Move what the run holds under the layer's name, if it was made otherwise, into a run of its own.

    Only while no worker captions for it.
    """
    found = next((old for old in run.layers() if old.name == layer.name), None)
    if found is None or found.fingerprint == layer.fingerprint:
        return
    name = f"replaced/{slug(found.name)}-{found.fingerprint[:8]}"
    aside = RunDir(f"{run.url.rstrip('/')}/{name}")
    aside.begin(run.settled())
    known = aside.inputs()
    aside.freeze([shard for shard in run.inputs() if shard not in known])
    if run.place.exists("recipe.yaml"):
        aside.write_recipe(run.recipe_text())
    layers.claim(aside.place, found)
    # Entries first: whoever is stopped in between finds units open, never an entry without its file here.
    units = [entry for entry in run.ledger.entries([found.name]) if entry.fingerprint == found.fingerprint]
    for entry in units:
        aside.ledger.commit(entry)
    run.ledger.forget((entry.layer, entry.shard, entry.part) for entry in units)
    rows = 0
    for entry in aside.ledger.entries():
        rows += entry.counts.rows
        for file in (entry.file, entry.quarantine_file):
            if file and run.place.exists(file):
                _move(run, file, aside)
    layers.give_up(run.place, found)
    say(f"member '{found.name}': its {rows:,} captions are set aside, as a run of their own: {aside.url}")


def _move(run: RunDir, file: str, aside: RunDir) -> None:
    if run.place.local is not None:
        target = Path(aside.place.at(file))
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(run.place.at(file)).replace(target)
        return
    aside.place.write(file, run.place.read(file))
    run.place.remove(file)
