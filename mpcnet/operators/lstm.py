"""A layer of an LSTM in the fused form that `torch.nn.LSTM` asks for, and its backward pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import operator, secrets
from mpcnet.tensor import SecretTensor

__all__ = ["lstm_layer"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload

_LSTM = 2
"""What torch's binding of oneDNN calls an LSTM."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Passed:
    """What the forward pass went through, with the steps in the order in which they were taken.

    Attributes:
        gates: (time, batch, hidden) each: input, forget, cell and output gate.
        bent: tanh of the cell after each step.
        cells: before each step.
        hidden: before each step.
    """

    gates: tuple[Tensor, Tensor, Tensor, Tensor]
    bent: Tensor
    cells: Tensor
    hidden: Tensor


@operator(aten.mkldnn_rnn_layer.default)
def lstm_layer(
    func: Overload,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    hidden: Tensor,
    cell: Tensor,
    reverse: bool,
    batch_sizes: list[int],
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """One layer of an LSTM in one direction; x (time, batch, features)."""
    if mode != _LSTM or batch_sizes:
        raise UnsupportedOperator(f"{func} of packed sequences", "an LSTM of padded sequences")
    sums = functional.linear(x, weight, bias + recurrent_bias if has_biases else None)
    hidden, cell = hidden.view(-1, hidden_size), cell.view(-1, hidden_size)
    steps = []
    for each in reversed(sums.unbind(0)) if reverse else sums.unbind(0):
        parts = (each + functional.linear(hidden, recurrent)).chunk(4, 1)
        gates = [parts[0].sigmoid(), parts[1].sigmoid(), parts[2].tanh(), parts[3].sigmoid()]
        before = [cell, hidden]
        cell = gates[1] * cell + gates[0] * gates[2]
        bent = cell.tanh()
        hidden = gates[3] * bent
        steps.append([*gates, bent, *before, hidden])
    outputs = [step[-1] for step in steps]
    workspace: Any = torch.empty(0)
    if train:
        columns = list(zip(*steps, strict=True))[:-1]
        i, f, g, o, bent, cells, hiddens = (torch.stack(column) for column in columns)
        workspace = secrets(steps)[0].session.constant(torch.zeros(()))
        workspace.content.trace = _Passed((i, f, g, o), bent, cells, hiddens)
    return torch.stack(outputs[::-1] if reverse else outputs), hidden, cell, workspace


@operator(aten.mkldnn_rnn_layer_backward.default)
def _layer_backward(
    func: Overload,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    hidden: Tensor,
    cell: Tensor,
    output: Tensor,
    last_hidden: Tensor,
    last_cell: Tensor,
    grad_output: Tensor | None,
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    reverse: bool,
    *more: Any,
) -> tuple[Tensor, ...]:
    """For x, the two matrices, the two biases, and the state at the beginning.

    What does not depend on the gradient is multiplied for all steps at once; then a step back takes
    three products, one after the other.
    """
    workspace = more[-1]
    passed = workspace.content.trace if isinstance(workspace, SecretTensor) else None
    if not isinstance(passed, _Passed):
        raise UnsupportedOperator(str(func), "an LSTM that was run in training: model.train()")
    i, f, g, o = passed.gates
    along = torch.cat(
        [g * (i - i * i), passed.cells * (f - f * f), i * (1 - g * g)], -1
    )  # of the sums of three gates by the cell
    across, down = passed.bent * (o - o * o), o * (1 - passed.bent * passed.bent)
    dh, dc = _flat(grad_hidden, o[0]), _flat(grad_cell, o[0])
    times, sums = list(range(len(o))), []
    for t in reversed(times):
        if grad_output is not None:
            dh = dh + grad_output[len(o) - 1 - t if reverse else t]
        dc = dc + dh * down[t]
        sums.append(torch.cat([dc.repeat(1, 3) * along[t], dh * across[t]], -1))
        dh, dc = sums[-1] @ recurrent, dc * f[t]
    whole = torch.stack(sums[::-1])  # in the order of the steps
    placed = whole.flip(0) if reverse else whole
    rows = whole.flatten(0, 1)
    for_bias = rows.sum(0)
    return (
        placed @ weight,
        placed.flatten(0, 1).t() @ x.flatten(0, 1),
        rows.t() @ passed.hidden.flatten(0, 1),
        for_bias,
        for_bias.clone(),
        dh.view(hidden.shape),
        dc.view(cell.shape),
    )


def _flat(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros(like.shape) if grad is None else grad.reshape(like.shape)
