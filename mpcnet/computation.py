"""Where a participant computes: the [computation] table, and --device in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from mpcnet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from mpcnet.config import Config  # which has such a table
    from protocols.device import Device, Hold

__all__ = [
    "ComputationSettings",
    "check_device",
    "named_device",
    "open_device",
    "with_device",
]

_DeviceName = Annotated[str, msgspec.Meta(pattern="^(cpu|cuda|cuda:[0-9]{1,3})$")]


class ComputationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this participant computes with; its own business.

    Attributes:
        device: "cpu", or a CUDA device as torch names it: "cuda:0". "cuda" is the first one.
    """

    device: _DeviceName = "cpu"

    @property
    def cuda(self) -> int | None:
        """The number of the CUDA device, or None for the CPU."""
        kind, _, index = self.device.partition(":")
        return int(index or 0) if kind == "cuda" else None


def named_device(device: str, file: str | Path = "") -> ComputationSettings:
    """The settings with this device.

    Raises:
        ConfigError: no device is called so.
    """
    try:
        return msgspec.convert({"device": device}, ComputationSettings)
    except msgspec.ValidationError:
        why = f"is 'cpu', or a CUDA device such as 'cuda:0', not {device!r}"
        raise ConfigError(file, "computation.device", why) from None


def with_device(config: Config, device: str | None) -> Config:
    """The configuration with another device, or as it is if that is None.

    Raises:
        ConfigError: no device is called so.
    """
    if device is None:
        return config
    return msgspec.structs.replace(config, computation=named_device(device, config.path))


def check_device(computation: ComputationSettings) -> None:
    """Looks whether the device is there and gets it ready, before anybody is connected.

    Raises:
        DeviceError: it is not.
    """
    if computation.cuda is not None:
        from protocols.cuda.device import prepare_cuda

        prepare_cuda(computation.cuda)


def open_device(computation: ComputationSettings, busy: Hold, workers: int = 1) -> Device:
    """The device.

    Args:
        busy: entered while a kernel is in flight.
        workers: threads for kernels on the CPU; a CUDA device has its own number.

    Raises:
        DeviceError: it is not there. The CPU never takes its place.
    """
    from protocols.cuda.device import CudaDevice
    from protocols.device import Device

    index = computation.cuda
    return Device(busy, workers) if index is None else CudaDevice(busy, index=index)
