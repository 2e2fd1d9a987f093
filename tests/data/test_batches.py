"""Training batches: which sample comes when depends on its position alone, and none is lost without a word."""

from collections import Counter
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from captioners.core.errors import UserError
from captioners.data.batches import MemoryBatches
from captioners.data.mixture_source import MixtureSource
from captioners.data.source import Sample, Shard, Unreadable
from captioners.data.training_set import captions_of, read_training_set
from captioners.images.augment import Augmented, View
from captioners.images.decode import read_image
from captioners.images.pool import DecodePool
from captioners.images.preprocess import Preprocess
from captioners.models.coca import PREPROCESS
from captioners.text.tokenizer import ClipTokenizer

PREPROCESSED = Preprocess({"size": 16, **PREPROCESS})
TOKENIZER = ClipTokenizer()


def _jpeg(number, size=(24, 20)):
    pixels = np.random.Generator(np.random.Philox(number)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def _sample(number, *captions, image=None):
    return Sample(
        shard="s", key=f"{number:03d}", index=number, captions=captions, name=f"s: {number:03d}.jpg",
        image=_jpeg(number) if image is None else image,
    )  # fmt: skip


class Scripted:
    """A source of what it is given, in two shards."""

    def __init__(self, *found):
        self.found = found

    def shards(self, frozen=()):
        half = len(self.found) // 2
        return [Shard(path=p, size=0, stamp="", where={"from": a, "to": b})
                for p, a, b in (("s", 0, half), ("t", half, len(self.found)))]  # fmt: skip

    def samples(self, shard, start=0):
        yield from self.found[shard.where["from"] + start : shard.where["to"]]


def _read(*found, context=12, **options):
    return read_training_set(Scripted(*found), PREPROCESSED, TOKENIZER, context, **options)


def _several(count=7, captions=3):
    return _read(*(_sample(n, *(f"picture {n} told {c}" for c in range(captions))) for n in range(count)))


def _said(batch):
    """[(key, caption)] of a batch."""
    return [(key, TOKENIZER.decode(ids)) for key, ids in zip(batch.keys, batch.text.tolist(), strict=True)]


def test_pixels_and_ids_are_those_of_captioning_and_of_open_clip():
    texts = ["a cat on a mat", "wow!; id 0 is in here", "a " * 20]
    held = _read(*(_sample(n, text) for n, text in enumerate(texts)), context=12)
    batches = MemoryBatches(held, 3, seed=0)
    batch = batches.batch(0)
    order = [int(key[3:6]) for key in batch.keys]
    wanted = TOKENIZER.batch([texts[n] for n in order], 12)
    assert torch.equal(batch.text, wanted[:, : batch.text.shape[1]])
    assert not wanted[:, batch.text.shape[1] :].any()
    assert (batch.text[order.index(1)][:4] == 0).any(), "the caption with a bare '!' in it"
    pictures = torch.stack([PREPROCESSED(read_image(_jpeg(n)).image) for n in order])
    assert batch.pixels.dtype is torch.uint8
    assert torch.equal(PREPROCESSED.normalised(batch.pixels), pictures)
    assert held.cut == 1


def test_every_epoch_takes_each_image_once_in_an_order_of_its_own():
    batches = MemoryBatches(_several(), 2, seed=5)
    taken = [key for step in range(14) for key in batches.batch(step).keys]
    epochs = [taken[at : at + 7] for at in range(0, 28, 7)]
    assert all(sorted(epoch) == sorted(epochs[0]) and len(set(epoch)) == 7 for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1


def test_a_batch_is_a_function_of_its_position():
    held = _several()
    forward = [MemoryBatches(held, 3, seed=5).batch(step) for step in range(9)]
    one = MemoryBatches(held, 3, seed=5)
    for step in (8, 2, 5, 0, 8):
        again = one.batch(step)
        assert _said(again) == _said(forward[step])
        assert torch.equal(again.pixels, forward[step].pixels)
    other = MemoryBatches(held, 3, seed=6)
    assert [_said(other.batch(step)) for step in range(9)] != [_said(batch) for batch in forward]


def test_the_batch_size_cuts_one_and_the_same_stream():
    held = _several()
    small, large = MemoryBatches(held, 2, seed=5), MemoryBatches(held, 6, seed=5)
    assert [p for step in range(6) for p in _said(small.batch(step))] == [
        p for step in range(2) for p in _said(large.batch(step))
    ]


def test_captions_drawn_at_random_come_equally_often():
    batches = MemoryBatches(_several(5, 3), 5, seed=1)
    counts = Counter(said for step in range(600) for said in _said(batches.batch(step)))
    assert len(counts) == 15
    assert sum(counts.values()) == 3000
    # 600 draws of one in three: a standard deviation of 11.5; five of them
    assert all(abs(count - 200) < 58 for count in counts.values())


def test_first_takes_the_first_and_per_caption_takes_all():
    held = _read(_sample(0, "a b", "c d"), _sample(1, "e f"), _sample(2, "g h", "i j", "k l"))
    first = MemoryBatches(held, 3, 0, "first")
    assert {text for step in range(4) for _, text in _said(first.batch(step))} == {"a b", "e f", "g h"}
    each = MemoryBatches(held, 6, 0, "per_caption")
    assert len(each) == 6
    assert sorted(_said(each.batch(3))) == [
        ("s: 000.jpg", "a b"), ("s: 000.jpg", "c d"), ("s: 001.jpg", "e f"),
        ("s: 002.jpg", "g h"), ("s: 002.jpg", "i j"), ("s: 002.jpg", "k l"),
    ]  # fmt: skip


def test_a_bad_sample_is_counted_with_its_reason_and_stops_nothing():
    held = _read(
        _sample(0, "fine"),
        Unreadable(shard="s", key="001", index=1, reason="no_image", error="s: 001 has no image; add it"),
        _sample(2, "fine, but its picture is cut", image=_jpeg(2)[:200]),
        _sample(3, "no picture at all", image=b"<html>"),
        _sample(4),
        _sample(5, "  ", ""),
        _sample(6, "", "one of two is empty"),
    )
    assert held.keys == ["s: 000.jpg", "s: 006.jpg"]
    assert [(r["key"], r["reason"]) for r in held.skipped] == [
        ("001", "no_image"), ("002", "truncated"), ("003", "not_an_image"),
        ("004", "no_caption"), ("005", "no_caption"),
    ]  # fmt: skip
    assert all(record["error"] for record in held.skipped)
    assert (held.read, held.num_captions, held.empty) == (7, 2, 3)


def test_nothing_usable_is_an_error_that_says_the_first_reason():
    with pytest.raises(
        UserError, match=r"no picture with a caption \(2 samples skipped; the first: s: 000.jpg: no capt"
    ):
        _read(_sample(0), _sample(1))
    with pytest.raises(UserError, match=r"no picture with a caption \(0 samples skipped\)"):
        _read()


def test_what_does_not_fit_in_memory_is_said():
    with pytest.raises(UserError, match=r"need more than 0\.0 GB in memory .* raise memory_gb"):
        _read(_sample(0, "a"), _sample(1, "b"), max_bytes=3 * 16 * 16)


def test_the_digest_is_that_of_what_was_read():
    samples = [_sample(n, f"picture {n}") for n in range(4)]
    digest = _read(*samples).digest
    assert _read(*samples).digest == digest
    others = (
        samples[:3],
        [*samples[:3], _sample(3, "another")],
        [*samples[:3], _sample(3, "picture 3", image=_jpeg(9))],
        samples[::-1],
    )
    assert len({digest, *(_read(*other).digest for other in others)}) == 5


def test_captions_for_a_tokenizer_are_all_there_in_order():
    found = (_sample(0, "a", "b"), Unreadable(shard="s", key="1", index=1, reason="empty", error="x"), _sample(2, "c"))
    assert list(captions_of(Scripted(*found))) == ["a", "b", "c"]


def test_the_decode_profile_is_asked_for():
    file = BytesIO()
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(file, "PNG")
    held = {p: _read(_sample(0, "a", image=file.getvalue()), profile=p) for p in ("upright", "as_trained")}
    assert held["upright"].pixels[0][:, 8, 8].tolist() == [255, 255, 255]
    assert held["as_trained"].pixels[0][:, 8, 8].tolist() == [200, 0, 0]


def test_any_number_of_ranks_trains_on_the_same_batches():
    held = _several(7, 3)
    options = {"captions_per_step": 2, "length_grouped": True}
    for step in range(5):
        whole = MemoryBatches(held, 6, 5, **options).batch(step)
        for world in (2, 3):
            shares = [MemoryBatches(held, 6, 5, rank=r, world=world, **options).batch(step) for r in range(world)]
            assert tuple(key for share in shares for key in share.keys) == whole.keys
            assert torch.equal(torch.cat([share.pixels for share in shares]), whole.pixels)
            assert torch.equal(torch.cat([share.images for share in shares]), whole.images)
            said = [tuple(ids) for share in shares for ids in share.text.tolist()]
            assert [TOKENIZER.decode(ids) for ids in said] == [TOKENIZER.decode(ids) for ids in whole.text.tolist()]
            each = 6 // world
            assert torch.equal(torch.cat([s.owner + each * r for r, s in enumerate(shares)]), whole.owner)
    with pytest.raises(UserError, match="cannot be split evenly over 4"):
        MemoryBatches(held, 6, 5, world=4)


def test_several_captions_of_a_step_name_their_image():
    held = _read(_sample(0, "a zero", "b zero", "c zero"), _sample(1, "a one"), _sample(2, "a two", "b two"))
    batch = MemoryBatches(held, 3, 0, captions_per_step=2).batch(0)
    assert len(batch.keys) == 3
    assert batch.text.shape[0] == len(batch.owner) == 5
    assert (batch.owner.diff() >= 0).all()
    names = {"s: 000.jpg": "zero", "s: 001.jpg": "one", "s: 002.jpg": "two"}
    for ids, owner in zip(batch.text.tolist(), batch.owner.tolist(), strict=True):
        assert TOKENIZER.decode(ids).endswith(names[batch.keys[owner]])
    assert [held.keys[image] for image in batch.images] == list(batch.keys)
    single = MemoryBatches(held, 3, 0).batch(0)
    assert single.owner.tolist() == [0, 1, 2]


def test_a_mixture_in_memory_keeps_its_weights_and_each_part_its_epochs():
    parts = [
        Scripted(*(_sample(n, f"part {part} picture {n}") for n in range(count))) for part, count in ((0, 4), (1, 9))
    ]
    source = MixtureSource([(parts[0], 2), (parts[1], 1)])
    held = read_training_set(source, PREPROCESSED, TOKENIZER, 12)
    assert held.parts == [0] * 4 + [1] * 9
    batches = MemoryBatches(held, 6, seed=1)
    assert len(batches) == 13
    said = [text for step in range(18) for _, text in _said(batches.batch(step))]
    assert all(Counter(text.split()[1] for text in said[at : at + 3]) == {"0": 2, "1": 1} for at in range(0, 108, 3))
    for part, count in (("0", 4), ("1", 9)):
        own = [text for text in said if text.split()[1] == part]
        assert all(len(set(own[at : at + count])) == count for at in range(0, len(own) - count + 1, count))
    shares = [MemoryBatches(held, 6, 1, rank=rank, world=2) for rank in range(2)]
    assert [text for step in range(18) for share in shares for _, text in _said(share.batch(step))] == said
    with pytest.raises(UserError, match="length_grouped: the parts of a mixture"):
        MemoryBatches(held, 6, 1, length_grouped=True)
    held.parts = [0] * 13
    with pytest.raises(UserError, match="part 2 of the mixture holds no picture"):
        MemoryBatches(held, 6, 1)


def test_pictures_held_as_files_are_cropped_anew_each_epoch():
    augmentation = Augmented(random_resized_crop={"scale": [0.2, 0.9]})
    found = [_sample(n, f"picture {n}", "another") for n in range(3)]
    held = read_training_set(Scripted(*found), PREPROCESSED, TOKENIZER, 12, keep_files=True)
    assert not held.pixels
    assert held.files == [sample.image for sample in found]
    with DecodePool(0, fit=PREPROCESSED.fit) as pool:
        epochs = [MemoryBatches(held, 3, 0, augmentation=augmentation, pool=pool).batch(step) for step in range(2)]
        each = MemoryBatches(held, 6, 0, "per_caption", augmentation=augmentation, pool=pool).batch(0)
        plain = MemoryBatches(held, 3, 0, pool=pool).batch(0)
    for epoch, batch in enumerate(epochs):
        for key, pixels in zip(batch.keys, batch.pixels, strict=True):
            view = View.of(augmentation, 0, epoch, key)
            wanted = view(read_image(_jpeg(int(key[3:6]))).image, PREPROCESSED.fit)
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(wanted))
    views = {
        (key, pixels.numpy().tobytes())
        for batch in (*epochs, each)
        for key, pixels in zip(batch.keys, batch.pixels, strict=True)
    }
    assert len(views) == 12, "each epoch, and each caption of an image, another view"
    memory = MemoryBatches(_read(*found), 3, 0).batch(0)
    assert torch.equal(plain.pixels, memory.pixels), "without augmentation, files or pixels are the same"


def test_a_sentence_cut_is_asked_for():
    text = "a cat sleeps. a dog runs at the whole long street."
    cut = {how: _read(_sample(0, text), context=9, truncation=how) for how in ("token", "sentence")}
    said = {how: TOKENIZER.decode(held.captions[0][0].tolist()) for how, held in cut.items()}
    assert said == {"token": "a cat sleeps . a dog runs", "sentence": "a cat sleeps ."}
    assert [held.cut for held in cut.values()] == [1, 1]
