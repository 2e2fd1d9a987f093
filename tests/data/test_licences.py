"""Licences travel: from cards or as stated, through mixtures, and non-commercial data has to be allowed."""

from types import SimpleNamespace

import pytest

from captioners.core.errors import NotFoundError
from captioners.core.package_data import data_card_names
from captioners.data.dci_source import DciOptions
from captioners.data.docci_source import DocciOptions
from captioners.data.drawn_source import DrawnOptions
from captioners.data.folder_source import FolderOptions
from captioners.data.licences import licences_of
from captioners.data.source import SourceOptions
from captioners.data.webdataset_source import WebdatasetOptions

DCI, DOCCI = DciOptions(inputs=["x"]), DocciOptions(inputs=["x"], images="y")


def test_a_published_set_has_the_licences_of_its_card():
    found = licences_of(DCI)
    assert found.names == ("dci",)
    assert found.captions == ("CC BY-NC 4.0",)
    assert found.commercial_use == "no"
    assert found.on_card() == {
        "training data": "dci",
        "training images": "SA-1B Dataset Research License (non-commercial research; each user accepts it)",
        "training captions": "CC BY-NC 4.0",
        "commercial use of the training data": "no",
    }
    assert licences_of(DrawnOptions()).commercial_use == "yes"


def test_non_commercial_data_has_to_be_allowed():
    refusal = licences_of(DCI).refusal(allow_noncommercial=False)
    assert refusal.startswith("dci may not be used commercially (SA-1B Dataset Research License")
    assert "allow_noncommercial=true" in refusal
    assert licences_of(DCI).refusal(allow_noncommercial=True) is None
    assert licences_of(DOCCI).refusal(allow_noncommercial=False) is None


def test_one_s_own_data_is_unspecified_and_never_blocked():
    found = licences_of(FolderOptions(inputs=["x"]))
    assert (found.names, found.commercial_use) == ((), "unknown")
    assert found.refusal(allow_noncommercial=False) is None
    assert set(found.on_card().values()) == {"unspecified", "unknown"}
    assert "training data" not in found.on_card()


def test_what_a_recipe_states_goes_before_a_card_and_a_named_card_before_the_kind_s_own():
    stated = licences_of(FolderOptions(inputs=["x"], licence="our own photos", commercial_use="yes"))
    assert (stated.images, stated.captions, stated.commercial_use) == (("our own photos",), ("our own photos",), "yes")
    forbidden = licences_of(FolderOptions(inputs=["x"], licence="CC BY-NC 4.0", commercial_use="no"))
    assert forbidden.refusal(False).startswith("the data may not be used commercially (CC BY-NC 4.0)")
    shards = licences_of(WebdatasetOptions(inputs=["x"], card="dfn_2b"))
    assert (shards.names, shards.commercial_use) == (("dfn_2b",), "no")
    assert licences_of(DocciOptions(inputs=["x"], images="y", card="dci")).names == ("dci",)
    with pytest.raises(NotFoundError, match="Did you mean 'dfn_2b'"):
        licences_of(WebdatasetOptions(inputs=["x"], card="dfn2b"))


class Mixture(SourceOptions):
    parts: list

    def open(self):
        raise AssertionError("licences are known before anything is opened")


def _mixture(*options, **stated):
    return Mixture(parts=[SimpleNamespace(source=source, weight=1) for source in options], **stated)


def test_what_is_stated_of_a_mixture_holds_for_all_its_parts():
    own = FolderOptions(inputs=["x"])
    forbidden = licences_of(_mixture(own, DOCCI, commercial_use="no", licence="CC BY-NC 4.0"))
    assert forbidden.refusal(False) == (
        "docci may not be used commercially (CC BY-NC 4.0); say `allow_noncommercial=true` if your use allows that"
    )
    assert licences_of(_mixture(own, DOCCI)).refusal(False) is None
    named = licences_of(_mixture(own, own, card="gbc1m"))
    assert (named.names, named.commercial_use) == (("gbc1m",), "no")


def test_a_mixture_has_those_of_all_its_parts():
    def mixed(*options):
        return licences_of(_mixture(*options))

    both = mixed(DCI, DOCCI, DCI)
    assert both.names == ("dci", "docci")
    assert both.captions == ("CC BY-NC 4.0", "CC BY 4.0")
    assert both.commercial_use == "no"
    assert mixed(DOCCI, FolderOptions(inputs=["x"])).commercial_use == "unknown"
    assert mixed(DOCCI, DrawnOptions()).commercial_use == "yes"
    nested = mixed(_mixture(DCI), DOCCI)
    assert nested == mixed(DCI, DOCCI)


def test_every_kind_s_own_card_exists():
    own = {DCI.own_card(), DOCCI.own_card(), DrawnOptions().own_card()}
    assert own <= set(data_card_names())
