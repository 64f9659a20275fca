"""The device that is configured is the one that computes, or nothing runs."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from mpcnet.cli import main
from mpcnet.computation import ComputationSettings, check_device, open_device, with_device
from mpcnet.config import Config, load_config
from mpcnet.errors import ConfigError, exit_code
from mpcnet.prepare import prepare_as_dealer
from mpcnet.runtime import run_dealer, run_program
from protocols.errors import DeviceError

TEXT = """
session = "s"
name = "d"
[[parties]]
name = "a"
[[parties]]
name = "b"
url = "tcp://127.0.0.1:7001"
[dealer]
name = "d"
url = "tcp://127.0.0.1:7002"
[link]
plaintext = true
"""

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def configured(folder: Path, table: str = "") -> Config:
    file = folder / "d.toml"
    file.write_text(TEXT + table)
    return load_config(file)


def test_the_cpu_unless_another_is_named(tmp_path: Path) -> None:
    config = configured(tmp_path)
    check_device(config.computation)
    device = open_device(config.computation, lambda: pytest.fail("nothing runs"), workers=2)
    assert device.place == torch.device("cpu")
    device.close()


@pytest.mark.parametrize(
    ("name", "index"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)]
)
def test_devices_by_their_names(tmp_path: Path, name: str, index: int | None) -> None:
    config = configured(tmp_path, f'[computation]\ndevice = "{name}"\n')
    assert config.computation.cuda == index
    assert config.digest() == configured(tmp_path).digest()  # its own business
    assert with_device(config, "cpu").computation == ComputationSettings()
    assert with_device(config, None) is config


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", "cuda:0 ", "mps", ""])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    config = configured(tmp_path)
    with pytest.raises(ConfigError, match=r"computation\.device"):
        with_device(config, name)
    with pytest.raises(ConfigError, match=r"computation\.device"):
        configured(tmp_path, f'[computation]\ndevice = "{name}"\n')


@no_cuda
async def test_what_is_missing_is_said_before_anybody_is_dialled(tmp_path: Path) -> None:
    config = configured(tmp_path, '[computation]\ndevice = "cuda:0"\n')

    def quiet(name: str, fields: dict[str, Any]) -> None:
        pytest.fail("nothing runs")

    party = msgspec.structs.replace(config, name="a")
    for part in (
        run_program(party, "digest", lambda session: session.prepared(), quiet),
        run_dealer(config, quiet),
        prepare_as_dealer(config, quiet),
    ):
        with pytest.raises(DeviceError, match=r"cuda:0.*use cpu") as caught:
            await part
        assert exit_code(caught.value) == 2


@no_cuda
def test_the_option_goes_before_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, '[computation]\ndevice = "cpu"\n').path
    assert main(["dealer", "--config", str(path), "--device", "cuda:0"]) == 2
    assert "device 'cuda:0'" in capsys.readouterr().err
