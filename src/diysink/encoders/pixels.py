"""An image processor of transformers as a function from images to pixels, by Pillow or by torch.

Pillow's resizing takes more time than decoding a photograph. Torch has the same filters
(``antialias=True``) in vector instructions: after rounding to 8 bits a few pixels in a thousand
differ by one of 255 (`benchmarks/loader.py` measures it).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from transformers.image_transforms import get_resize_output_image_size
from transformers.image_utils import ChannelDimension

ImageProcessor = Callable[[Sequence[Image.Image]], Float[Tensor, "batch channels height width"]]
ImageBackend = Literal["pil", "torch"]
_FILTERS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


class Pixels:
    """From RGB images to float32 pixels.

    Args:
        processor: of transformers.
        backend: what resizes: ``pil``, as the checkpoint was trained with, or ``torch``.

    Raises:
        ValueError: a filter that torch's resizing does not have.
    """

    def __init__(self, processor: Any, backend: ImageBackend = "pil") -> None:
        self.processor, self.backend = processor, backend
        self._stock = processor
        self._fused = False
        if backend == "torch":
            kind = type(processor)
            if processor.resample not in _FILTERS:
                raise ValueError(
                    f"{kind.__name__} resizes with filter {processor.resample!r}; torch has "
                    "bilinear (2) and bicubic (3) alone: set image_backend to pil"
                )
            resizing: Any = type(kind.__name__, (_TorchResize, kind), {})
            self._stock = resizing.from_dict(processor.to_dict())
            self._fused = bool(processor.do_rescale and processor.do_normalize)

    def __reduce__(self) -> Any:
        return Pixels, (self.processor, self.backend)  # torch's resizing is of a class made here

    def __call__(
        self, images: Sequence[Image.Image]
    ) -> Float[Tensor, "batch channels height width"]:
        """The pixels of images."""
        if not self._fused:
            pixels: Tensor = self._stock(images=list(images), return_tensors="pt")["pixel_values"]
            return pixels.to(torch.float32)
        # Of bytes, in one step what transformers does in four.
        scale = self.processor.rescale_factor
        mean, std = (
            torch.tensor(values, dtype=torch.float32)[:, None, None] / scale
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        plain = {"do_rescale": False, "do_normalize": False}
        pixels = self._stock(images=list(images), return_tensors="pt", **plain)["pixel_values"]
        return pixels.to(torch.float32).sub_(mean).div_(std)

    def on(self, backend: ImageBackend) -> "Pixels":
        """The same pixels, resized by another backend."""
        return Pixels(self.processor, backend)

    @property
    def side(self) -> int:
        """What an image's sides are resized to at least, in pixels.

        Raises:
            ValueError: the processor's size does not say.
        """
        size = self.processor.size
        found = size.get("shortest_edge") or max(size.get("height") or 0, size.get("width") or 0)
        if not found:
            raise ValueError(
                f"{type(self.processor).__name__} resizes to {size}, which says nothing of the "
                "shorter side: set decode to exact"
            )
        return int(found)


class _TorchResize:
    """An image processor whose images are resized by torch."""

    def resize(
        self, image: np.ndarray, size: Any, resample: Any = None, **options: Any
    ) -> UInt8[np.ndarray, "channels height width"]:
        if size.shortest_edge and not size.longest_edge:
            wanted = get_resize_output_image_size(
                image,
                size=size.shortest_edge,
                default_to_square=False,
                input_data_format=ChannelDimension.FIRST,
            )
        elif size.height and size.width:
            wanted = (size.height, size.width)
        else:
            raise ValueError(f"torch resizes to shortest_edge, or height and width; not to {size}")
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None],  # as it lies: channels last are faster
            size=tuple(wanted),
            mode=_FILTERS[resample],
            antialias=True,
        )
        found: np.ndarray = resized[0].numpy()
        return found
