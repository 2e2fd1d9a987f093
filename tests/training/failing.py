"""One of two gloo processes in which work fails here and there; prints what each call came to, as JSON."""

import json
import os
import sys

from captioners.core.errors import NeedsLookError, UserError
from captioners.training.agreement import agree
from captioners.training.devices import accelerator_for
from captioners.training.ranks import Ranks


def _failing(*where):
    def work():
        if int(os.environ["RANK"]) in where:
            raise UserError(f"process {os.environ['RANK']} found nothing")
        return "done"

    return work


def _outcome(work):
    try:
        return [work(), 0]
    except Exception as error:
        return [type(error).__name__, error.exit_code]


def main():
    with accelerator_for("cpu") as accelerator:
        ranks = Ranks(accelerator)
        found = {
            "main": _outcome(lambda: ranks.on_main(_failing(0))),
            "main is well": _outcome(lambda: ranks.on_main(_failing(1))),
            "one": _outcome(lambda: ranks.on_all(_failing(1))),
            "both": _outcome(lambda: ranks.on_all(_failing(0, 1))),
            "none": _outcome(lambda: ranks.on_all(_failing())),
            "reading": _outcome(lambda: agree(ranks, _Reading(), [])),
            "in common": [type(error := ranks.in_common(NeedsLookError("x"))).__name__, error.exit_code],
        }
        print(json.dumps(found), flush=True)
        if ranks.rank:
            os._exit(9)  # as a killed process ends
        print(json.dumps(_outcome(lambda: ranks.told("still there?"))), flush=True)


class _Reading:
    """Batches, the first of which the second process cannot read."""

    def __iter__(self):
        return self

    def __next__(self):
        from tests.training.runs import Scripted

        _failing(1)()
        return Scripted(rank=0, world=2).batch(0)


if __name__ == "__main__":
    sys.exit(main())
