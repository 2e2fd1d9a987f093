"""The captions of an ablation: drawn once for all arms, exported as captioned shards, and embedded by teachers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.core.progress import Progress
from captioners.core.run_dir import RunDir
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.jobs.ablate.captioners import Captioners
from captioners.jobs.ablate.layers import Batch, digest_of
from captioners.jobs.export.job import export_run
from captioners.jobs.generate.job import generate
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.arms import Drawing
from captioners.jobs.recipes.export import ExportRecipe
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.job import reinforce
from captioners.reinforcement.contract import SYN_KEY
from captioners.reinforcement.teacher_options import TeacherOptions

Say = Callable[[str], None]
Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Maker:
    """What makes the captions of an ablation, in its folder."""

    recipe: AblateRecipe
    out: Path
    say: Say
    show: Show

    def draw(self, batch: Batch, captioners: Captioners) -> dict[str, str]:
        """Caption with every member of a batch, and return those that could not be had, with the reason.

        Members of one captioner stand or fall together; where one is refused, the others are tried by themselves.
        """
        run = batch.folder(self.out)
        members = {name: self._most(run, name, one) for name, one in batch.members.items()}
        refused = {
            name: captioners.failed[one.trained] for name, one in members.items() if one.trained in captioners.failed
        }
        names = [name for name in members if name not in refused]
        try:
            self._generate(batch, captioners, {name: members[name] for name in names})
        except UserError as first:
            groups: dict[str, list[str]] = {}
            for name in names:
                groups.setdefault(members[name].trained, []).append(name)
            for group in groups.values():
                try:
                    if len(groups) == 1:
                        raise first
                    self._generate(batch, captioners, {name: members[name] for name in group})
                except UserError as error:
                    refused |= dict.fromkeys(group, str(error))
                    self.say(f"  {', '.join(group)}: {error}")
        return refused

    def export(self, batch: Batch, refused: Collection[str]) -> WebdatasetOptions:
        """Return captioned shards with a batch's captions in them, written if they are not there yet."""
        run = RunDir(batch.folder(self.out))
        layers = {layer.name: layer for layer in run.layers()}
        names = [name for name in batch.members if name not in refused]
        about = [{name: layers[name].fingerprint for name in names}, run.inputs()]
        shards = self.out / f"captioned-{digest_of(about)}"
        if not (shards / "manifest.json").is_file():
            tags: dict[str, str | None] = dict.fromkeys(layers)
            tags |= {name: batch.key(name).removeprefix(f"{SYN_KEY}_") for name in names}
            self.say(f"  captioners export {run.url} --to webdataset -o {shards}")
            export_run(ExportRecipe(run=run.url, to="webdataset", output=str(shards), tags=tags), lambda _: None)
        return WebdatasetOptions(inputs=[str(shards)])

    def reinforce(self, source: WebdatasetOptions, teachers: Sequence[TeacherOptions]) -> Path:
        """Return the folder of reinforced shards, made if they are not there yet."""
        asked = self.recipe.reinforce
        fields = {
            name: getattr(asked, name) for name in type(asked).model_fields if name not in ("teachers", "oracle_steps")
        }
        recipe = ReinforceRecipe(
            source=source, teachers=list(teachers), allow_noncommercial=self.recipe.allow_noncommercial, **fields
        )
        about = [[Path(folder).name for folder in source.inputs], meaning_of(recipe)]
        folder = self.out / f"reinforced-{digest_of(about)}"
        reinforce(recipe.model_copy(update={"output": str(folder)}), say=self._indented, show=self.show)
        return folder / "shards"

    def _most(self, run: Path, name: str, member: Drawing) -> Drawing:
        """Return a member with as many draws as the run has of it already, where those are more."""
        there = {layer.name: layer.draws for layer in RunDir(run).layers()}
        return replace(member, draws=max(member.draws, there.get(name, 0)))

    def _generate(self, batch: Batch, captioners: Captioners, members: Mapping[str, Drawing]) -> None:
        if not members:
            return
        asked, run = self.recipe.generate, batch.folder(self.out)
        fields = {name: getattr(asked, name) for name in type(asked).model_fields if name != "rules"}
        recipe = GenerateRecipe(
            source=self.recipe.source,
            members=[
                Member(
                    name=name,
                    captioner=captioners.of(one),
                    decoding=one.decoding,
                    draws=one.draws,
                    context_length=one.context_length,
                )
                for name, one in members.items()
            ],
            rules=batch.rules,
            allow_noncommercial=self.recipe.allow_noncommercial,
            output=str(run),
            **fields,
        )
        there = {layer.name: layer.draws for layer in RunDir(run).layers()}
        more = [name for name, one in members.items() if there.get(name, one.draws) < one.draws]
        generate(recipe, replace=more, say=self._indented, show=self.show)

    def _indented(self, line: str) -> None:
        self.say(f"  {line}")
