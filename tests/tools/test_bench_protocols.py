"""The benchmark of the protocols: what it counts is what the protocols declare."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mpcnet.session import Session
from protocols.additive.comparison import relu_cost
from protocols.additive.product import product_cost
from protocols.additive.truncation import truncate_cost
from protocols.cost import Cost
from protocols.fixedpoint import SCALE_BITS
from protocols.ring.bilinear import Bilinear, Convolution, MatrixProduct, Multiply, Shape
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties
from tools.bench_cases import CASES, LeNet5, layer_elements
from tools.bench_trial import Outcome, measure

MODELS = [name for name, case in CASES.items() if case.model is not None]
ROOT = Path(__file__).parents[2]
SCALE = 64

TRUNCATED = {
    "mul_1e6": Multiply(),
    "matmul_512": MatrixProduct(),
    "matmul_1024": MatrixProduct(),
    "conv2d_64x56x56_k3": Convolution((1, 1), (1, 1), (1, 1)),
}


async def outcomes(name: str, n: int = 2, ring: Ring = RING) -> list[Outcome]:
    async def program(session: Session) -> Outcome:
        return await measure(session, CASES[name], SCALE, 1, os.getpid())

    return (await run_parties(program, n, ring=ring)).results


def truncated(operation: Bilinear, x: Shape, y: Shape) -> Cost:
    whole = product_cost(operation, x, y)
    return whole + truncate_cost(operation.output_shape(x, y), SCALE_BITS)


def declared(name: str) -> Cost:
    shapes = CASES[name].shapes(SCALE)
    if name in TRUNCATED:
        return truncated(TRUNCATED[name], *shapes)
    return relu_cost(*shapes, 0, RING.value_bits - SCALE_BITS)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", [*TRUNCATED, "relu_1e6"])
async def test_what_is_counted_is_what_is_declared(name: str, n: int) -> None:
    cost = declared(name)
    results = await outcomes(name, n)
    runs = [outcome.runs[0] for outcome in results]
    assert [run.rounds for run in runs] == [cost.rounds] * n
    assert [8 * run.payload_sent for run in runs] == [cost.bits * (n - 1)] * n
    assert [8 * run.offline_bytes for run in runs] == [0] * (n - 1) + [cost.offline_bits]
    assert all(run.bytes_sent > run.payload_sent for run in runs)
    assert all(run.ahead_bytes == 0 for run in runs)


@pytest.mark.parametrize(
    ("name", "ring"),
    [*((name, RING) for name in CASES), *((name, Ring(48)) for name in MODELS)],
    ids=str,
)
async def test_every_case_is_right(name: str, ring: Ring) -> None:
    results = await outcomes(name, ring=ring)
    runs = [outcome.runs[0] for outcome in results]
    # Powers reach e^8 here, and may be off by 2^-f of themselves.
    finest = 1e-3 if name == "exp_1e5" else 1e-4
    assert runs[1].error < finest * 2 ** (SCALE_BITS - ring.scale_bits)
    assert all(run.seconds > 0 and run.offline_seconds > 0 and run.rounds > 0 for run in runs)
    assert all(outcome.layer_bytes == 8 * layer_elements(CASES[name], SCALE) for outcome in results)


async def test_a_models_weights_are_hidden_once_and_apart() -> None:
    model, x = CASES["wav2letter_1s"].build(SCALE), CASES["wav2letter_1s"].shapes(SCALE)[0]
    assert model is not None
    first, second = await outcomes("wav2letter_1s")
    assert first.setup_seconds > 0
    weights = 8 * sum(weight.numel() for weight in model.parameters())
    assert first.runs[0].bytes_sent < weights
    assert second.runs[0].bytes_sent < weights
    assert 8 * torch.Size(x).numel() <= first.runs[0].payload_sent


def test_the_largest_layer() -> None:
    assert layer_elements(CASES["mul_1e6"], 1) == 3 * 10**6
    assert layer_elements(CASES["relu_1e6"], 1) == 2 * 10**6
    maps, filters = 64 * 56 * 56, 64 * 64 * 9
    assert layer_elements(CASES["conv2d_64x56x56_k3"], 1) == 2 * maps + filters
    # 2000 channels of 51 steps from 250 of 50, by kernels of 32
    assert layer_elements(CASES["wav2letter_1s"], 1) == 250 * 50 + 2000 * (250 * 32 + 1 + 51)


def test_lenet5_is_the_one_of_the_paper() -> None:
    model = LeNet5()
    assert sum(weight.numel() for weight in model.parameters()) == 61_706
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_processes_over_a_network() -> None:
    options = ["--cases", "mul_1e6", "--scale", "1000", "--runs", "2", "--link", "delay=20ms"]
    options += ["--ring-bits", "48"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "protocols", "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["case"] == "mul_1e6"
    assert figures["parties"] == 2
    assert figures["ring_bits"] == 48
    assert figures["rounds"] == 2
    assert figures["seconds"] > 0.04  # two rounds of 20 ms
    assert figures["cpu_seconds"] > 0
    assert figures["dealer_cpu_seconds"] > 0
    assert figures["offline_bytes"] == (6 + 6 + 4) * 1000
    assert figures["max_abs_error"] < 1e-3
    assert figures["target_seconds"] == 0.1
    assert figures["ratio"] > 0.4
