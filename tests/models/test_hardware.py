import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.models.hardware import GPUS, parse_fleet


def test_a_fleet_is_a_name_and_a_count():
    assert (parse_fleet("H100:8").gpu.name, parse_fleet("H100:8").count) == ("h100", 8)
    assert str(parse_fleet(" l40s ")) == "1 x l40s"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("h10:8", NotFoundError, "no GPU is known as 'h10'. Did you mean 'h100'"),
        ("", NotFoundError, "no GPU is known as ''"),
        ("h100:", UserError, "no whole number; write h100:8"),
        ("h100:0", UserError, "no whole number"),
        ("h100:-1", UserError, "no whole number"),
        ("h100:1.5", UserError, "no whole number"),
    ],
)
def test_what_is_no_fleet_is_said(text, error, says):
    with pytest.raises(error, match=says.replace(".", r"\.")):
        parse_fleet(text)


def test_the_data_sheets():
    """Dense bf16 TFLOP/s of the makers' data sheets; half of what they print for sparse products."""
    sheets = {
        "a100-40": 624,
        "a100-80": 624,
        "h100": 1979,
        "h200": 1979,
        "l40s": 733,
        "rtx-4090": 330.4,
        "rtx-3090": 142,
    }
    known = {gpu.name: gpu for gpu in GPUS}
    assert all(known[name].bf16 == pytest.approx(sparse / 2, rel=0.02) for name, sparse in sheets.items())
    assert all(gpu.bf16 > gpu.fp32 > 0 and f"{gpu.memory:.0f}"[:1] for gpu in GPUS)
    assert len(known) == len(GPUS)
