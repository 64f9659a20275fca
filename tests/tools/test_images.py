"""Training and measuring networks for pictures: what is held out, resuming, agreement."""

from __future__ import annotations

import io
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image

from apps.images.config import CIFAR10
from apps.images.digits import split
from tools.cifar_data import Pictures, read_all, read_cifar, read_held_out
from tools.images_private import main as compare
from tools.train_digits import accuracy, train
from tools.train_images import TrainingRun


def test_the_last_pictures_of_each_class_are_held_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for label in range(10):
            for number in range(201):
                content = io.BytesIO()
                Image.new("RGB", (32, 32), (25 * label, 0, number)).save(content, "JPEG")
                name = f"train/{CIFAR10.labels[label]}/{number:04}.jpg"
                archive.writestr(name, content.getvalue())
    training, held_out = read_cifar(tmp_path / "train.zip")
    assert training.labels.tolist() == list(range(10))
    assert len(held_out.labels) == 2000
    colour = training.pixels[:, 0].float().mean((1, 2))
    assert (colour - 25 * torch.arange(10)).abs().max() < 4
    assert torch.equal(read_held_out(tmp_path / "train.zip").pixels, held_out.pixels)
    assert len(read_all(tmp_path / "train.zip").labels) == 2010


def asked(folder: Path, **changes: object) -> Namespace:
    settings = {
        "compile": False,
        "epochs": 4,
        "minutes": float("inf"),
        "rate": 0.2,
        "run": folder,
        "seed": 1,
        "small_until": 0.5,
        "width": 4,
    }
    return Namespace(**{**settings, **changes})


def test_a_training_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (130, 3, 32, 32), dtype=torch.uint8)
    some = Pictures(pixels, torch.arange(130) % 10)
    first = TrainingRun(asked(tmp_path), some)
    first.epoch()
    second = TrainingRun(asked(tmp_path, seed=2), some)
    assert second.state.startswith("epoch 1,")
    for key, value in first.average.state_dict().items():
        assert torch.equal(second.average.state_dict()[key], value)
    assert not second.over
    in_no_time = TrainingRun(asked(tmp_path, minutes=1e-9, small_until=0.0), some)
    in_no_time.epoch()
    assert in_no_time.over


def test_digits_are_learnt() -> None:
    (pictures, labels), unseen = split()
    assert accuracy(train((pictures, labels), epochs=3, seed=1), unseen) > 0.5


def test_agreement_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["images_private", "digits", "--count", "30"])
    assert compare() == 0
    assert "0 picture(s) are read otherwise" in capsys.readouterr().out
