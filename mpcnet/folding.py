"""Rewriting a model before its weights are hidden, so that it costs less."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

__all__ = ["fold"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_RELUS: set[Any] = {torch.relu, functional.relu}
_POOLING: set[Any] = {functional.max_pool1d, functional.max_pool2d, functional.max_pool3d}


class _RowsLinear(nn.Module):
    """A linear layer that a batch norm went into.

    Of three dimensions the norm would count the second, but the layer the last: not the same.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError(f"a batch norm was folded for rows, not for {x.dim()} dimensions")
        result: Tensor = self.linear(x)
        return result


def fold(model: nn.Module) -> nn.Module:
    """The same function, in another order of work; every party folds its copy, before `private`.

    * A batch norm in evaluation goes into the weights of the convolution or linear layer before it:
      a product and its truncation less. Equal but for the rounding of float32.
    * A max pool goes before the ReLU before it: as many comparisons fewer as the pool makes values
      fewer. Equal to the last bit, for a maximum commutes with what never falls.

    Only what is found to be alone is changed: a layer that is used once, whose result goes nowhere
    else. The model is traced for that (`torch.fx`); weights are copied where they change, and
    shared where they do not.

    Raises:
        ValueError: the model cannot be traced, because Python branches on its values or shapes;
            fold the parts that can.
    """
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:  # whatever the model's own code raises on a proxy
        what = f"{type(model).__name__} cannot be traced: {error}; fold its parts"
        raise ValueError(what) from error
    for node in list(traced.graph.nodes):
        _fold_norm(traced, node)
    for node in list(traced.graph.nodes):
        _pool_first(traced, node)
    traced.graph.lint()
    traced.recompile()
    return traced.train(model.training)


def _fold_norm(model: fx.GraphModule, node: fx.Node) -> None:
    norm = _module(model, node, _NORMS)
    before = node.args[0] if node.args else None
    if norm is None or not isinstance(before, fx.Node) or len(before.users) != 1:
        return
    if norm.training or not norm.track_running_stats or norm.running_mean is None:
        return
    convolution = _module(model, before, _CONVOLUTIONS)
    linear = _module(model, before, (nn.Linear,))
    if convolution is not None and not convolution.training:
        fused: nn.Module = fuse_conv_bn_eval(convolution, norm)
    elif linear is not None and not linear.training and type(norm) is nn.BatchNorm1d:
        fused = _RowsLinear(fuse_linear_bn_eval(linear, norm))
    else:
        return
    model.set_submodule(str(before.target), fused)
    node.replace_all_uses_with(before)
    model.graph.erase_node(node)
    model.delete_submodule(str(node.target))


def _pool_first(model: fx.GraphModule, node: fx.Node) -> None:
    if not _is_pool(model, node) or not isinstance(before := node.args[0], fx.Node):
        return
    if not _is_relu(model, before) or len(before.users) != 1:
        return
    source = before.args[0]
    if not isinstance(source, fx.Node):
        return
    node.replace_input_with(before, source)
    node.replace_all_uses_with(before)
    before.replace_input_with(source, node)
    node.append(before)


def _is_relu(model: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return _module(model, node, (nn.ReLU,)) is not None
    if node.op == "call_method":
        return node.target in ("relu", "relu_") and len(node.args) == 1
    return node.op == "call_function" and node.target in _RELUS


def _is_pool(model: fx.GraphModule, node: fx.Node) -> bool:
    if not node.args:
        return False
    if node.op == "call_module":
        pool = _module(model, node, _POOLS)
        return pool is not None and not pool.return_indices
    indices = bool(node.kwargs.get("return_indices", False))
    return node.op == "call_function" and node.target in _POOLING and not indices


def _module(model: fx.GraphModule, node: fx.Node, kinds: tuple[type, ...]) -> Any:
    """The module that a node calls, if it is of these kinds, without hooks, and used once."""
    if node.op != "call_module":
        return None
    module = model.get_submodule(str(node.target))
    if type(module) not in kinds or module._forward_hooks or module._forward_pre_hooks:
        return None
    uses = [
        each
        for each in model.graph.nodes
        if each.op == "call_module" and model.get_submodule(str(each.target)) is module
    ]
    return module if len(uses) == 1 or isinstance(module, nn.ReLU) else None
