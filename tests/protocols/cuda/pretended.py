"""A device that is not there: tensors that say that they lie on cuda:0, and compute on the CPU.

What a machine with CUDA refuses is refused here, too: operands of which some lie on the device and
some do not (but for single numbers), numpy, products of integer matrices, and views of received
bytes. So all but the device's
arithmetic and its streams runs in these tests as it would there, with the same choice of kernels.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from protocols.cuda.device import DetachedDevice
from protocols.device import Hold

__all__ = ["PLACE", "Lodger", "PretendedDevice", "Pretending", "lodged"]

T = TypeVar("T")

PLACE = torch.device("cuda", 0)

_HALVES = (Tensor.__getitem__, Tensor.copy_)
"""What takes operands from both sides: an index from the CPU is copied."""


_OF_FLOATS = {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "addmm", "baddbmm"}
_OF_FLOATS |= {"einsum", "tensordot", "conv1d", "conv2d", "conv3d", "im2col", "col2im"}
"""What CUDA has for floating-point numbers only."""


class Lodger(Tensor):
    """A tensor on the device that is not there."""

    device = PLACE  # type: ignore[assignment]
    is_cuda = True  # type: ignore[assignment]
    is_cpu = False  # type: ignore[assignment]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func in (Tensor.to, Tensor.cpu):
            return _moved(func, args, kwargs)
        if func is Tensor.get_device:
            return PLACE.index
        if func not in _HALVES:
            foreign = [t for t in _tensors(args, kwargs) if not isinstance(t, Lodger) and t.dim()]
            assert not foreign, f"{func.__name__} of tensors on cuda:0 and on the CPU"
            if func.__name__.removesuffix(".default") in _OF_FLOATS:
                real = all(t.dtype.is_floating_point for t in _tensors(args, kwargs))
                assert real, f"{func.__name__} of integers on cuda:0"
        result = super().__torch_function__(func, types, args, kwargs)
        if func is Tensor.copy_:
            return args[0]
        return result


class Pretending(TorchFunctionMode):
    """In its block tensors can be made on the device, and pinned memory is ordinary memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        kwargs.pop("pin_memory", None)
        if func is Tensor.pin_memory:
            return args[0].clone()
        if func is Tensor.to:
            return _moved(func, args, kwargs)
        there = _cuda(kwargs.get("device"))
        if there:
            del kwargs["device"]
        result = func(*args, **kwargs)
        return lodged(result) if there else result


def lodged(x: Tensor) -> Tensor:
    """The same memory, as if it lay on the device."""
    return x.as_subclass(Lodger)


def _moved(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """`x.to(...)` and `x.cpu()`, copied when they go from one side to the other."""
    (x, *rest), there = args, isinstance(args[0], Lodger)
    if func is Tensor.cpu:
        target = False
    else:
        named = [v for v in (*rest, *kwargs.values()) if isinstance(v, str | torch.device)]
        target = _cuda(named[0]) if named else there
        rest = [v for v in rest if not isinstance(v, str | torch.device)]
        kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    bare: Tensor = x.as_subclass(Tensor)
    if func is Tensor.to and (rest or kwargs):
        bare = bare.to(*rest, **kwargs)
    if there != target:
        bare = bare.clone()
    return lodged(bare) if target else bare


def _cuda(device: object) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def _tensors(*values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


class PretendedDevice(DetachedDevice):
    """The device that is not there; its workers are real."""

    def __init__(self, busy: Hold) -> None:
        super().__init__(busy, 2, PLACE)

    def _on_worker(self, kernel: Callable[[], T]) -> Callable[[], T]:
        return lambda: self._at_once(kernel)

    def _at_once(self, kernel: Callable[[], T]) -> T:
        with Pretending():
            return kernel()
