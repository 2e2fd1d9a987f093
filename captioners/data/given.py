"""A source as it is given on a command line: a path that is recognised, a name, or written out as in a recipe."""

import json

from pydantic import ValidationError

from captioners.core.errors import UserError
from captioners.core.fields import mistakes_of
from captioners.core.options import Options
from captioners.core.yaml_lines import read_yaml
from captioners.data.choices import AnySource
from captioners.data.recognise import recognise
from captioners.data.source import SourceOptions, sources


class _Given(Options):
    """What stands on the command line, as a recipe would say it."""

    source: AnySource


def given_source(given: str, option: str) -> tuple[SourceOptions, str]:
    """Return the source that is meant, and one line of what was recognised.

    Args:
        given: a path that `data.recognise` knows, the name of a source that needs nothing more (`drawn`), or a source
            written out as in a recipe, such as `{kind: drawn, voice: short}`. option: how messages call it.

    Raises:
        NotFoundError, UserError: nothing is there, it can be read in two ways, or a mistake in what is written out.
    """
    written = f"{{kind: {given}}}" if given in sources.names() else given
    if not written.lstrip().startswith("{"):
        return recognise([given])
    parsed = read_yaml(f"source: {written}")
    if parsed.mistakes:
        raise UserError(f"{option} {written}: {parsed.mistakes[0][2]}")
    try:
        found = _Given.model_validate_json(json.dumps(parsed.value))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, key))}: {says}" for key, says in mistakes_of(error, _Given, parsed.value)
        )
        raise UserError(f"{option} {written}: {wrong}") from None
    return found.source, f"source {written}"
