"""ONNX models on secrets, beside torch."""

import copy
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from torch import Tensor, nn

import mpcnet
from mpcnet.onnx import OnnxError, from_onnx, importer, save_graph
from mpcnet.session import Session

FLOAT = onnx.TensorProto.FLOAT
X = torch.linspace(-1, 1, 2 * 36).view(2, 1, 6, 6)


class Net(nn.Module):
    """With a shape that is reckoned, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x).transpose(1, 2).reshape(x.shape[0], 3, -1)
        result: Tensor = torch.softmax(self.head(self.norm(y)) / 1.5, -1)
        return result


def exported(model: nn.Module, x: Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of the older exporter
        torch.onnx.export(model, (x,), str(path), dynamo=False, opset_version=17)
    return path


def test_a_model_of_torch_comes_back(tmp_path: Path) -> None:
    """On secrets, where one party has the weights and the other the graph alone."""
    torch.manual_seed(0)
    model = Net().eval()
    file = exported(model, X, tmp_path / "net.onnx")
    graph = tmp_path / "graph.onnx"
    save_graph(file, graph)
    kept = onnx.load(graph, load_external_data=False).graph.initializer
    assert not any(each.raw_data for each in kept if each.data_type == FLOAT)
    wanted = model(X)
    assert torch.allclose(from_onnx(file)(X), wanted, atol=1e-6)
    assert torch.allclose(from_onnx(onnx.load(file))(X), wanted, atol=1e-6)
    with pytest.raises(OnnxError, match="cannot be read"):
        from_onnx(graph)

    async def program(session: Session) -> Tensor:
        mine = session.rank == 0
        given = from_onnx(file if mine else graph, weights=mine)
        x = mpcnet.share(X if not mine else None, owner=1, shape=X.shape)
        with torch.no_grad():
            found = mpcnet.private(given, owner=0)(x)
        return await mpcnet.reveal(found)

    assert torch.allclose(mpcnet.run(program)[0], wanted, atol=1e-4)


def linear(**options: Any) -> onnx.ModelProto:
    """x @ w / c, once with an old opset."""
    weights = {"w": torch.tensor([[1.0, 2], [3, 4]]), "2/c": torch.tensor([2.0])}
    nodes = [make_node("MatMul", ["x", "w"], ["y"]), make_node("Div", ["y", "2/c"], ["z"])]
    nodes += [make_node("Squeeze", ["z"], ["s"], axes=[0])]
    graph = make_graph(
        nodes,
        "linear",
        [make_tensor_value_info("x", FLOAT, [1, 2])],
        [make_tensor_value_info("s", FLOAT, [2])],
        [numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()],
    )
    opset = make_opsetid("", options.pop("opset", 11))
    return make_model(graph, opset_imports=[opset], ir_version=8)


def test_weights_are_parameters_unless_they_are_public() -> None:
    model = from_onnx(linear())
    assert dict(model.named_parameters()).keys() == {"w", "w_2_c"}
    model = from_onnx(linear(), public=["2/c"])
    assert dict(model.named_parameters()).keys() == {"w"}
    x = torch.ones(1, 2)
    assert copy.deepcopy(model)(x).tolist() == [2, 3]

    async def program(session: Session) -> Tensor:
        private = mpcnet.private(from_onnx(linear(), public=["2/c"]), owner=0)
        private(mpcnet.share(x if session.rank else None, owner=1, shape=(1, 2))).sum().backward()
        slope: Any = private.w.grad  # type: ignore[union-attr]
        return await mpcnet.reveal(slope)

    assert torch.allclose(mpcnet.run(program)[0], torch.full((2, 2), 0.5), atol=1e-5)


def test_what_cannot_be_imported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 9)
    strange = linear(opset=17)
    strange.graph.node[2].op_type = "Hardmax"
    broken = linear(opset=17)
    broken.graph.node[0].op_type = "None of them"
    for given, said in (
        (tmp_path / "none.onnx", "cannot be read"),
        (tmp_path / "x.onnx", "cannot be read"),
        (3, "neither a file nor"),
        (broken, "not valid"),
    ):
        with pytest.raises(OnnxError, match=said):
            from_onnx(given)
    del strange.graph.node[2].attribute[:]
    with pytest.raises(OnnxError, match="not supported: Hardmax"):
        from_onnx(strange)
    with pytest.raises(OnnxError, match="no initializer or constant v"):
        from_onnx(linear(), public=["v"])
    with pytest.raises(TypeError, match="takes 1 tensors: x"):
        from_onnx(linear())()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importer, "import_module", absent)
    with pytest.raises(OnnxError, match=r"pip install 'mpcnet\[onnx\]'"):
        from_onnx(linear())


def test_weights_that_were_written_as_constants_do_not_become_public(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(torch.ones(2, 9).numpy())
    model = linear(opset=17)
    model.graph.node.insert(0, make_node("Constant", [], ["w"], value=weight))
    del model.graph.initializer[0]
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 9
    del model.graph.node[3].attribute[:]
    with pytest.raises(OnnxError, match="'w' holds 18 real numbers, which would be public"):
        from_onnx(model)
    with pytest.raises(OnnxError, match="'w' holds 18"):
        save_graph(model, tmp_path / "graph")
    assert from_onnx(model, public=["w"])(torch.ones(1, 2)).tolist() == [1] * 9


def test_what_must_be_public_is_named() -> None:
    model = linear(opset=17)
    model.graph.node[1].op_type = "Pow"
    del model.graph.node[2].attribute[:]

    async def program(session: Session) -> None:
        with pytest.raises(OnnxError, match=r"an exponent must be public.*public=\[\.\.\.\]"):
            mpcnet.private(from_onnx(model), owner=0)(session.constant(torch.ones(1, 2)))

    mpcnet.run(program)
