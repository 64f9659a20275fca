"""From a file in the ONNX format to a module that runs it, operator by operator, in torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mpcnet.onnx import elementwise, layers, moving
from mpcnet.onnx.nodes import NODES, OnnxError

__all__ = ["OnnxError", "OnnxModel", "from_onnx", "save_graph"]

_FILLED: Final = (elementwise, layers, moving)
"""Modules that fill the table of operators when they are imported."""

_OLDEST_OPSET: Final = 13  # older models are converted to it

_LARGEST_CONSTANT: Final = 16  # elements

_STATISTICS: Final = {"BatchNormalization": (3, 4)}
"""Inputs that are learned in another way than by gradients: they become buffers."""


def from_onnx(
    model: Path | str | Any, *, public: Collection[str] = (), weights: bool = True
) -> OnnxModel:
    """A module that computes what an ONNX model does, for `private`, for training, for anything.

    Initializers of real numbers are its parameters; constants, and whole numbers (shapes, axes,
    indices), belong to the architecture, which is public.

    Args:
        model: a file, or an `onnx.ModelProto`.
        public: names of initializers that everybody may know as well, and that all parties have,
            and of constants that are longer than 16 real numbers.
        weights: whether the weights are there. Without them the file of `save_graph`, or another
            whose weights lie elsewhere, gives zeros: what parties load that know the architecture
            alone.

    Raises:
        OnnxError: the package `onnx` is missing, the file is no model, or it has operators that
            are not supported; all of these are named.
    """
    onnx = _package()
    graph = _current(onnx, _opened(onnx, model, weights), weights).graph
    _check_constants(onnx, graph, public)
    if unknown := sorted({_name(each) for each in graph.node if _name(each) not in NODES}):
        raise OnnxError(f"operators that are not supported: {', '.join(unknown)}")
    values = {each.name: _tensor(onnx, each, weights) for each in graph.initializer}
    given = [each.name for each in graph.input if each.name not in values]
    steps = [_Step(onnx, each) for each in graph.node]
    return OnnxModel(given, [each.name for each in graph.output], steps, values, set(public))


def save_graph(model: Path | str | Any, path: Path | str, *, public: Collection[str] = ()) -> None:
    """Writes an ONNX model without its weights, for parties that are to know the architecture.

    Left out are the initializers that `from_onnx` makes parameters or buffers of; all others, and
    constants among the nodes, stay.

    Args:
        public: names of initializers that stay as well, and of long constants.

    Raises:
        OnnxError: as `from_onnx`.
    """
    onnx = _package()
    stripped = onnx.ModelProto()
    stripped.CopyFrom(_opened(onnx, model, True))
    _check_constants(onnx, stripped.graph, public)
    del stripped.training_info[:]
    for each in stripped.graph.initializer:
        if each.name in public or not _dtype(onnx, each.data_type).is_floating_point:
            continue
        bare = onnx.TensorProto(name=each.name, data_type=each.data_type, dims=each.dims)
        bare.data_location = onnx.TensorProto.EXTERNAL
        bare.external_data.add(key="location", value="weights-are-elsewhere")
        each.CopyFrom(bare)
    Path(path).write_bytes(stripped.SerializeToString())


class _Step:
    """One node of the graph."""

    def __init__(self, onnx: Any, node: Any) -> None:
        self.name: str = node.name or ", ".join(node.output)
        self.operator: str = node.op_type
        self.inputs = list(node.input)
        self.outputs = list(node.output)
        self.attributes = {each.name: _attribute(onnx, each) for each in node.attribute}
        self.attributes["outputs"] = len(self.outputs)
        self.finished: list[str] = []

    def run(self, values: Mapping[str, Tensor]) -> Sequence[Tensor]:
        inputs = [values[name] if name else None for name in self.inputs]
        try:
            found = NODES[self.operator](self.attributes, *inputs)
        except Exception as error:
            error.add_note(f"in the node {self.name!r} ({self.operator}) of the ONNX model")
            raise
        results = [found] if isinstance(found, Tensor) else list(found)
        if any(self.outputs[len(results) :]):
            raise OnnxError(f"only the first output of {self.operator} is supported")
        return results


class OnnxModel(nn.Module):
    """See `from_onnx`, which makes it. Takes the graph's inputs in order; returns its output, or a
    tuple of them."""

    def __init__(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        steps: Sequence[_Step],
        values: Mapping[str, Tensor],
        public: Collection[str],
    ) -> None:
        super().__init__()
        self._inputs, self._outputs, self._steps = list(inputs), list(outputs), list(steps)
        self._public: dict[str, Tensor] = {}
        self._places: dict[str, str] = {}
        constants = {step.outputs[0] for step in steps if step.operator == "Constant"}
        if strangers := sorted({*public} - {*values} - constants):
            raise OnnxError(f"there is no initializer or constant {', '.join(strangers)}")
        statistics = {step.inputs[i] for step in steps for i in _STATISTICS.get(step.operator, ())}
        for name, value in values.items():
            if name in public or not value.is_floating_point():
                self._public[name] = value
                continue
            place = _place(name, self._places.values())
            self._places[name] = place
            if name in statistics:
                self.register_buffer(place, value)
            else:
                self.register_parameter(place, nn.Parameter(value))
        self._forget()

    def forward(self, *inputs: Tensor) -> Any:
        if len(inputs) != len(self._inputs):
            names = ", ".join(self._inputs)
            raise TypeError(f"the model takes {len(self._inputs)} tensors: {names}")
        values = {name: getattr(self, place) for name, place in self._places.items()}
        values.update(self._public)
        values.update(zip(self._inputs, inputs, strict=True))
        for step in self._steps:
            values.update(zip(step.outputs, step.run(values), strict=False))
            for name in step.finished:
                values.pop(name, None)
        results = tuple(values[name] for name in self._outputs)
        return results[0] if len(results) == 1 else results

    def _forget(self) -> None:
        """Notes after which step nobody needs a value any more."""
        seen = {*self._outputs, ""}
        for step in reversed(self._steps):
            names = [*step.inputs, *step.outputs]
            step.finished = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(names)


def _package() -> Any:
    try:
        return import_module("onnx")
    except ImportError:
        raise OnnxError(
            "models in this format need the package onnx: pip install 'mpcnet[onnx]'"
        ) from None


def _opened(onnx: Any, model: Any, weights: bool) -> Any:
    if not isinstance(model, str | Path):
        return model
    try:
        return onnx.load(model, load_external_data=weights)
    except Exception as error:  # protobuf's and onnx's own, of many kinds
        raise OnnxError(f"{model} cannot be read ({type(error).__name__}: {error})") from None


def _current(onnx: Any, model: Any, weights: bool) -> Any:
    """The model, valid and of an opset that is known here."""
    if not isinstance(model, onnx.ModelProto):
        raise OnnxError(f"a {type(model).__name__} is neither a file nor an onnx.ModelProto")
    try:
        if weights:  # which looks for files of weights
            onnx.checker.check_model(model)
        versions = {each.domain: each.version for each in model.opset_import}
        if versions.get("", _OLDEST_OPSET) < _OLDEST_OPSET:
            import_module("onnx.version_converter")
            model = onnx.version_converter.convert_version(model, _OLDEST_OPSET)
    except Exception as error:  # onnx has no common kind
        raise OnnxError(f"the model is not valid ({error})") from None
    return model


def _check_constants(onnx: Any, graph: Any, public: Collection[str]) -> None:
    """Some exporters write weights as constants, which nobody would think to be public."""
    for node in graph.node:
        held = [
            each.t for each in node.attribute if node.op_type == "Constant" and each.HasField("t")
        ]
        for tensor in held:
            count, name = torch.Size(tensor.dims).numel(), node.output[0]
            real = _dtype(onnx, tensor.data_type).is_floating_point
            if real and count > _LARGEST_CONSTANT and name not in public:
                raise OnnxError(
                    f"the constant {name!r} holds {count} real numbers, which would be public as "
                    f"all constants are: if everybody may know them, name it in public=[...]; if "
                    f"they are weights, export them as initializers"
                )


def _name(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(onnx, value, True)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.name == "to":
        return _dtype(onnx, value)
    if isinstance(value, list):
        return [each.decode() if isinstance(each, bytes) else each for each in value]
    return value


def _dtype(onnx: Any, number: int) -> torch.dtype:
    """Of what torch has: what is real and has another width is float32."""
    name = str(onnx.helper.tensor_dtype_to_np_dtype(number))
    known: Any = getattr(torch, name, None)
    if isinstance(known, torch.dtype):
        return known
    if name.startswith(("bfloat", "float")):
        return torch.float32
    raise OnnxError(f"tensors of {name} are not supported")


def _tensor(onnx: Any, tensor: Any, weights: bool) -> Tensor:
    """An initializer, or a constant."""
    if not weights and tensor.data_location == onnx.TensorProto.EXTERNAL:
        dtype = _dtype(onnx, tensor.data_type)
        if not dtype.is_floating_point:
            raise OnnxError(f"{tensor.name} belongs to the architecture, and its file is not here")
        return torch.zeros(tuple(tensor.dims))
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (TypeError, ValueError) as error:
        raise OnnxError(f"the tensor {tensor.name!r} cannot be read ({error})") from None
    if _dtype(onnx, tensor.data_type).is_floating_point:
        array = array.astype("float32")
    return torch.from_numpy(array.copy())


def _place(name: str, taken: Collection[str]) -> str:
    """A name for a parameter of a module, which may have no dot in it."""
    place = "".join(c if c.isalnum() else "_" for c in name).strip("_") or "weight"
    place = f"w_{place}" if place[0].isdigit() or hasattr(nn.Module, place) else place
    found, number = place, 2
    while found in taken:
        found, number = f"{place}_{number}", number + 1
    return found
