"""The precision guard: what it measures, what it names, and where it refuses to work."""

import asyncio
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mpcnet
from mpcnet import Precision, Session
from mpcnet.cli import main
from mpcnet.errors import ConfigError, PrecisionError, SecretError, UnsupportedOperator
from mpcnet.precision import Operation
from protocols.ring.ring import RingBits

HERE = Path(__file__).name


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
        for weight in self.parameters():
            nn.init.constant_(weight, 0.25)
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x) * self.gain
        return torch.softmax(y, -1)


X = torch.linspace(-3, 3, 16).view(2, 1, 8)


def found(report: Precision) -> dict[tuple[str, str, bool], Operation]:
    return {(x.module, x.operator, x.backward): x for x in report.layers}


def test_a_model_and_its_backward_pass_layer_by_layer() -> None:
    model = Network()
    report = mpcnet.debug(model, X, loss=lambda y: (y[:, 0] * 3).sum())
    assert (report.ring_bits, report.scale_bits, report.parties) == (64, 22, 2)
    report.check()
    assert report.first_trouble is report.first_vanished is None
    assert report.max_abs_error < 1e-4
    layers = found(report)
    convolution = layers["body.0 (Conv1d)", "convolution", False]
    exact = model.body[0](X).detach()
    assert convolution.shape == (2, 2, 6)
    assert (convolution.low, convolution.high) == pytest.approx(
        (float(exact.min()), float(exact.max()))
    )
    assert 0 < convolution.error < 1e-5
    assert convolution.used == pytest.approx(float(exact.abs().max()) / 2**18, rel=0.5)
    assert 15 < convolution.headroom_bits < 19
    assert layers["body.3 (Linear)", "mm", True].uses == 2
    assert layers["body.1 (ReLU)", "threshold", True].backward
    line = layers["Network", "mul", False].place
    assert line.startswith(f"{HERE}:")
    assert layers["Network", "_softmax", False].place != line
    assert "body.0 (Conv1d)" in str(report)
    assert "bits are left" in report.verdict
    assert all(type(weight) is nn.Parameter for weight in model.parameters())


@pytest.mark.parametrize(
    ("ring_bits", "gain", "advice"), [(64, 2.5e5, "scale_bits ="), (48, 1e4, "ring_bits = 64")]
)
def test_the_first_operator_out_of_range_is_named(
    ring_bits: RingBits, gain: float, advice: str
) -> None:
    model = Network()
    model.gain = gain
    report = mpcnet.debug(model, X, ring_bits=ring_bits, protocols=False)
    first = report.first_trouble
    assert first is not None
    assert (first.operator, first.module) == ("mul", "Network")
    assert first.used >= 1
    assert first.headroom_bits <= 0
    assert advice in first.advice
    with pytest.raises(PrecisionError, match=rf"mul in the module Network at {HERE}:\d+ left its"):
        report.check()


def test_what_the_protocols_make_of_too_large_values_is_seen() -> None:
    report = mpcnet.debug(lambda x: (x * 1e3).relu(), torch.full((2,), 300.0))
    assert report.first_trouble is not None
    assert report.first_trouble.operator == "mul"
    assert report.max_abs_error > 1e4
    report = mpcnet.debug(lambda x: x + 1, torch.full((2,), 3e5))
    assert report.first_trouble is not None
    assert report.first_trouble.operator == "share"
    assert "The protocols ended early" in report.verdict


DOMAINS = {
    "log": (lambda x: (x * x).log(), 1e-4, "4.77e-07 or more"),
    "rsqrt": (lambda x: torch.rsqrt(x), -1.0, "comes down to -1"),
    "reciprocal": (lambda x: 1 / x, 1e-5, "3.05e-05 or more"),
    "div": (lambda x: (x + 1) / x, -1e-5, "divisor"),
    "log1p": (lambda x: torch.log1p(x), -1.5, "plus 1"),
    "pow": (lambda x: x**-0.5, -1.0, "must be"),
    "exp": (lambda x: (x * 1).exp(), 14.0, "result reaches 1.2"),
    "native_layer_norm": (
        lambda x: nn.functional.layer_norm(x * x[2], (3,), eps=1e-9), 1e-4, "must be 4.77e-07"
    ),
}  # fmt: skip


@pytest.mark.parametrize("operator", DOMAINS)
def test_domains(operator: str) -> None:
    function, value, words = DOMAINS[operator]
    x = torch.tensor([1.0, 2.0, value])
    first = mpcnet.debug(function, x, protocols=False).first_trouble
    assert first is not None
    assert first.operator == operator
    assert words in first.trouble
    assert first.advice
    assert mpcnet.debug(function, torch.tensor([1.0, 2.0, 0.5]), protocols=False).first_trouble is (
        None
    )


def test_a_gradient_that_vanishes_is_named() -> None:
    def squeezed(x: Tensor) -> Tensor:
        return torch.sigmoid(x * 2).mean()

    report = mpcnet.debug(squeezed, torch.full((4,), 4.0), loss=lambda y: y * 1e-5)
    vanished = report.first_vanished
    assert vanished is not None
    assert (vanished.operator, vanished.backward) == ("mul", True)
    assert report.first_trouble is None
    assert "Multiply the loss by a power of two" in report.verdict
    better = mpcnet.debug(squeezed, torch.full((4,), 4.0), loss=lambda y: y * 1e-5 * 2**20)
    assert better.first_vanished is None


async def training(session: Session) -> list[float]:
    """What makes twins difficult: a value that comes late, views, changes in place, randomness."""

    async def late() -> Tensor:
        await asyncio.sleep(0)
        return torch.arange(6.0).view(2, 3)

    x = mpcnet.share(late() if session.rank == 2 else None, owner=2, shape=(2, 3))
    w = mpcnet.share(torch.ones(3, 2) if session.rank == 0 else None, owner=0, shape=(3, 2))
    w.requires_grad_()
    y = x.t().reshape(2, 3) @ w
    nn.functional.dropout(y, 0.5).sum().backward()
    with torch.no_grad():
        base = x * 1
        row = base[1]
        row += 1.0
        base.t()[2:].mul_(2)
        norm = nn.functional.layer_norm(base, (3,))
        place = base.argmax(1)
        told = (torch.where(base > 2.5, base, norm) + place.view(2, 1)).sum(0)
        w -= w.grad * 0.5
    return (await told.reveal()).tolist()  # type: ignore[no-any-return]


async def test_a_program_of_three_parties_within_a_loop() -> None:
    report = mpcnet.debug(training, parties=3)
    assert report.parties == 3
    assert report.notes == ()
    assert report.first_trouble is None
    assert report.max_abs_error < 1e-4
    operators = [x.operator for x in report.operations]
    assert operators[:2] == ["share", "share"]
    assert "native_dropout" in operators or "mul" in operators
    assert all(x.place.startswith(HERE) for x in report.operations)


async def test_it_never_works_inside_of_a_program() -> None:
    async def program(session: Session) -> None:
        mpcnet.debug(torch.relu, X)

    with pytest.raises(SecretError, match="outside of programs"):
        await mpcnet.local(2).run(program)

    async def shared(session: Session) -> list[Tensor]:
        return [session.constant(torch.ones(1))]

    async with mpcnet.local(2, suite="clear") as parties:
        secret = (await parties.run(shared))[0][0]
        with pytest.raises(SecretError, match="plain tensors"):
            mpcnet.debug(torch.relu, secret)


def test_what_goes_wrong_otherwise_is_told() -> None:
    with pytest.raises(UnsupportedOperator, match="acos"):
        mpcnet.debug(torch.acos, X)
    with pytest.raises(ConfigError, match="ring"):
        mpcnet.debug(torch.relu, X, ring_bits=32)  # type: ignore[arg-type]
    for parties in (1, 20, ["anna", "anna"]):
        with pytest.raises(ConfigError, match="parties"):
            mpcnet.debug(torch.relu, X, parties=parties)


def test_indices_and_integers_have_ranges_too() -> None:
    def picked(x: Tensor, index: Tensor) -> Tensor:
        return x.gather(0, index)

    x = torch.arange(4.0)
    assert mpcnet.debug(picked, x, torch.tensor([3, 0])).first_trouble is None
    beyond = mpcnet.debug(picked, x, torch.tensor([5, 0]), protocols=False).first_trouble
    assert beyond is not None
    assert (beyond.operator, "index 5" in beyond.trouble) == ("gather", True)
    large = mpcnet.debug(lambda y: y * y, torch.tensor([1 << 31]), protocols=False).first_trouble
    assert large is not None
    assert large.operator == "mul"


SCRIPT = """
import mpcnet, torch
async def main(session):
    x = mpcnet.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
    print("printed")
    return (await (x * 3e5).relu().reveal()).tolist()
"""


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], own_logging: None) -> None:
    script = tmp_path / "large.py"
    script.write_text(SCRIPT)
    assert main(["debug", str(script)]) == 4
    shown = capsys.readouterr()
    assert "large.py:6" in shown.out
    assert "printed" not in shown.out
    assert "mul at large.py:6 left its range" in shown.err


def test_layers_of_an_lstm_and_back() -> None:
    """torch has them in one piece, whose twins are made of parts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.LSTM(3, 4, bidirectional=True)
    x = torch.linspace(-1, 1, 18).view(3, 2, 3)
    layers = found(mpcnet.debug(model, x, loss=lambda y: (y[0] * y[0]).sum(), protocols=False))
    for backward in (False, True):
        layer = layers["LSTM", "mkldnn_rnn_layer", backward]
        assert layer.uses == 2
        assert layer.error is not None
        assert layer.error < 1e-3
