"""Images resized by torch are those of Pillow but for one step of 255 here and there."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)

from diysink.encoders import Pixels, to_pixels

PROCESSORS = [
    CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
    SiglipImageProcessorPil(size={"height": 64, "width": 64}),
    ViTImageProcessorPil(size={"height": 48, "width": 48}),
    BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}),
]


@pytest.fixture(scope="module")
def images():
    draws = np.random.default_rng(0)
    coarse = draws.integers(0, 255, (9, 12, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
    return [smooth, smooth.rotate(90, expand=True), smooth.resize((40, 30))]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: type(p).__name__)
def test_torch_resizes_as_pillow_does_to_one_of_255(processor, images):
    exact = to_pixels(processor)
    fast = exact.on("torch")
    one = processor.rescale_factor / np.array(processor.image_std)  # of 255
    for image in images:
        mine, theirs = fast([image]), exact([image])
        steps = (mine - theirs).abs().amax(dim=(0, 2, 3)).numpy() / one
        assert mine.shape == theirs.shape
        assert steps.max() < 1.01
        assert ((mine - theirs).abs() > 1e-3).float().mean() < 0.02


def test_without_resizing_the_pixels_are_those_of_transformers():
    """The scaling of bytes in one step is that of four."""
    processor = CLIPImageProcessorPil(do_resize=False, do_center_crop=False)
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    torch.testing.assert_close(
        Pixels(processor, "torch")([image]), Pixels(processor)([image]), rtol=0, atol=1e-6
    )


def test_a_filter_that_torch_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="set image_backend to pil"):
        Pixels(CLIPImageProcessorPil(resample=Image.Resampling.LANCZOS), "torch")


@pytest.mark.parametrize("backend", ["pil", "torch"])
def test_it_goes_to_other_processes(backend, images):
    pixels = Pixels(PROCESSORS[0], backend)
    assert torch.equal(pickle.loads(pickle.dumps(pixels))(images[:1]), pixels(images[:1]))


def test_a_size_that_says_nothing_of_the_shorter_side_is_an_error():
    processor = CLIPImageProcessorPil(size={"longest_edge": 56, "shortest_edge": 0})
    with pytest.raises(ValueError, match="set decode to exact"):
        _ = Pixels(processor).side
