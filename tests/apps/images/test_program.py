"""Private classification: who learns what, and that weights cross the network once."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from apps.images.app import APP
from apps.images.config import DIGITS, DIGITS_WEIGHTS, ImageConfig
from apps.images.digits import split
from apps.images.program import ImageSettings, Reading, classify, labels_of
from apps.images.resnet import ResNet
from mpcnet import fold
from mpcnet.app import DemoPlan
from mpcnet.errors import AppError, ConfigError
from mpcnet.session import Session
from tests.parties import NAMES, run_parties

CAMERA, MODEL = NAMES[:2]
SHAPE = (1, 3, 32, 32)


def network() -> ResNet:
    torch.manual_seed(5)
    made = ResNet((1, 1, 1, 1), bottleneck=False, classes=7, width=8)
    return made.eval().requires_grad_(False)


async def test_weights_cross_the_network_once_and_classes_reach_their_owner_alone() -> None:
    pictures = torch.randn(2, *SHAPE)

    async def program(session: Session) -> tuple[list[Reading], list[tuple[int, int]]]:
        stats = session.suite.party.exchange.stats[1 - session.rank]
        sent = [(stats.online_payload_sent, stats.offline_payload_sent)]
        model = session.private(fold(network()), owner=MODEL)
        await session.prepared()
        sent.append((stats.online_payload_sent, stats.offline_payload_sent))
        readings = []
        for picture in pictures:
            mine = picture if session.name == CAMERA else None
            readings.append(await classify(session, model, mine, owner=CAMERA, shape=SHAPE, top=3))
            await session.barrier()
            sent.append((stats.online_payload_sent, stats.offline_payload_sent))
        return readings, [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(sent)]

    (readings, _), (others, sent) = (await run_parties(program)).results
    plain = network()
    for picture, reading in zip(pictures, readings, strict=True):
        assert torch.equal(reading.classes, plain(picture).topk(3, 1).indices)
        assert reading.logits is None
    assert all(other.classes.numel() == 0 and other.logits is None for other in others)
    weights = [w for w in fold(plain).parameters() if w.dim() > 1]
    once, *each = sent
    hidden = 8 * sum(w.numel() for w in weights)
    assert once == (0, hidden)
    # What the network's owner sends for a picture are openings, too few to hold the weights again.
    assert all(sum(picture) < hidden / 4 for picture in each)


def settings(**fields: Any) -> ImageSettings:
    return ImageSettings(model_owner=MODEL, picture_owner=CAMERA, model=DIGITS, **fields)


async def played(own: dict[str, ImageSettings], program: Any = None) -> list[dict[str, Any]]:
    async def part(session: Session) -> Any:
        return await APP.run(session, own[session.name], lambda name, fields: None)

    return (await run_parties(part)).results


def kept(folder: Path, pictures: Tensor) -> Path:
    save_file({"pictures": pictures.clone()}, folder / "pictures.safetensors")
    return folder / "pictures.safetensors"


async def test_a_service_reads_digits_in_passes(tmp_path: Path) -> None:
    pictures = split()[1][0]
    file = kept(tmp_path, pictures[:5])
    mine = settings(batch=3, pictures=(file,))
    results = await played({CAMERA: mine, MODEL: settings(batch=3, weights=DIGITS_WEIGHTS)})
    _, model = ImageConfig.load(DIGITS_WEIGHTS)
    plain = [[str(int(i))] for i in model(pictures[:5]).argmax(1)]
    assert [each["classes"] for each in results[0]["pictures"]] == plain
    assert [each["file"] for each in results[0]["pictures"]] == list("01234")
    assert [each["pictures"] for each in results[0]["passes"]] == [3, 2]
    assert "pictures" not in results[1]
    assert APP.shapes(mine) == 5


async def test_logits_are_revealed_if_that_was_agreed_on_and_a_demonstration_shows_them(
    tmp_path: Path,
) -> None:
    pictures, labels = split()[1]
    pictures = pictures[:4]
    asked = {"top": 2, "reveals": "logits"}
    own = settings(pictures=(kept(tmp_path, pictures),), **asked)
    results = await played({CAMERA: own, MODEL: settings(weights=DIGITS_WEIGHTS, **asked)})
    row = results[0]["pictures"][0]
    assert len(row["classes"]) == len(row["probabilities"]) == 2
    assert row["probabilities"][0] > 0.5 > row["probabilities"][1]
    plan = DemoPlan(
        parties=["camera", "model"],
        settings={},
        extra={
            "settings": own,
            "pictures": pictures,
            "names": [f"digit {i}" for i in range(4)],
            "truth": [str(int(y)) for y in labels[:4]],
            "weights": DIGITS_WEIGHTS,
        },
    )
    reports = {
        name: {"result": result, "traffic": {"peer": {"online": 1, "offline": 2}}}
        for name, result in zip(["camera", "model", "dealer"], [*results, None], strict=True)
    }
    outcome = APP.conclude(plan, reports)
    assert all(each["equal"] for each in outcome["pictures"])
    assert "4 of 4 are read as the plain network reads them" in shown(outcome)
    assert "digit 3" in shown(outcome)
    for each in outcome["pictures"]:
        each["classes"] = each["classes"][:1]
    assert "█" in shown(outcome)


def shown(outcome: dict[str, Any]) -> str:
    console = Console(width=120, record=True, file=StringIO())
    console.print(APP.table(outcome))
    return console.export_text()


async def test_an_owner_without_weights_is_told(tmp_path: Path) -> None:
    own = settings(pictures=(kept(tmp_path, split()[1][0][:1]),))
    with pytest.raises(ConfigError, match=r"app\.weights: .* must name its weights"):
        await played({CAMERA: own, MODEL: settings()})


def test_labels_come_from_a_file_where_the_model_has_none(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\n")
    bare = msgspec.structs.replace(DIGITS, labels=())
    with pytest.raises(AppError, match="2 lines for 10 classes"):
        labels_of(msgspec.structs.replace(settings(labels=names), model=bare))
    assert labels_of(settings(labels=names)) == DIGITS.labels
    names.write_text("\n".join("abcdefghij"))
    assert labels_of(msgspec.structs.replace(settings(labels=names), model=bare))[3] == "d"


def test_no_more_classes_are_asked_for_than_there_are() -> None:
    with pytest.raises(ValueError, match="11"):
        settings(top=11)
