"""Reading a picture from a file, and bringing it to what a network reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from apps.images.config import ImageConfig
from mpcnet.errors import AppError, FileError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PictureError", "network_input", "read_picture"]

_FORMATS: Final = ("PNG", "JPEG")
_EIGHT_BITS: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # Pillow's modes
_MAX_PIXELS: Final = 50_000_000
_LONGEST: Final = 50  # times the shorter side
_FULL: Final = 255.0


class PictureError(FileError):
    """A picture cannot be used."""


def read_picture(path: Path, config: ImageConfig) -> Tensor:
    """What a network reads of a PNG or JPEG file, made in the clear by the picture's owner.

    The shorter side is brought to `size / crop` pixels, bilinearly as torchvision does it, and the
    middle is cut out, after a photograph is turned as its camera noted. Transparency is left out.

    Returns:
        (channels, size, size)

    Raises:
        PictureError: the file is absent, no picture of these kinds, or too large; or it has more
            than 8 bits a channel, where only its owner knows which of them stand for white.
        AppError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise AppError(
            "pictures are read with Pillow, which is not installed: pip install 'mpcnet[images]'"
        ) from None
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise PictureError(path, f"it has more than {_MAX_PIXELS:,} pixels")
            if max(picture.size) > _LONGEST * min(picture.size):
                raise PictureError(path, f"one side is more than {_LONGEST} times the other")
            if picture.mode not in _EIGHT_BITS:
                raise PictureError(path, f"bring its pixels, {picture.mode}, to 8 bits a channel")
            return _fitted(ImageOps.exif_transpose(picture), config)
    except FileNotFoundError:
        raise PictureError(path, "there is no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise PictureError(path, f"it is no picture that can be read ({error})") from error


def _fitted(picture: Image, config: ImageConfig) -> Tensor:
    from PIL.Image import Resampling

    picture = picture.convert("L" if config.channels == 1 else "RGB")
    shorter = round(config.size / config.crop)
    width, height = (shorter * side // min(picture.size) for side in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Resampling.BILINEAR)
    left, top = round((width - config.size) / 2), round((height - config.size) / 2)
    picture = picture.crop((left, top, left + config.size, top + config.size))
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    grid = pixels.view(config.size, config.size, config.channels).permute(2, 0, 1)
    return network_input(grid.float() / _FULL, config)


def network_input(pixels: Tensor, config: ImageConfig) -> Tensor:
    """Pixels from 0 to 1, (..., channels, size, size), as the network reads them."""
    mean = torch.tensor(config.mean).view(-1, 1, 1)
    return (pixels - mean) / torch.tensor(config.std).view(-1, 1, 1)
