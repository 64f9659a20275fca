"""What a device needs to be, and its own copies and streams where there is one."""

import asyncio

import pytest
import torch

from protocols.cuda.device import CudaDevice
from protocols.errors import DeviceError
from protocols.label import Label
from protocols.prg import Key
from tests.protocols.cuda.gpu import needs_cuda
from tests.protocols.cuda.pretended import PLACE, Lodger, Pretending

KEY, LABEL = Key(bytes(range(32))), Label("3.open/mask")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_missing_is_an_error_and_not_the_cpu() -> None:
    with pytest.raises(DeviceError, match=r"cuda:0.*use cpu"):
        CudaDevice()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_key_gives_the_same_words_everywhere(dtype: torch.dtype) -> None:
    with Pretending():
        there = KEY.on(PLACE).stream(LABEL, "mask")
        drawn, hidden = there.words((3, 5), dtype), there.hidden(there.words((70,)))
    here = KEY.stream(LABEL, "mask")
    assert isinstance(drawn, Lodger)
    assert torch.equal(drawn.cpu(), here.words((3, 5), dtype))
    assert torch.equal(hidden.cpu(), here.words((70,)) ^ here.words((70,)))


@needs_cuda
async def test_words_of_a_key_on_cuda() -> None:
    device = CudaDevice()
    for size in (1, 1000, 3_000_000):
        stream = KEY.on(device.place).stream(LABEL, "mask")
        x = await device.run(size, lambda s=stream, n=size: s.words((n,)))  # type: ignore[misc]
        assert x.is_cuda
        assert torch.equal(await device.to_host(x), KEY.stream(LABEL, "mask").words((size,)))
    device.close()


@needs_cuda
async def test_tensors_go_there_and_back_while_the_loop_runs() -> None:
    """Chains on all workers, whose memory is used again and again."""
    device = CudaDevice()
    given = [torch.arange(1 << 20) * k for k in range(12)]

    async def chain(x: torch.Tensor) -> torch.Tensor:
        (there,) = await device.from_wire([x])
        for _ in range(5):
            there = await device.run(1 << 20, lambda v: v * 3 + 1, there)
            there = there + 1  # queued by the loop's own thread
        return await device.to_host(there)

    for x, result in zip(given, await asyncio.gather(*map(chain, given)), strict=True):
        for _ in range(5):
            x = x * 3 + 2
        assert torch.equal(result, x)
    device.close()
