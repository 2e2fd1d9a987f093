"""Say what a captioning recipe will cost: hours, GPU-hours, bytes, objects and money, each with an interval.

Worker-seconds are images x seconds of an image (`jobs.plan.pace`), summed over captioners; a worker is a GPU, or the
whole machine where none is. Hours are worker-seconds over the workers: it is assumed that no worker waits for another,
which `--simulate` looks at. Nothing is priced unless the user says what it costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.plan.amount import Amount
from captioners.jobs.plan.calibration import Calibration, Range, Voice
from captioners.jobs.plan.pace import NO_CHANGE, Change, Pace, encodes_of, matched, measured_pace, modelled_pace
from captioners.jobs.plan.rows import Known, Row
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.models.hardware import Gpu, gpu_reported, parse_fleet

_GB = 1e9
_HOUR = 3600.0
_THIS = "this"
_ENTRY_BYTES = (900.0, 1500.0)
"""Of a ledger entry, where none was seen."""


@dataclass(frozen=True)
class Asked:
    """What a plan of captions is asked for, besides its recipe."""

    gpus: str | None = None
    """`NAME:COUNT`; `this:COUNT` is so many of the machine that was measured."""
    price_per_gpu_hour: float | None = None
    egress_per_gb: float | None = None
    deadline: float | None = None
    """Hours."""
    simulate: bool = False


@dataclass(frozen=True)
class Workers:
    """So many workers of one kind, and how fast one is."""

    name: str
    count: int
    gpu: Gpu | None
    measured: bool

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.count:,} x {self.name}"


@dataclass(frozen=True)
class Work:
    """All that a plan of captions rests on."""

    recipe: GenerateRecipe
    workers: Workers
    amount: Amount
    assumed: Mapping[str, Row]
    calibration: Calibration | None
    asked: Asked

    def pace(self, change: Change = NO_CHANGE) -> Pace:
        """Return the pace of one worker, of the recipe as it is or otherwise."""
        if self.workers.measured and self.calibration:
            return measured_pace(self.calibration, self.recipe, change)
        assert self.workers.gpu is not None
        return modelled_pace(self.recipe, self.workers.gpu, self.assumed, self.calibration, change)

    def seconds(self, change: Change = NO_CHANGE) -> Range:
        """Return the seconds of all workers together."""
        pace = self.pace(change)
        return pace.seconds(self.amount.left(0))[0], pace.seconds(self.amount.left(1))[1]


def workers_of(gpus: str | None, calibration: Calibration | None) -> Workers:
    """Return the workers that are asked for; without a name, those that were measured.

    Raises:
        NotFoundError, UserError: no such GPU, or nothing was measured.
    """
    name, _, count = (gpus or f"{_THIS}:{calibration.workers if calibration else 1}").partition(":")
    if name == _THIS:
        if calibration is None:
            raise UserError(f"--gpus {gpus}: nothing was measured; say --calibration FILE, or name a GPU")
        if not (count or "1").isdecimal() or not int(count or "1"):
            raise UserError(f"--gpus {gpus}: how many is no whole number; write {_THIS}:8")
        name = calibration.device if calibration.on_gpu else f"{calibration.device} CPU"
        return Workers(name, int(count or "1"), gpu_reported(calibration.device), measured=True)
    try:
        fleet = parse_fleet(gpus or "")
    except NotFoundError as error:
        raise NotFoundError(f"{error}; '{_THIS}' is the machine that was measured") from None
    own = gpu_reported(calibration.device) if calibration and calibration.on_gpu else None
    return Workers(fleet.gpu.name, fleet.count, fleet.gpu, measured=own == fleet.gpu)


def work_rows(work: Work) -> Iterator[Row]:
    """Yield what is to be done."""
    recipe, amount = work.recipe, work.amount
    yield amount.images
    yield amount.shards
    draws = sum(member.draws for member in recipe.members)
    captions = _captions(work, 0), _captions(work, 1)
    yield Row("captions", *captions, "", f"{draws} of each image, members: {len(recipe.members)}", amount.images.known)
    encodes = encodes_of(work.calibration, recipe)
    groups = recipe.groups
    for number, members in enumerate(groups, 1):
        made = sum(member.draws for member in members)
        yield Row(f"captioner {number}, draws", made, made, "", ", ".join(m.called for m in members), "counted")
    if work.calibration is None or not work.calibration.encodes:
        how = "each reads every image; who shares a pass, a measurement tells"
        yield Row("passes", 1, len(groups), "", how, "counted" if len(groups) == 1 else "assumed")
        return
    how = f"each reads and decodes every image: captioners {_numbered(encodes)}"
    yield Row("passes", len(encodes), len(encodes), "", how, "counted")
    served = [together for together in encodes for _ in together]
    how = "of an image, shared by captioners in brackets" if len(served) < len(groups) else "of an image, none shared"
    yield Row("encodes", len(served), len(served), "", how, "counted")


def passes_of(work: Work) -> tuple[int, int]:
    """Return how many passes there are: from one to one of each captioner, where nobody has looked."""
    if work.calibration is None or not work.calibration.encodes:
        return 1, len(work.recipe.groups)
    return (len(encodes_of(work.calibration, work.recipe)),) * 2


def _numbered(encodes: Sequence[Sequence[Sequence[int]]]) -> str:
    """Return passes as a person reads them: `1 [2 3], 4` has two passes, and 2 and 3 share an encode."""
    text = [[" ".join(str(n + 1) for n in served) for served in together] for together in encodes]
    return ", ".join(" ".join(f"[{s}]" if " " in s else s for s in together) for together in text)


def _captions(work: Work, end: int) -> float:
    groups = work.recipe.groups
    left = work.amount.left(end)
    return sum(images * sum(m.draws for m in members) for images, members in zip(left, groups, strict=True))


def measured_rows(work: Work) -> Iterator[Row]:
    """Yield what the calibration found, as rates of one worker."""
    if work.calibration is None:
        return
    for number, place in enumerate(matched(work.calibration, work.recipe), 1):
        voice = work.calibration.voices[place]
        draws = sum(layer.draws for layer in voice.layers)
        yield _rate(f"captioner {number}: tower", voice, "encoding", 1, "images/s")
        yield _rate(f"captioner {number}: decoding", voice, "decoding", draws, "captions/s")
        tokens = [layer.steps() - 1 for layer in voice.layers]
        how = "of a caption on average, by member"
        yield Row(f"captioner {number}: tokens", min(tokens), max(tokens), "tokens", how, "measured")
        for activity in ("waiting", "writing"):
            low, high = voice.seconds(voice.only(activity))
            yield Row(f"captioner {number}: {activity}", low, high, "s/image", "", "measured")
    reading = work.calibration.reading
    if reading is not None and not reading.packaged:
        size = reading.samples / max(reading.seconds, 1e-9)
        ends = size * reading.stored_bytes[0], size * reading.stored_bytes[1]
        yield Row("reading the source", *ends, "B/s", f"{reading.samples:,} samples, one reader", "measured")


def _rate(what: str, voice: Voice, activity: str, each: int, unit: str) -> Row:
    """Return how fast one activity is; without an interval where it falls into too few of the units."""
    images, units = sum(unit.images for unit in voice.units), len(voice.units)
    low, high = voice.seconds(voice.only(activity))
    how = f"{images:,} images, 95 % over {units:,} units"
    if not low:
        low = high = sum(unit.seconds.get(activity, 0.0) for unit in voice.units) / images
        how = f"{images:,} images, in too few units for an interval"
    return Row(what, _over(each, high), _over(each, low), unit, how, "measured")


def time_rows(work: Work) -> Iterator[Row]:
    """Yield how long it takes."""
    pace, count, asked = work.pace(), work.workers.count, work.asked
    seconds, images = work.seconds(), work.amount.images
    known: Known = "measured" if pace.known == "measured" and count == 1 else "modelled"
    hours = seconds[0] / _HOUR, seconds[1] / _HOUR
    rates = _over(images.low * count, seconds[0]), _over(images.high * count, seconds[1])
    yield Row("images/s", min(rates), max(rates), "", f"all workers, all members; {pace.how}", known)
    unit = "GPU-hours" if work.workers.gpu or (work.calibration and work.calibration.on_gpu) else "worker-hours"
    yield Row(unit, *hours, "h", "images x seconds of an image")
    tasks = work.amount.shards.high * passes_of(work)[1]
    busy = max(1, min(count, ceil(tasks)))
    how = "none waiting for another" if busy == count else "a worker takes whole shards, so no more have work"
    yield Row("hours", hours[0] / busy, hours[1] / busy, "h", f"{busy:,} at once: {how}")
    if asked.deadline is not None:
        needed = [ceil(h / asked.deadline - 1e-9) for h in hours]
        how = f"to be done in {asked.deadline:g} hours"
        if needed[1] > tasks:
            how += f"; {ceil(tasks):,} at most have work, a shard each: write smaller ones"
        yield Row("workers needed", max(1, needed[0]), max(1, needed[1]), "", how)


def _over(a: float, b: float) -> float:
    return a / b if b else inf if a else 0.0


def data_rows(work: Work) -> Iterator[Row]:
    """Yield bytes and objects that are read and written."""
    amount, members = work.amount, len(work.recipe.members)
    passes, stored = passes_of(work), amount.stored
    yield Row("read, a pass", stored.low, stored.high, "B", f"the shards; {stored.how}", stored.known)
    yield Row("read, in all", passes[0] * stored.low, passes[1] * stored.high, "B", "in all passes", stored.known)
    seconds, count = work.seconds(), work.workers.count
    pace = [_over(passes[1] * stored.high * count, max(s, 1e-9)) for s in seconds]
    yield Row("to be read", min(pace), max(pace), "B/s", "or the workers wait for pictures", "modelled")
    each, known = _caption_bytes(work)
    captions = _captions(work, 0), _captions(work, 1)
    ends = captions[0] * each[0], captions[1] * each[1]
    how = f"captions x {each[0]:,.0f} .. {each[1]:,.0f} bytes ({known})"
    yield Row("captions written", *ends, "B", how)
    units = amount.units.low * members, amount.units.high * members
    entry, entry_known = _entry_bytes(work)
    yield Row("ledger written", units[0] * entry[0], units[1] * entry[1], "B", "units x an entry's bytes", entry_known)
    yield Row("layer files", *units, "objects", f"a unit each; {amount.units.how}", amount.units.known)
    yield Row("ledger entries", *units, "objects", "a unit each, before segments take them up", amount.units.known)
    opened = passes[0] * amount.shards.low, passes[1] * amount.shards.high
    yield Row("shards opened", *opened, "objects", "a pass each", amount.shards.known)


def _caption_bytes(work: Work) -> tuple[Range, Known]:
    if work.calibration is None:
        row = work.assumed["bytes_per_caption"]
        return (row.low, row.high), row.known
    numbers = matched(work.calibration, work.recipe)
    layers = {layer.member: layer for number in numbers for layer in work.calibration.voices[number].layers}
    draws = {member.called: member.draws for member in work.recipe.members}
    weight = sum(draws.values())
    low, high = (sum(draws[name] * layers[name].caption_bytes[end] for name in draws) / weight for end in (0, 1))
    return (low, high), "measured"


def _entry_bytes(work: Work) -> tuple[Range, Known]:
    if work.calibration is None:
        return _ENTRY_BYTES, "assumed"
    sizes = [layer.entry_bytes for voice in work.calibration.voices for layer in voice.layers]
    return (min(sizes), max(sizes)), "modelled"


def money_rows(work: Work) -> Iterator[Row]:
    """Yield what it costs at the user's prices; nothing where none is said."""
    asked, stored = work.asked, work.amount.stored
    price = asked.price_per_gpu_hour
    if price is None:
        price = work.recipe.price_per_gpu_hour
    if price is not None:
        machines = tuple(seconds / _HOUR * price for seconds in work.seconds())
        yield Row("machines", machines[0], machines[1], "", f"at {price:g} an hour of each", "modelled")
    if asked.egress_per_gb is not None:
        passes, each = passes_of(work), asked.egress_per_gb / _GB
        egress = passes[0] * stored.low * each, passes[1] * stored.high * each
        yield Row(
            "egress", *egress, "", f"at {asked.egress_per_gb:g} a GB (1e9 bytes) read, in every pass", stored.known
        )
    if price is not None and asked.egress_per_gb is not None:
        yield Row(
            "in all", machines[0] + egress[0], machines[1] + egress[1], "", "in the currency of your prices", "modelled"
        )
