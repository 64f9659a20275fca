"""Pictures: files to what a network reads, our own drawings, digits as text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.images.config import (
    CIFAR10,
    CIFAR10_WEIGHTS,
    DIGITS,
    DIGITS_WEIGHTS,
    ImageConfig,
    imagenet,
)
from apps.images.digits import HELD_OUT, drawn, split
from apps.images.drawings import drawings
from apps.images.pictures import PictureError, network_input, read_picture


def painted(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8)
    picture = Image.frombytes("RGB", (32, 32), bytes(pixels.flatten().tolist()))
    picture.save(tmp_path / "a.png")
    mean, std = torch.tensor(CIFAR10.mean), torch.tensor(CIFAR10.std)
    wanted = ((pixels.float() / 255 - mean) / std).permute(2, 0, 1)
    torch.testing.assert_close(read_picture(tmp_path / "a.png", CIFAR10), wanted)


def test_the_middle_of_a_larger_one_is_read(tmp_path: Path) -> None:
    picture = Image.new("RGB", (600, 300), (0, 0, 0))
    picture.paste((255, 255, 255), (200, 0, 400, 300))
    picture.save(tmp_path / "wide.png")
    read = read_picture(tmp_path / "wide.png", imagenet("resnet18"))
    assert read.shape == (3, 224, 224)
    white, black = (1 - 0.485) / 0.229, -0.485 / 0.229
    assert float(read[0, 112, 112]) == pytest.approx(white)
    assert float(read[0, 112, 4]) == pytest.approx(black)  # 4 of 224 is 46 of 300 from the middle


def test_grey_is_made_of_colour(tmp_path: Path) -> None:
    read = read_picture(painted(tmp_path / "a.jpg", (20, 30), (255, 255, 255)), DIGITS)
    assert read.shape == (1, 8, 8)
    torch.testing.assert_close(read, torch.full((1, 8, 8), (1 - 0.305) / 0.376))


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"text\.png: it is no picture"):
        read_picture(tmp_path / "text.png", CIFAR10)
    with pytest.raises(PictureError, match="no such file"):
        read_picture(tmp_path / "absent.png", CIFAR10)
    painted(tmp_path / "a.gif", (9, 9), (1, 2, 3)).rename(tmp_path / "a.png")
    with pytest.raises(PictureError, match="it is no picture"):
        read_picture(tmp_path / "a.png", CIFAR10)
    with pytest.raises(PictureError, match="more than 50 times the other"):
        read_picture(painted(tmp_path / "line.png", (600, 2), (1, 2, 3)), CIFAR10)
    torn = painted(tmp_path / "b.png", (300, 300), (1, 2, 3))
    torn.write_bytes(torn.read_bytes()[:200])
    with pytest.raises(PictureError, match="it is no picture"):
        read_picture(torn, CIFAR10)


def test_sixteen_bits_are_refused_and_not_cut_off(tmp_path: Path) -> None:
    deep = Image.frombytes("I;16", (8, 8), b"\x40\x9c" * 64)
    deep.save(tmp_path / "scan.png")
    with pytest.raises(PictureError, match=r"scan\.png: bring its pixels, I;16, to 8 bits"):
        read_picture(tmp_path / "scan.png", DIGITS)


def test_a_photograph_is_turned_as_its_camera_noted(tmp_path: Path) -> None:
    upright = Image.new("L", (8, 8), 0)
    upright.paste(255, (0, 0, 8, 4))  # bright above
    noted = Image.Exif()
    noted[0x0112] = 6  # "turn by 90 degrees clockwise"
    upright.rotate(90).save(tmp_path / "turned.png", exif=noted)
    upright.save(tmp_path / "upright.png")
    turned, wanted = (
        read_picture(tmp_path / f"{name}.png", DIGITS) for name in ("turned", "upright")
    )
    torch.testing.assert_close(turned, wanted)


def test_drawings_are_pictures() -> None:
    made = drawings(32)
    assert set(made) <= set(CIFAR10.labels)
    for picture in made.values():
        assert picture.shape == (3, 32, 32)
        assert 0 <= float(picture.min()) < float(picture.max()) <= 1


def test_a_digit_is_four_lines_of_blocks() -> None:
    picture = torch.zeros(1, 8, 8)
    picture[0, 0, 1] = picture[0, 3, 2] = picture[0, 6:, 3] = 1.0
    assert drawn(picture) == [" ▀      ", "  ▄     ", "        ", "   █    "]


def test_the_shipped_network_reads_digits_that_it_never_saw() -> None:
    (seen, _), (pictures, labels) = split()
    assert len(pictures) == HELD_OUT
    assert not (seen[:, None] == pictures[None, :50]).flatten(2).all(2).any()
    config, model = ImageConfig.load(DIGITS_WEIGHTS)
    assert config == DIGITS
    assert float((model(pictures).argmax(1) == labels).float().mean()) >= 0.98


def test_the_shipped_network_tells_what_is_drawn() -> None:
    config, model = ImageConfig.load(CIFAR10_WEIGHTS)
    assert config == CIFAR10
    drawn_scenes = drawings(config.size)
    pictures = network_input(torch.stack(list(drawn_scenes.values())), config)
    found = model(pictures).argmax(1).tolist()
    assert [config.labels[each] for each in found] == list(drawn_scenes)
