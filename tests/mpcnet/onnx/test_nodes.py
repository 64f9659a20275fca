"""Each ONNX operator beside the reference of the package `onnx`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from mpcnet.onnx import OnnxError, from_onnx
from mpcnet.onnx.nodes import NODES


def reals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + len(shape)))


def whole(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


X, Y, P = reals(2, 3, 4), reals(3, 4, seed=1), reals(2, 3, 4).abs() + 0.5
IMAGE = reals(2, 4, 6, 5)
TRUE = X > 0


@dataclass
class Case:
    """An operator, its inputs and attributes."""

    name: str
    inputs: tuple[Tensor | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 22

    def __str__(self) -> str:
        told = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.name}({len(self.inputs)}{', ' if told else ''}{told})"[:60]


def case(name: str, *inputs: Tensor | None, outputs: int = 1, opset: int = 22, **at: Any) -> Case:
    return Case(name, inputs, at, outputs, opset)


UNARY = (
    "Abs Ceil Cos Erf Exp Floor HardSwish Identity Mish Neg Relu Round Sigmoid Sign Sin Softplus"
)
CASES = [
    *(case(name, X) for name in [*UNARY.split(), "Softsign", "Tanh", "Elu", "Celu", "Selu"]),
    *(case(name, P) for name in ("Log", "Reciprocal", "Sqrt")),
    *(case(name, X, Y) for name in ("Add", "Sub", "Mul", "Equal", "Greater", "GreaterOrEqual")),
    *(case(name, X, Y) for name in ("Less", "LessOrEqual", "Max", "Min", "Mean", "Sum")),
    *(case(name, TRUE, TRUE.flip(0)) for name in ("And", "Or", "Xor")),
    case("Not", TRUE),
    case("Where", TRUE, X, Y),
    case("IsNaN", X),
    case("Div", X, P),
    case("Div", whole(7, -7), whole(2, 2)),
    case("Mod", whole(7, -7), whole(3, 3)),
    case("Mod", X, P, fmod=1),
    case("Pow", X, torch.tensor(2.0)),
    case("Pow", P, torch.tensor([0.5])),
    case("Elu", X, alpha=0.5),
    case("Selu", X, alpha=0.5, gamma=2.0),
    case("LeakyRelu", X, alpha=0.2),
    case("PRelu", X, Y),
    case("ThresholdedRelu", X, alpha=0.3),
    case("Gelu", X),
    case("Gelu", X, approximate="tanh"),
    case("Swish", X, alpha=0.5, opset=24),
    case("HardSigmoid", X, alpha=0.3, beta=0.4),
    case("Clip", X, torch.tensor(-0.5), torch.tensor(0.5)),
    case("Clip", X, None, torch.tensor(0.5)),
    case("Cast", X, to=onnx.TensorProto.INT64),
    case("Cast", TRUE, to=onnx.TensorProto.FLOAT),
    case("CastLike", X, whole(1)),
    case("MatMul", X, reals(4, 2)),
    case("Gemm", reals(4, 2), reals(3, 4), reals(3), transA=1, transB=1, alpha=0.5, beta=2.0),
    case("Gemm", reals(2, 4), reals(4, 3)),
    case("Einsum", X, Y, equation="bij,ij->bi"),
    case("Softmax", X, axis=1),
    case("LogSoftmax", X),
    *(
        case(f"Reduce{name}", P, axes, keepdims=keep)
        for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum")
        for axes, keep in ((whole(0, -1), 0), (None, 1))
    ),
    case("ReduceLogSumExp", X, whole(1), keepdims=0),
    case("ReduceSum", X, whole(), noop_with_empty_axes=1),
    case("ReduceMean", X, axes=[1], opset=13),
    case("ArgMax", X, axis=1, keepdims=0),
    case("ArgMin", X, axis=-1),
    case("TopK", X, whole(2), outputs=2, largest=0),
    case("CumSum", X, torch.tensor(1), reverse=1, exclusive=1),
    case("LpNormalization", X, axis=1),
    case("LpNormalization", P, p=1),
    case("Conv", IMAGE, reals(6, 2, 3, 3), reals(6), group=2, pads=[1, 0, 2, 1], strides=[2, 1]),
    case("Conv", IMAGE, reals(3, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", reals(1, 2, 9), reals(3, 2, 3), dilations=[2], auto_pad="VALID"),
    case("ConvTranspose", IMAGE, reals(4, 3, 3, 3), strides=[2, 2], output_padding=[1, 0]),
    case("ConvTranspose", IMAGE, reals(4, 3, 3, 3), reals(3), pads=[1, 0, 0, 1]),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], pads=[1, 1, 1, 1], strides=[2, 2]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", IMAGE, kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
    case("GlobalAveragePool", IMAGE),
    case("GlobalMaxPool", IMAGE),
    case("BatchNormalization", IMAGE, *(reals(4, seed=i).abs() + 0.1 for i in range(4))),
    case("InstanceNormalization", IMAGE, reals(4), reals(4, seed=1)),
    case("LayerNormalization", X, Y, Y, axis=1),
    case("RMSNormalization", X, reals(4), opset=23),
    case("GroupNormalization", IMAGE, reals(4), reals(4, seed=1), num_groups=2),
    case("LSTM", reals(5, 2, 3), reals(1, 16, 3), reals(1, 16, 4), reals(1, 32), outputs=3,
         hidden_size=4),
    case("GRU", reals(5, 2, 3), reals(1, 12, 3), reals(1, 12, 4), reals(1, 24), outputs=2,
         hidden_size=4, linear_before_reset=1),
    case("Resize", IMAGE, None, torch.tensor([1.0, 1, 2, 2]), mode="nearest",
         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    case("Resize", IMAGE, None, None, whole(2, 4, 9, 7), mode="linear"),
    case("Constant", value_floats=[1.0, 2.0]),
    case("ConstantOfShape", whole(2, 3)),
    case("Shape", X, start=1),
    case("Size", X),
    case("Range", torch.tensor(1), torch.tensor(9), torch.tensor(3)),
    case("Reshape", X, whole(0, -1)),
    case("Flatten", IMAGE, axis=-1),
    case("Transpose", X),
    case("Transpose", Y, perm=[1, 0]),
    case("Squeeze", reals(1, 3, 1), whole(0)),
    case("Squeeze", reals(1, 3, 1)),
    case("Unsqueeze", Y, whole(0, -1)),
    case("Concat", X, X, axis=1),
    case("Split", X, whole(1, 3), outputs=2, axis=2),
    case("Split", reals(7, 2), outputs=3, num_outputs=3),
    case("Slice", X, whole(0, -3), whole(1, 9), whole(0, 2), whole(1, 2)),
    case("Slice", X, whole(-1), whole(-9), whole(1), whole(-1)),
    case("Expand", Y, whole(2, 1, 4)),
    case("Tile", Y, whole(2, 3)),
    case("Pad", X, whole(0, 1, 2, 0, 0, 1), torch.tensor(1.5)),
    case("Pad", X, whole(1, 2), None, whole(2), mode="reflect"),
    case("Gather", X, whole(2, -1), axis=1),
    case("Gather", X, torch.tensor(-1)),
    case("GatherElements", Y, torch.tensor([[0, -1, 2, 1]]), axis=0),
    case("Trilu", Y, torch.tensor(1)),
    case("Trilu", Y, upper=0),
    case("DepthToSpace", IMAGE, blocksize=2),
    case("DepthToSpace", IMAGE, blocksize=2, mode="CRD"),
    case("SpaceToDepth", reals(1, 2, 4, 6), blocksize=2),
]  # fmt: skip


def model_of(each: Case) -> onnx.ModelProto:
    names = [f"i{i}" if x is not None else "" for i, x in enumerate(each.inputs)]
    kinds = [
        onnx.helper.np_dtype_to_tensor_dtype(x.numpy().dtype) for x in each.inputs if x is not None
    ]
    given = [x for x in each.inputs if x is not None]
    inputs = [
        make_tensor_value_info(name, kind, list(x.shape))
        for name, kind, x in zip(filter(None, names), kinds, given, strict=True)
    ]
    outputs = [f"o{i}" for i in range(each.outputs)]
    node = make_node(each.name, names, outputs, **each.attributes)
    results = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, []) for name in outputs]
    graph = make_graph([node], "one", inputs, results)
    return make_model(graph, opset_imports=[make_opsetid("", each.opset)], ir_version=10)


@pytest.mark.parametrize("each", CASES, ids=str)
def test_an_operator_is_computed_as_onnx_says(each: Case) -> None:
    model = model_of(each)
    names = [value.name for value in model.graph.input]
    given = [x for x in each.inputs if x is not None]
    reference = ReferenceEvaluator(model)
    wanted = reference.run(None, dict(zip(names, (x.numpy() for x in given), strict=True)))
    found = from_onnx(model)(*given)
    for one, other in zip(found if each.outputs > 1 else [found], wanted, strict=True):
        assert tuple(one.shape) == np.shape(other)
        assert one.numpy().dtype == np.asarray(other).dtype
        assert np.allclose(one.numpy(), other, atol=1e-4)


def test_every_operator_is_tested() -> None:
    untested = {"Dropout"}  # what it does is to be left out
    assert {each.name for each in CASES} == {*NODES} - untested


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (case("MaxPool", IMAGE, kernel_shape=[2, 2], pads=[0, 0, 1, 1]), "as much padding before"),
        (case("MaxPool", IMAGE, outputs=2, kernel_shape=[2, 2]), "only the first output"),
        (case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]), "without dilation"),
        (case("ArgMax", X, select_last_index=1), "the last one is not supported"),
        (case("ConvTranspose", IMAGE, reals(4, 3, 3, 3), output_shape=[8, 8]), "with pads"),
        (case("GRU", X, reals(1, 6, 4), reals(1, 6, 2), hidden_size=2), "linear_before_reset"),
        (case("LSTM", X, reals(1, 8, 4), reals(1, 8, 2), hidden_size=2, clip=1.0), "as torch has"),
        (case("Resize", IMAGE, None, torch.ones(4), mode="cubic"), "cubic, half_pixel"),
        (case("Conv", reals(1, 1, 1, 1, 1, 1), reals(1, 1, 1, 1, 1, 1)), "4 dimensions"),
    ],
    ids=str,
)
def test_what_is_not_computed_is_refused(each: Case, said: str) -> None:
    given = [x for x in each.inputs if x is not None]
    with pytest.raises(OnnxError, match=said) as found:
        from_onnx(model_of(each))(*given)
    assert each.outputs > 1 or f"in the node 'o0' ({each.name})" in found.value.__notes__[0]
