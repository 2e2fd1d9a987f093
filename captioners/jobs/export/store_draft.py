"""An export into a store such as `s3://`: each file goes up when it is finished, and the manifest comes last.

A store does not rename folders. So what lies under OUT is whole when OUT/manifest.json is there; until then OUT/_draft/
says how far it is, and the same command goes on from there, on this machine or on another.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.storage import Place
from captioners.jobs.export.draft import LEFT_OUT, MANIFEST, State, finished_file

_STATE, _LEFT = "_draft/state.json", "_draft/left_out"


class StoreDraft:
    """What becomes of `output`; see `Draft`. Files are written to a scratch folder here, one at a time."""

    def __init__(self, output: str) -> None:
        """Refuse an output that is not free. Raises UserError."""
        self.target = output.rstrip("/")
        self._place = Place(self.target)
        if self._place.exists(MANIFEST):
            raise UserError(f"{self.target}: an export is there; name a new output, or remove it first")
        self._scratch = tempfile.TemporaryDirectory(prefix="captioners-export-")
        self.folder = Path(self._scratch.name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the scratch folder as long as it is needed; two processes of one export write the same bytes."""
        with self._scratch:
            yield

    def resume(self, identity: str) -> State:
        """Return how far an earlier start of the same export came.

        Raises:
            UserError: what is there is of another export.
        """
        self._place.create(_STATE, State(identity).text.encode())
        state = State.of(self._place.read(_STATE).decode())
        if state is None or state.identity != identity:
            raise UserError(
                f"{self.target}: an unfinished export of something else is there; name another output, or remove it"
            )
        left = b"".join(self._place.read(name) for name in self._place.names(_LEFT))
        (self.folder / LEFT_OUT).write_bytes(left[: state.left_size])
        return state

    def keep(self, state: State, finished: Mapping[str, int], left_size: int) -> None:
        """Send up files that are finished, name -> rows: from here a killed export goes on."""
        for name, rows in finished.items():
            path = self.folder / name
            state.files.append(finished_file(name, path, rows))
            self._place.take(name, path)
        if left_size > state.left_size:
            with (self.folder / LEFT_OUT).open("rb") as file:
                file.seek(state.left_size)
                self._place.write(f"{_LEFT}/{len(state.files):08d}.jsonl", file.read(left_size - state.left_size))
        state.left_size = left_size
        self._place.write(_STATE, state.text.encode())

    def write(self, name: str, text: str) -> None:
        """Write a small file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def publish(self) -> None:
        """Send up what stands beside the data, the manifest last: from now on the export is there."""
        beside = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        for path in sorted(beside, key=lambda path: path.name == MANIFEST):
            self._place.take(path.relative_to(self.folder).as_posix(), path)
        self.drop()

    def drop(self) -> None:
        """Forget how far it is."""
        for name in [*self._place.names("_draft")]:
            self._place.remove(name)
