"""The service as two organizations run it, prepared before there are pictures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import save_file

from apps.images.config import DIGITS, DIGITS_WEIGHTS, ImageConfig
from apps.images.digits import split
from mpcnet.app import DemoPlan
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import run_party
from mpcnet.store import with_store


def quiet(name: str, fields: dict[str, Any]) -> None:
    """Shows no events."""


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_run_is_prepared_before_there_are_pictures(tmp_path: Path) -> None:
    public = {"model_owner": "lab", "picture_owner": "clinic"}
    public["model"] = msgspec.to_builtins(DIGITS)
    own: dict[str, dict[str, Any]] = {
        "clinic": public | {"pictures": ["today.safetensors"], "prepare_count": 3},
        "lab": public | {"weights": str(DIGITS_WEIGHTS)},
    }
    files = lay_out(DemoPlan(["clinic", "lab"], own), "images", tmp_path, "tcp")

    def config(name: str) -> Config:
        return with_store(load_config(files[name]), tmp_path / f"store-{name}")

    parties = [config("clinic"), config("lab")]
    told, *_ = await asyncio.gather(
        *(prepare_as_party(each, quiet, runs=1) for each in parties),
        prepare_as_dealer(load_config(files["dealer"]), quiet),
    )
    assert told["prepared"]["shapes"] == [3, 0]
    pictures = split()[1][0][:3].clone()
    save_file({"pictures": pictures}, tmp_path / "today.safetensors")
    clinic, lab = await asyncio.gather(
        *(run_party(each, quiet, store_only=True) for each in parties)
    )
    plain = ImageConfig.load(DIGITS_WEIGHTS)[1](pictures).argmax(1)
    read = [each["classes"] for each in clinic["result"]["pictures"]]
    assert read == [[str(int(digit))] for digit in plain]
    assert "pictures" not in lab["result"]
