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
from mpcnet.onnx import OnnxError, from_onnx, importer
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
    """On secrets, and so does a copy whose weights lie in a file that one party has."""
    torch.manual_seed(0)
    model = Net().eval()
    file = exported(model, X, tmp_path / "net.onnx")
    graph = tmp_path / "graph.onnx"
    onnx.save(
        onnx.load(file), graph, save_as_external_data=True, location="weights", size_threshold=0,
        convert_attribute=False,
    )  # fmt: skip
    wanted = model(X)
    assert torch.allclose(from_onnx(file)(X), wanted, atol=1e-6)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "graph.onnx").write_bytes(graph.read_bytes())

    async def program(session: Session) -> tuple[Tensor, Tensor]:
        mine = session.rank == 0
        whole = mpcnet.private(from_onnx(file), owner=0)
        folder = tmp_path if mine else elsewhere
        apart = mpcnet.private(from_onnx(folder / "graph.onnx", weights=mine), owner=0)
        x = mpcnet.share(X if not mine else None, owner=1, shape=X.shape)
        with torch.no_grad():
            found = [each(x) for each in (whole, apart)]
        return await mpcnet.reveal(found[0]), await mpcnet.reveal(found[1])

    for found in mpcnet.run(program)[0]:
        assert torch.allclose(found, wanted, atol=1e-4)


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
    with pytest.raises(OnnxError, match="no initializer v"):
        from_onnx(linear(), public=["v"])
    with pytest.raises(TypeError, match="takes 1 tensors: x"):
        from_onnx(linear())()

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importer, "import_module", absent)
    with pytest.raises(OnnxError, match=r"pip install 'mpcnet\[onnx\]'"):
        from_onnx(linear())


def test_what_must_be_public_is_named() -> None:
    model = linear(opset=17)
    model.graph.node[1].op_type = "Pow"
    del model.graph.node[2].attribute[:]

    async def program(session: Session) -> None:
        with pytest.raises(OnnxError, match=r"an exponent must be public.*public=\[\.\.\.\]"):
            mpcnet.private(from_onnx(model), owner=0)(session.constant(torch.ones(1, 2)))

    mpcnet.run(program)
