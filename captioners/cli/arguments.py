"""What several verbs ask of their arguments."""

from captioners.core.errors import UserError

_MOST_SHARDS = 50
_SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz", ".parquet", ".jsonl")


def check_shard_arguments(paths: list[str]) -> None:
    """Raise `UserError` for more than 50 shard-like paths: the shell expanded a pattern that we expand better.

    A quoted pattern is one argument: it is stored as written, and never meets the shell's length limit.
    """
    shards = [path for path in paths if path.lower().endswith(_SHARD_ENDINGS)]
    if len(shards) > _MOST_SHARDS:
        raise UserError(
            f"{len(shards)} shards were given one by one, from {shards[0]} to {shards[-1]}: the shell expanded a "
            "pattern; quote the braces so that captioners expands them, as in 'shards/{00000..00099}.tar'"
        )
