"""Data cards: every one can be read, says all that it must, and is of a source that exists."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.package_data import data_card_names, data_cards_dir
from captioners.data import cards
from captioners.data.cards import read_card
from captioners.data.coco_source import COMMERCIAL, LICENCES
from captioners.data.source import sources

PAPER_S = {"dfn_2b", "datacomp", "mscoco_123k", "mscoco_38k", "docci", "dci", "gbc1m", "gbc10m", "recap_coco_30k"}


def test_the_paper_s_sets_have_their_cards():
    assert set(data_card_names()) >= PAPER_S


@pytest.mark.parametrize("name", data_card_names())
def test_a_card_is_whole_and_its_source_exists(name):
    card = read_card(name)
    assert card.source in sources.names()
    body = (data_cards_dir() / f"{name}.md").read_text().split("---\n", 2)[2]
    assert body.lstrip().startswith("# ")
    assert name == "drawn" or f"kind: {card.source}" in body, "an example of a recipe"
    assert name == "drawn" or "arXiv" in card.paper
    assert not any("\n" in value for value in (card.about, card.obtain, *card.pitfalls, *card.unverified))


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("mscoco_123k", 123_287), ("docci", 14_847), ("dci", 7_805), ("gbc1m", 1_013_592), ("gbc10m", 10_138_757),
        ("recap_coco_30k", 30_504),
    ],
)  # fmt: skip
def test_splits_add_up_to_the_published_counts(name, images):
    assert sum(read_card(name).splits.values()) == images


@pytest.mark.parametrize(
    ("use", "names"),
    [
        ("yes", {"docci", "mscoco_38k", "drawn"}),
        ("no", {"dfn_2b", "dci", "gbc1m", "gbc10m", "mscoco_123k", "recap_coco_30k"}),
        ("unknown", {"datacomp"}),
    ],
)
def test_commercial_use(use, names):
    assert {name for name in data_card_names() if read_card(name).commercial_use == use} == names


def test_a_card_agrees_with_what_its_source_chooses():
    said = read_card("mscoco_38k").fields["licenses"]
    for id_, address in LICENCES.items():
        assert (f"{id_} CC" in said) == (id_ in COMMERCIAL) == ("/by" in address and "-nc" not in address)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "data_cards_dir", lambda: tmp_path)
    monkeypatch.setattr(cards, "data_card_names", lambda: ["mine"])
    read_card.cache_clear()
    yield tmp_path
    read_card.cache_clear()


GOOD = (data_cards_dir() / "docci.md").read_text().replace("name: docci", "name: mine")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("commercial_use: yes", "commercial_use: perhaps"),
            r"commercial_use: Input should be 'yes', 'no' or 'unknown'",
        ),
        (("images_licence: CC BY 4.0\n", ""), "images_licence: Field required"),
        (("name: mine", "name: docci"), "name: docci, in a file that is called mine.md"),
        (("about:", "abuot:"), "abuot: Extra inputs are not permitted"),
        (("---\nname", "name"), "does not begin with front matter"),
        (("source: docci\n", "source: docci\nsource: coco\n"), r"line \d+: the key is repeated"),
        (("pitfalls:\n", "pitfalls: [1]\nold:\n"), "pitfalls.0: Input should be a valid string"),
    ],
)
def test_a_wrong_card_is_refused_with_what_is_wrong(folder, change, says):
    assert GOOD.replace(*change) != GOOD
    (folder / "mine.md").write_text(GOOD.replace(*change))
    with pytest.raises(UserError, match=f"data card mine: .*{says}"):
        read_card("mine")
    read_card.cache_clear()
    (folder / "mine.md").write_text(GOOD)
    assert read_card("mine").splits["train"] == 9647


def test_an_unknown_card_is_told_with_near_names():
    with pytest.raises(NotFoundError, match=r"no data card is named 'doci'\. Did you mean 'docci'"):
        read_card("doci")
