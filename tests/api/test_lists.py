"""Everything that the command lists is listed in Python, by the same names."""

import pytest

import captioners
from captioners.core.errors import NotFoundError
from captioners.jobs.listing import listing, sorts


def test_each_sort_of_things_has_its_list():
    for sort in sorts():
        names = getattr(captioners, f"list_{sort.replace('-', '_')}")()
        assert names == [row[0].removesuffix(" *") for row in listing(sort).rows]
        assert names == sorted(set(names), key=names.index)
        assert captioners.describe(sort, names[0])


def test_the_public_names_are_there_and_no_more():
    assert captioners.__all__ == sorted(captioners.__all__, key=lambda name: (name[0].islower(), name))
    assert all(getattr(captioners, name).__doc__ for name in captioners.__all__)
    assert set(captioners.__all__) <= set(dir(captioners))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        captioners.lod  # noqa: B018


def test_unknown_things_are_told_with_near_ones():
    with pytest.raises(NotFoundError, match="Did you mean 'metrics'"):
        captioners.describe("metric", "Div-2")
