"""Image processors without torchvision: the size and the numbers that a checkpoint wants."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diysink.encoders import load_encoder, load_image_processor
from tests.encoders.towers import MAKERS, SIDE


def picture(width=40, height=30):
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("family", MAKERS)
def test_pictures_of_any_size_fit_the_encoder(family, towers):
    pixels = load_image_processor(towers[family])([picture(), picture(25, 60)])
    assert pixels.shape == (2, 3, SIDE, SIDE)
    assert pixels.dtype == torch.float32
    assert load_encoder(towers[family])(pixels).isfinite().all()


def test_normalisation_is_the_checkpoints(towers):
    grey = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pixels = load_image_processor(towers["siglip"])([grey])
    torch.testing.assert_close(pixels, torch.ones_like(pixels))  # (1 - 0.5) / 0.5
    pixels = load_image_processor(towers["siglip2"])([grey])
    torch.testing.assert_close(pixels, torch.ones_like(pixels))


def test_dinov3_s_processor_is_not_needed(tmp_path):
    """Its class is one of torchvision; the settings are those of facebook/dinov3-vit*."""
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 24, "width": 24}, '
        '"do_center_crop": null, "resample": 2, "do_normalize": true, "do_rescale": true, '
        '"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}'
    )
    pixels = load_image_processor(tmp_path)([Image.new("RGB", (40, 30), (255, 0, 255))])
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(pixels, expected[None, :, None, None].expand(1, 3, 24, 24))


def test_an_old_name_is_understood(towers, tmp_path):
    settings = json.loads((towers["clip"] / "preprocessor_config.json").read_text())
    del settings["image_processor_type"]
    settings["feature_extractor_type"] = "CLIPFeatureExtractor"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    pixels = load_image_processor(tmp_path)([picture()])
    assert torch.equal(pixels, load_image_processor(towers["clip"])([picture()]))


def test_another_processor_is_refused(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text('{"image_processor_type": "Sam3ImageProcessor"}')
    with pytest.raises(ValueError, match=r"'Sam3ImageProcessor'; supported are .*CLIPImage"):
        load_image_processor(tmp_path)


def test_no_processor_at_all(tmp_path):
    with pytest.raises(OSError, match="is an empty folder"):
        load_image_processor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip_vision_model"}')
    with pytest.raises(OSError, match="preprocessor_config"):
        load_image_processor(tmp_path)
