"""Sizes told before anything is embedded: those of written members, and the paper's table 14."""

import numpy as np
import pytest

from captioners.reinforcement import embeddings
from captioners.reinforcement.sizes import added_bytes

FIVE = {"syn_text": 5}
L14 = (768, 768)
TABLE_14 = {
    # n samples in 1e6, n_aug, dtype, TB of the captioned set, TB of the table
    "DFNDR-2B12M": (12.8, 30, "bfloat16", 0.2, 1.3),
    "DataCompDR-12M": (12.8, 30, "bfloat16", 0.9, 2.1),
    "DFNDR-5B12M": (12.8, 30, "bfloat16", 1.5, 2.6),
    # 90 TB of images beside 121 of embeddings would be far more than 140: its release has texts alone, 4.5 kB a sample.
    "DataCompDR-1B": (1280, 10, "float32", 5.8, 140),
    "DFNDR-2B": (1900, 2, "float32", 65, 162),
}


def terabytes(name):
    millions, n_aug, dtype, plain, _ = TABLE_14[name]
    return millions * 1e6 * added_bytes(L14, n_aug, FIVE, dtype) / 1e12 + plain


def test_the_papers_table_comes_out_in_its_order_and_about_its_numbers():
    told = {name: terabytes(name) for name in TABLE_14}
    table = {name: row[-1] for name, row in TABLE_14.items()}
    assert sorted(told, key=told.get) == sorted(table, key=table.get) == list(TABLE_14)
    for name, terabytes_told in told.items():
        assert terabytes_told == pytest.approx(table[name], rel=0.11), name


@pytest.mark.parametrize(
    ("n_aug", "dtype", "wanted"), [(30, "bfloat16", 88_700), (10, "float32", 91_900), (2, "float32", 46_300)]
)
def test_a_sample_of_the_published_sets_takes_what_was_measured_of_them(n_aug, dtype, wanted):
    """Of random unit vectors, packed by Apple's own writer; the augmentations and the tar's blocks come on top."""
    assert added_bytes(L14, n_aug, FIVE, dtype) == pytest.approx(wanted, rel=0.04)


@pytest.mark.parametrize("layout", ["split", "legacy"])
@pytest.mark.parametrize(("pack", "dtype"), [(embeddings.to_npz, "float32"), (embeddings.to_pth_gz, "bfloat16")])
def test_it_is_what_directions_of_another_kind_take(layout, pack, dtype):
    """As trained towers make them: far from evenly spread, and alike for views of one picture."""
    generator = np.random.Generator(np.random.PCG64(5))
    rows = generator.standard_normal((36, 1536)) * generator.uniform(0.3, 2.0, 1536) + generator.standard_normal(1536)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    make = embeddings.split if layout == "split" else embeddings.legacy
    written = len(pack(make(rows[:30], rows[30:31], {"syn_text": rows[31:]})))
    told = added_bytes(L14, 30, FIVE, dtype, layout)
    assert told == pytest.approx(written + 3000, rel=0.03)  # and the augmentations' member
