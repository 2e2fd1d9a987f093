"""Each tokenizer gives open_clip's own tensors, and decodes without specials and pad."""

import json

import pytest
import torch

from captioners.core.errors import NotFoundError, UserError
from captioners.text.fast import FastTokenizer
from captioners.text.pieces import SentencePieceTokenizer, train_sentencepiece
from captioners.text.rules import TIDY_RULES, clean
from captioners.text.tokenizer import ClipTokenizer, load_tokenizer
from tests.text.captions import HELD_OUT, ODD, VARIED, thousand

CAPTIONS = thousand()


@pytest.fixture(scope="module")
def clip():
    return ClipTokenizer()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_sentencepiece(VARIED, 600, tmp_path_factory.mktemp("pieces") / "sentencepiece.model")


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    trained.save(folder)
    config = {"model_cfg": {"text_cfg": {"context_length": 76, "vocab_size": 600, "hf_tokenizer_name": "local"}}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("context_length", [12, 76, 255])
def test_clip_batch_is_open_clips(clip, context_length):
    from open_clip import get_tokenizer

    assert len(CAPTIONS) == 1_000
    assert torch.equal(clip.batch(CAPTIONS, context_length), get_tokenizer("coca_ViT-L-14")(CAPTIONS, context_length))


def test_clip_facts(clip):
    assert (clip.vocab_size, clip.start_id, clip.end_id, clip.pad_id) == (49408, 49406, 49407, 0)
    assert clip.encode("a dog") == [320, 1929]
    assert clip.decode([49406, 320, 1929, 49407, 0, 0]) == "a dog"
    assert clip.digest == ClipTokenizer().digest
    assert clip.digest != ClipTokenizer("whitespace").digest
    assert clip.decode([]) == ""
    assert not clip.keeps_spaces


@pytest.mark.parametrize("context_length", [12, 76, 255])
def test_open_clip_reads_the_exported_pieces_to_the_same_ids(trained, exported, context_length):
    from open_clip import get_tokenizer

    theirs = get_tokenizer(f"local-dir:{exported}")
    ours = trained.batch(CAPTIONS, context_length)
    assert ours.shape == (1_000, context_length)
    assert torch.equal(ours, theirs(CAPTIONS, context_length))
    assert torch.equal(ours, FastTokenizer(exported).batch(CAPTIONS, context_length))


def _share_as_sentencepiece(tokenizer):
    """How many captions SentencePiece's own runtime gives the same ids."""
    texts = [tokenizer._clean(text) for text in CAPTIONS]
    same = [tokenizer._pieces.EncodeAsIds(text) == tokenizer.encode(text) for text in texts]
    return sum(same) / len(same)


def test_trained_pieces_are_sentencepieces_own(trained):
    assert _share_as_sentencepiece(trained) == 1


def test_a_normalizing_model_is_exported_with_its_normalization(tmp_path):
    """A user's own model, trained with SentencePiece's defaults: NFKC, no byte fallback."""
    from io import BytesIO

    from sentencepiece import SentencePieceTrainer

    written = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(VARIED + HELD_OUT), model_writer=written, vocab_size=400, minloglevel=3, num_threads=1,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, normalization_rule_name="nmt_nfkc_cf",
    )  # fmt: skip
    mine = SentencePieceTokenizer(written.getvalue())
    mine.save(tmp_path)
    fast = FastTokenizer(tmp_path)
    assert torch.equal(mine.batch(CAPTIONS, 76), fast.batch(CAPTIONS, 76))
    assert _share_as_sentencepiece(mine) >= 0.997  # equally likely segmentations ("0|00"), names of special pieces


def test_pieces_facts(trained, exported):
    assert (trained.vocab_size, trained.pad_id, trained.start_id, trained.end_id) == (600, 0, 1, 2)
    assert trained.keeps_spaces
    for tokenizer in (trained, FastTokenizer(exported)):
        for text in VARIED + HELD_OUT + ODD:
            if text.startswith("\u2581"):  # the visible space itself is taken for a space
                continue
            assert tokenizer.decode([1, *tokenizer.encode(text), 2, 0, 0]) == trained._clean(text)
    assert clean(trained.decode(trained.encode("It's 2 3 , ok")), TIDY_RULES) == "It's 2 3 , ok"


def test_special_names_in_a_caption_are_text(trained):
    ids = trained.encode("a <s> b </s> c <pad> d <unk> e <0x41>")
    assert not {0, 1, 2, 3} & set(ids)


def test_training_is_deterministic(trained, tmp_path):
    again = train_sentencepiece(VARIED, 600, tmp_path / "again.model")
    assert again.serialized == trained.serialized
    assert SentencePieceTokenizer(tmp_path / "again.model").digest == trained.digest


def test_too_few_captions_or_too_few_ids(tmp_path):
    with pytest.raises(UserError, match=r"2 captions cannot make 5,000 ids .*too high.*; change vocab_size"):
        train_sentencepiece(["a dog", "a cat"], 5_000, tmp_path / "x.model")
    with pytest.raises(UserError, match=r"cannot make 100 ids"):
        train_sentencepiece(VARIED, 100, tmp_path / "x.model")
    with pytest.raises(UserError, match="no captions with text"):
        train_sentencepiece(["", "  "], 500, tmp_path / "x.model")
    assert not (tmp_path / "x.model").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pad_id": -1, "unk_id": 0}, "has no pad, but CoCa pads with 0"),
        ({"pad_id": 3, "unk_id": 0}, "has its pad at id 3, but CoCa pads with 0"),
        ({"pad_id": 0, "unk_id": 3, "bos_id": -1}, "no start or no end"),
    ],
)
def test_a_model_that_coca_cannot_use(options, says):
    from io import BytesIO

    from sentencepiece import SentencePieceTrainer

    written = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(VARIED), model_writer=written, vocab_size=300, minloglevel=3, num_threads=1,
        **({"bos_id": 1, "eos_id": 2} | options),
    )  # fmt: skip
    with pytest.raises(UserError, match=says):
        SentencePieceTokenizer(written.getvalue())


def test_not_a_sentencepiece_model(tmp_path):
    for data in (b"", b"not a model at all", b"\x00" * 100):
        (tmp_path / "x.model").write_bytes(data)
        with pytest.raises(UserError, match=r"x\.model: not a SentencePiece model"):
            SentencePieceTokenizer(tmp_path / "x.model")
    with pytest.raises(NotFoundError, match="no such SentencePiece model"):
        SentencePieceTokenizer(tmp_path / "y.model")


def test_a_bpe_model_is_refused():
    from io import BytesIO

    from sentencepiece import SentencePieceTrainer

    written = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(VARIED), model_writer=written, vocab_size=300, minloglevel=3, num_threads=1,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, model_type="bpe",
    )  # fmt: skip
    with pytest.raises(UserError, match="not a SentencePiece unigram model"):
        SentencePieceTokenizer(written.getvalue())


def test_load_tokenizer_chooses_as_open_clip_does(clip, trained, exported, tmp_path):
    assert load_tokenizer({"text_cfg": {"context_length": 76}}).digest == clip.digest
    pieces = {"text_cfg": {"hf_tokenizer_name": "local", "vocab_size": 600}}
    assert load_tokenizer(pieces, exported).digest == trained.digest
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    assert load_tokenizer(pieces, tmp_path).name == "fast"


def test_load_tokenizer_refuses_what_does_not_fit(exported, tmp_path):
    pieces = {"text_cfg": {"hf_tokenizer_name": "local", "vocab_size": 701}}
    with pytest.raises(UserError, match="the tokenizer has 600 ids and the model 701"):
        load_tokenizer(pieces, exported)
    with pytest.raises(NotFoundError, match=r"neither sentencepiece\.model nor tokenizer\.json"):
        load_tokenizer(pieces, tmp_path)
    with pytest.raises(UserError, match="reduction_mask"):
        load_tokenizer({"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "random"}}})
    with pytest.raises(UserError, match="no room for start and end"):
        ClipTokenizer().batch(["a"], 1)


def test_a_fast_tokenizer_must_pad_with_0_and_frame(exported, tmp_path):
    tokenizer = json.loads((exported / "tokenizer.json").read_text())
    config = json.loads((exported / "tokenizer_config.json").read_text())

    def write(tokenizer, config):
        (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))

    write(tokenizer, config | {"pad_token": "</s>"})
    with pytest.raises(UserError, match="its pad has id 2"):
        FastTokenizer(tmp_path)
    write(tokenizer | {"post_processor": None}, config)
    with pytest.raises(UserError, match="does not put start and end"):
        FastTokenizer(tmp_path)
    write(tokenizer, {key: value for key, value in config.items() if key != "bos_token"})
    with pytest.raises(UserError, match="names no bos_token"):
        FastTokenizer(tmp_path)
