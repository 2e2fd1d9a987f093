"""The exact image tower is open_clip's, and exact arithmetic does not see company or threads."""

import threading

import pytest
import torch
import torch.nn.functional as F

from captioners.models import coca
from captioners.models.arithmetic import MAX_THREADS, Exact, Plain, exact_gelu, exact_rows, row_blocks
from captioners.models.tower import encode_exactly
from tests.models.tiny import built, image_tokens, images, shallow_image, tiny_config


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def threads():
    yield torch.set_num_threads
    torch.set_num_threads(2)


@pytest.mark.parametrize("name", ["tiny", "coca_ViT-B-32", "coca_ViT-L-14", "coca_base"])
def test_the_exact_tower_is_open_clips_within_rounding(name):
    if name == "tiny":
        model, size = built(tiny_config()), 32
    else:
        config = shallow_image(name)
        config["text_cfg"] = {**config["text_cfg"], "layers": 1, "vocab_size": 64}
        config["multimodal_cfg"] = {**config["multimodal_cfg"], "layers": 1}
        model, size = coca.build(config), config["vision_cfg"].get("image_size", 224)
    pictures = images(2, size)
    ours, theirs = encode_exactly(model.visual, pictures), image_tokens(model, pictures)
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=0)


def test_encoding_leaves_the_callers_threads_as_they_were(threads):
    threads(2)
    visual = built(tiny_config()).visual
    for count in (1, 3):
        encode_exactly(visual, images(count, 32))
        assert torch.get_num_threads() == 2
        seen = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))  # noqa: B023
        thread.start()
        thread.join()
        assert seen == [2], "a thread begun later must not inherit the workers' one"


@pytest.mark.parametrize("name", ["coca_ViT-B-32", pytest.param("coca_ViT-L-14", marks=pytest.mark.slow)])
def test_an_image_is_encoded_to_the_same_bits_anywhere_in_a_batch_and_with_any_threads(name, threads):
    config = shallow_image(name)
    config["text_cfg"] = {**config["text_cfg"], "layers": 1, "vocab_size": 64}
    config["multimodal_cfg"] = {**config["multimodal_cfg"], "layers": 1}
    tower, pictures = coca.build(config).visual, images(3, 224)
    threads(1)
    wanted = encode_exactly(tower, pictures)
    assert torch.equal(encode_exactly(tower, pictures[[2, 0]]), wanted[[2, 0]])
    for count in (2, 3, 5, 8):
        threads(count)
        assert torch.equal(encode_exactly(tower, pictures[1:]), wanted[1:]), count


@pytest.mark.parametrize("size", [(512, 512), (2048, 512), (512, 2048), (1536, 512), (768, 3072), (49408, 512)])
def test_a_row_of_an_exact_product_is_the_same_in_any_tile_and_with_any_threads(size, threads):
    out, inner = size
    weight, bias, x = _random(out, inner, seed=1), _random(out, seed=2), _random(96, inner)
    threads(1)
    exact = Exact()
    whole = exact.linear(x, weight, bias)
    assert torch.allclose(whole, F.linear(x, weight, bias), atol=1e-2, rtol=1e-4)
    row = torch.zeros(32, inner)
    row[7] = x[70]
    assert torch.equal(exact.linear(row, weight, bias)[7], whole[70])
    for count in (2, 3, 5, 8):
        threads(count)
        assert torch.equal(exact.linear(x, weight, bias), whole), count
        assert torch.equal(exact.linear(x[32:64].clone(), weight, None), exact.linear(x, weight, None)[32:64])


@pytest.mark.parametrize("size", [(1024, 1024), (3072, 1024), (1024, 4096), (4096, 1024), (768, 1024), (3072, 768)])
@pytest.mark.parametrize("tokens", [50, 257])
def test_an_images_product_is_the_same_with_any_threads(size, tokens, threads):
    weight, bias, x = _random(*size, seed=1), _random(size[0], seed=2), _random(tokens, size[1])
    threads(1)
    whole = exact_rows(x, weight, bias)
    assert torch.allclose(whole, F.linear(x, weight, bias), atol=1e-2, rtol=1e-4)
    for count in (2, 3, 5, 8):
        threads(count)
        assert torch.equal(exact_rows(x.clone(), weight, bias), whole), count


def test_the_mlp_is_the_same_in_any_tile_and_with_any_threads(threads):
    up, up_bias, down, down_bias = (
        _random(2048, 512),
        _random(2048, seed=1),
        _random(512, 2048, seed=2),
        _random(512, seed=3),
    )
    x, exact = _random(96, 512, seed=4), Exact()
    threads(1)
    whole = exact.mlp(x, up, up_bias, down, down_bias)
    plain = Plain().mlp(x, up, up_bias, down, down_bias)
    assert torch.allclose(whole, plain, atol=1e-2, rtol=1e-4)
    for count in (1, 2, 3, 5, 8):
        threads(count)
        assert torch.equal(exact.mlp(x[64:].clone(), up, up_bias, down, down_bias), whole[64:]), count


def test_row_blocks_are_equal_and_at_least_as_many_as_threads():
    for out in (512, 768, 2048, 2304, 49408, 64000, 1000, 8, 13):
        blocks = row_blocks(_random(out, 3))
        assert blocks.shape[0] * blocks.shape[1] == out
        assert blocks.shape[0] >= min(out, MAX_THREADS)


def test_exact_gelu_is_gelu_with_any_threads(threads):
    threads(1)
    for shape in ((32, 2048), (64, 2048), (257, 4096), (50, 3072), (7, 31)):
        x = _random(*shape)
        wanted = exact_gelu(x)
        assert torch.allclose(wanted, F.gelu(x), atol=1e-6)
        for count in (1, 2, 3, 5, 8):
            threads(count)
            assert torch.equal(exact_gelu(x), wanted), (shape, count)
            assert torch.equal(exact_gelu(x[:32]), wanted[:32]), (shape, count)


def test_plain_arithmetic_multiplies_in_the_weights_type():
    x, weight = _random(3, 8), _random(5, 8, seed=1).bfloat16()
    found = Plain().linear(x, weight, None)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, F.linear(x.bfloat16(), weight))
    assert torch.equal(Plain().image(x, weight, None), found)
