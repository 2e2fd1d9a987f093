"""Examples against the trainer's documented rules, said again with torchvision, Pillow and webdataset alone."""

import io
import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageFile
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

from captioners import reinforcement
from captioners.core.errors import UserError
from captioners.images.decode import read_image
from captioners.reinforcement import (
    Augmentation,
    Embeddings,
    Example,
    ReinforcedDataset,
    ReinforcedLoss,
    Sampling,
    Skipped,
    StudentTransform,
    Teacher,
    collate,
)
from captioners.reinforcement.embeddings import split, to_npz
from captioners.reinforcement.sampling import choose
from tests.images.pictures import encoded, jpeg, noise, quadrants
from tests.reinforcement import reference
from tests.reinforcement.trained import SYN, key_of, sample, unit_rows, write

OPERATIONS = list(T.RandAugment()._augmentation_space(31, (64, 64)))
STUDENT = T.Compose(
    [
        T.RandomResizedCrop(48, interpolation=T.InterpolationMode.BILINEAR),
        T.ToTensor(),
        T.Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
    ]
)
TRANSFORM = StudentTransform.of(STUDENT)
COUNT = 12


def tokenize(text):
    """Letters by number: texts can be told apart, and read again."""
    return torch.tensor([[*map(ord, text[:24]), *[0] * (24 - len(text[:24]))]])


def text_of(tokens):
    return "".join(map(chr, tokens[tokens > 0]))


def dataset(folder, sampling=None, **options):
    return ReinforcedDataset([str(folder)], tokenize, TRANSFORM, sampling, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("reinforced"), {key_of(at): sample(at) for at in range(COUNT)})


class Scripted:
    """Stands for the trainer's generator: what it draws is given."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def integers(self, low, high=None):
        number = self.numbers.pop(0)
        assert 0 <= number < (low if high is None else high)
        return number


def their_picture(data, params, transform=STUDENT):
    """`decode("pilrgba")`, RGB, and the student's size and normalisation around the stored parameters."""
    image = Image.open(io.BytesIO(data)).convert("RGBA").convert("RGB")
    crop = next(step for step in transform.transforms if isinstance(step, T.RandomResizedCrop))
    view = F.resized_crop(image, *params[0], list(crop.size), crop.interpolation)
    for index, magnitude in params[1] or []:
        view = _apply_op(view, OPERATIONS[index], magnitude, interpolation=T.InterpolationMode.NEAREST, fill=None)
    return transform.transforms[-1](F.to_tensor(view))


@pytest.mark.parametrize("layout", ["split", "legacy"])
@pytest.mark.parametrize("form", ["npz", "pth.gz"])
def test_examples_are_the_trainers_given_the_same_draws(tmp_path, layout, form):
    syn = SYN if layout == "split" else {"syn_text": SYN["syn_text"]}
    write(tmp_path, {key_of(at): sample(at, layout, form, syn=syn) for at in range(4)})
    found, rule = dataset(tmp_path), Sampling()
    shard = reference.grouped(tmp_path / "00000.tar")
    seen = set()
    for epoch in range(6):
        found.set_epoch(epoch)
        for number, (key, members) in enumerate(shard.items()):
            example = found[number]
            said = json.loads(members["syn.json"])
            choice = choose(rule, epoch, ("00000.tar", key), 4, said)
            random = Scripted(choice.augmentation, 0, list(said).index(choice.syn_key), choice.caption)
            augmentation, text, caption, *rows = reference.draw(members, random)
            assert example.key == key
            assert torch.equal(example.image, their_picture(members["jpg"], augmentation))
            assert (text_of(example.text), text_of(example.syn_text)) == (text, caption)
            for ours, theirs in zip((example.image_emb, example.text_emb, example.syn_text_emb), rows, strict=True):
                assert ours.dtype == torch.float32
                assert torch.equal(ours, torch.as_tensor(theirs).float())
            seen.add(choice)
    assert len(seen) > 8
    assert {choice.syn_key for choice in seen} == set(syn)


def test_the_students_own_transform_gives_size_interpolation_and_normalisation():
    other = open_clip.image_transform((32, 40), is_train=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert StudentTransform.of(other) == StudentTransform((32, 40), "bicubic", (0.5,) * 3, (0.25,) * 3)
    assert StudentTransform((48, 48), "bilinear") == TRANSFORM
    data, params = jpeg(noise(seed=1)), [[4, 5, 60, 70], [[9, 0.27], [3, -30.4]]]
    tensor = StudentTransform.of(other)(read_image(data, "as_trained"), params, Augmentation())
    assert tensor.shape == (3, 32, 40)
    assert torch.equal(tensor, their_picture(data, params, other))
    with pytest.raises(UserError, match="RandomResizedCrop and Normalize; this has Resize"):
        StudentTransform.of(open_clip.image_transform(48, is_train=False))


def exif_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(quadrants(), exif=exif)


PICTURES = {
    "turned by EXIF": exif_turned(),
    "transparent": encoded(noise().convert("RGBA").rotate(20), "PNG"),
    "grey with alpha": encoded(noise().convert("LA"), "PNG"),
    "palette": encoded(noise().convert("P"), "PNG", transparency=3),
    "CMYK": jpeg(noise().convert("CMYK")),
    "16 bit": encoded(Image.fromarray(np.arange(0, 64000, 10, np.uint16).reshape(80, 80)), "PNG"),
    "truncated": jpeg(noise(400, 300))[:-4000],
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.filterwarnings("ignore:Palette images:UserWarning")
def test_as_trained_decodes_what_the_trainers_loader_decodes(kind, monkeypatch):
    """webdataset's own `decode("pilrgba")` under the trainer's global switch, then RGB."""
    from webdataset.autodecode import imagehandler

    ours = read_image(PICTURES[kind], "as_trained").image
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    theirs = imagehandler("pilrgba")("jpg", PICTURES[kind]).convert("RGB")
    assert ours.size == theirs.size
    assert ours.tobytes() == theirs.tobytes()
    if kind in ("turned by EXIF", "transparent"):
        assert read_image(PICTURES[kind], "upright").image.tobytes() != ours.tobytes(), "the control"


def loader(found, workers, **options):
    context = {"multiprocessing_context": "fork"} if workers else {}
    return DataLoader(found, collate_fn=collate, num_workers=workers, generator=torch.Generator(), **context, **options)


def test_any_number_of_processes_gives_the_same_batches(folder):
    found = dataset(folder)
    orders = found.order(0)

    def batches(workers):
        return list(loader(found, workers, batch_size=5, sampler=orders))

    one, two = batches(0), batches(2)
    assert [batch.keys for batch in one] == [batch.keys for batch in two]
    assert sorted(key for batch in one for key in batch.keys) == [key_of(at) for at in range(COUNT)]
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[1:7], b[1:7], strict=True))
    assert one[0].image.shape == (5, 3, 48, 48)
    assert one[0].syn_text_emb.shape == (5, 8)


def test_processes_that_outlive_an_epoch_see_the_next(folder):
    found = dataset(folder)
    kept = loader(found, 1, batch_size=4, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        found.set_epoch(epoch)
        epochs.append(torch.cat([batch.image for batch in kept]))
        assert torch.equal(epochs[-1], torch.stack([found[at].image for at in range(COUNT)]))
    assert not torch.equal(*epochs)


def test_ranks_share_an_epochs_order(folder):
    found = dataset(folder)
    assert sorted(found.order(0)) == list(range(COUNT))
    assert found.order(0) == found.order(0) != found.order(1)
    assert found.order(0) != dataset(folder, Sampling(seed=1)).order(0)
    shares = [found.order(3, rank, 5) for rank in range(5)]
    assert [len(share) for share in shares] == [2] * 5
    assert len({number for share in shares for number in share}) == 10


def test_mixing_gives_one_caption_with_its_own_embedding(folder):
    for share, replaced in ((0.0, False), (1.0, True)):
        both, mixed = dataset(folder)[3], dataset(folder, Sampling(mix_synthetic=share))[3]
        assert mixed.syn_text is None
        assert mixed.syn_text_emb is None
        assert torch.equal(mixed.text, both.syn_text if replaced else both.text)
        assert torch.equal(mixed.text_emb, both.syn_text_emb if replaced else both.text_emb)
        assert torch.equal(mixed.image, both.image)


def test_ground_truth_alone_is_the_same_picture_without_synthetic_captions(folder):
    alone, both = dataset(folder, Sampling(syn_keys=None))[3], dataset(folder)[3]
    assert alone.syn_text is None
    assert torch.equal(alone.text_emb, both.text_emb)
    assert torch.equal(alone.image, both.image)


def test_captioned_shards_are_augmented_anew_each_epoch_for_teachers_online(tmp_path):
    names = ("jpg", "txt", "syn.json")
    write(tmp_path, {key_of(at): {name: sample(at)[name] for name in names} for at in range(3)}, config=False)
    found = dataset(tmp_path, embeddings="none")
    first = found[1]
    assert (first.image_emb, first.text_emb, first.syn_text_emb) == (None, None, None)
    assert text_of(first.text) == "Hund 1, größer"
    assert torch.equal(dataset(tmp_path, embeddings="none")[1].image, first.image)
    found.set_epoch(1)
    assert not torch.equal(found[1].image, first.image)
    assert collate([first, found[1]]).image_emb is None
    with pytest.raises(UserError, match=r"config\.json: not found"):
        dataset(tmp_path)
    stored = dataset(tmp_path, augmentation=Augmentation())
    assert isinstance(stored[0], Skipped)
    assert stored[0].reason == "no_paug"


def test_what_cannot_be_used_is_listed_and_training_goes_on(tmp_path):
    samples = {key_of(at): sample(at) for at in range(6)}
    samples[key_of(1)]["jpg"] = b"\xff\xd8 no picture"
    samples[key_of(2)]["syn.json"] = b'{"syn_text": []}'
    samples[key_of(3)]["jpg"] = jpeg(noise(40, 40))  # another picture than the boxes were drawn for
    samples[key_of(4)]["npz"] = sample(4, syn={"syn_text": ["one caption"]})["npz"]
    folder = write(tmp_path, samples)
    whole = (folder / "00000.tar").read_bytes()
    (folder / "00001.tar").write_bytes(whole[:3000])
    found = dataset(folder)
    assert [(one.shard, one.reason) for one in found.skipped] == [("00001.tar", "cut_tar")]
    batch = collate([found[number] for number in range(6)])
    assert batch.keys == [key_of(0), key_of(5)]
    assert len(batch.image) == 2
    reasons = {one.key: one.reason for one in batch.skipped}
    unreadable = reasons.pop(key_of(1))
    assert unreadable in ("not_an_image", "unreadable", "truncated")
    assert reasons == {key_of(2): "empty_list", key_of(3): "paug", key_of(4): "emb_rows"}
    assert all(one.shard == "00000.tar" and "\n" not in one.error for one in batch.skipped)
    nothing = collate(batch.skipped)
    assert (nothing.keys, nothing.image, len(nothing.skipped)) == ([], None, 4)


def other_width(at):
    rows = {key: unit_rows(len(texts), at, width=6) for key, texts in SYN.items()}
    return sample(at) | {"npz": to_npz(split(unit_rows(4, at, width=6), unit_rows(1, at, width=6), rows))}


def test_embeddings_of_other_teachers_are_listed_and_do_not_stop_a_batch(tmp_path):
    """By the first sample's width where config.json says no teachers, else by what it says: in any order the same."""
    write(tmp_path, {"a": sample(0) | {"npz": b"?"}, "b": sample(1), "c": other_width(2), "d": sample(3)})
    for _ in range(2):
        found = dataset(tmp_path)
        batch = collate([found[number] for number in (2, 3, 1, 0)])
        assert batch.keys == ["d", "b"] and batch.image_emb.shape == (2, 8)
        assert [(one.key, one.reason) for one in batch.skipped] == [("c", "emb_shape"), ("a", "unreadable_emb")]
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"teachers": [{"dim": 2}, {"dim": 4}]}))
    found = dataset(tmp_path)
    assert [type(found[number]) for number in range(4)] == [Skipped, Skipped, Example, Skipped]
    (tmp_path / "config.json").write_text(json.dumps(config | {"teachers": [{"dim": "4"}]}))
    with pytest.raises(UserError, match=r"config\.json: is not .*each one's dim"):
        dataset(tmp_path)


@pytest.mark.parametrize("said", ["{", "{}", '{"rand_augment": {}}', "[]"])
def test_a_configuration_that_is_not_wrapped_is_refused(tmp_path, said):
    """As the reference's generator leaves it: its trainer ends with a KeyError."""
    write(tmp_path, {"a": sample(0)})
    (tmp_path / "config.json").write_text(said)
    with pytest.raises(UserError, match=r"config\.json: is not"):
        dataset(tmp_path)


def test_the_rooms_public_names_are_there():
    assert all(
        getattr(reinforcement, name).__module__.startswith("captioners.reinforcement.")
        for name in reinforcement.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'Datset'"):
        reinforcement.Datset  # noqa: B018


def test_a_student_learns_from_its_batches(folder):
    """Dataset, loss and pairs fit together: a linear student on the pixels comes near to its teachers."""
    found = dataset(folder, Sampling(sequential=True))
    batch = collate([found[number] for number in range(COUNT)])
    assert isinstance(found[0], Example)
    taught = Embeddings(batch.image_emb, batch.text_emb, batch.syn_text_emb)
    loss = ReinforcedLoss([Teacher(8, 20.0)], 0.5)
    generator = torch.Generator().manual_seed(0)
    pixels = batch.image[:, :, ::4, ::4].flatten(1)
    tables = [torch.randn(width, 8, generator=generator) / width**0.5 for width in (pixels.shape[1], 24, 24)]
    for table in tables:
        table.requires_grad_()
    optimizer = torch.optim.Adam(tables, 0.01)
    totals = []
    for _ in range(40):
        inputs = (pixels, batch.text / 128, batch.syn_text / 128)
        student = Embeddings(
            *(torch.nn.functional.normalize(x @ w, dim=1) for x, w in zip(inputs, tables, strict=True))
        )
        total = loss(student, taught, torch.tensor(20.0)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.7 * totals[0]
