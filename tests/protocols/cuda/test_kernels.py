"""Each step of comparison, truncation and selection on a device against compiled loops."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from protocols.chunks import chunk_bits, look_up, table_dtype
from protocols.cuda.choice import cuda_seconds
from protocols.cuda.compiler import Launch, compiled
from protocols.cuda.fused import FusedKernels
from protocols.cuda.kernels import CudaKernels
from protocols.cuda.limbs import by_floats
from protocols.label import Label
from protocols.points import deal, evaluate, key_words
from protocols.prg import Key
from protocols.ring import library
from protocols.ring.bits import pack, unpack, word_count
from protocols.ring.convolution import Convolution, TransposedConvolution
from protocols.ring.kernels import Kernels
from protocols.ring.library import kernels, load_kernels
from protocols.ring.matmul import matmul
from tests.protocols.cuda.gpu import CUDA_MARKS
from tests.protocols.cuda.pretended import PLACE, Pretending
from tests.protocols.cuda.translated import COMPILER, translated

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels

N = 1000  # no multiple of a word
EDGES = torch.tensor([0, -1, 1, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**62 - 1, -(2**62) - 1])
WIDTHS = chunk_bits(40)
COUNT, WORDS = len(WIDTHS), word_count(N)


def words(*shape: int, seed: int = 0, dtype: torch.dtype = torch.int64) -> Tensor:
    info, generator = torch.iinfo(dtype), torch.Generator().manual_seed(seed)
    x = torch.randint(info.min, info.max, shape, generator=generator, dtype=dtype)
    edges = EDGES[: x.numel()].to(dtype)
    x.view(-1)[: len(edges)] = edges
    return x


X, R, Y, Z = (words(N, seed=seed) for seed in range(4))
HALF = words(N, seed=5, dtype=torch.int32)
FLIPS = (words(N, seed=6) & 1).to(torch.uint8)
TABLES = [words(N, seed=7 + i, dtype=table_dtype(bits)) for i, bits in enumerate(WIDTHS)]
LAM, MU = words(COUNT, WORDS, seed=20), words(COUNT - 1, WORDS, seed=21)
MIXED, PURE = (
    words(2**COUNT - 1, WORDS, seed=22),
    words(2 ** (COUNT - 1) - 1, WORDS, seed=23),
)
SPARE = (0, 16)
SEEDS, PUBLIC = [words(N, 2, seed=seed) for seed in (8, 9)], words(1, 2, seed=10)
BYTES = words(6 * N // 8, seed=11).view(torch.uint8)
FACTORS = [(2.0**20 / k, -(3.0**k) * 1e3) for k in range(1, 10)]
REAL = torch.cat([Y.double() * 2.0**-41, torch.tensor([float("nan"), 2.0**41, 0.5 * 2.0**-22])])
IMAGE, FILTERS = words(2, 4, 9, 8, seed=24), words(6, 2, 3, 3, seed=25)
CONV = Convolution((2, 1), (1, 0), (1, 2), 2)
TRANSPOSED = TransposedConvolution((2, 2), (1, 0), (1, 0), (1, 1), 1)

Step = Callable[[Kernels, Callable[[Any], Any]], Any]
STEPS: dict[str, Step] = {
    "look_up": lambda k, at: look_up([at(t) for t in TABLES], at(X), 3, WIDTHS, True),
    "order": lambda k, at: k.order(at(TABLES[0]), at(X), 3, 5, False),
    "orders": lambda k, at: k.orders(at(TABLES[-1]), at(X), (0, 5, -(2**61)), 3, 6, True),
    "plane": lambda k, at: k.plane(at(X), 62),
    "planes": lambda k, at: k.planes(at(X), (0, 7, -9), 47),
    "encoded": lambda k, at: [k.encoded(at(x), 2.0**22, 2.0**62) for x in (REAL, REAL.float())],
    "thermometer": lambda k, at: [k.thermometer(at(R), 3, bits) for bits in (5, 6)],
    "mask_products": lambda k, at: k.mask_products(at(LAM), at(MU)),
    "combine": lambda k, at: k.combine(at(LAM), at(MU), at(MIXED), at(PURE), True),
    "deal_truncation": lambda k, at: [k.deal_truncation(at(R), 22, spare) for spare in SPARE],
    "deal_selection": lambda k, at: [
        k.deal_selection(at(R), at(LAM[0]), 22, spare) for spare in SPARE
    ],
    "truncated": lambda k, at: [
        k.truncated(at(X), at(R), at(HALF), 22, first, spare) << spare
        for first, spare in zip((False, True), SPARE, strict=True)
    ],
    "select": lambda k, at: [
        k.select(at(FLIPS), at(X), at(Y), [at(R), at(Z), at(HALF)], 22, spare) << spare
        for spare in SPARE
    ],
    "select_exact": lambda k, at: k.select(at(FLIPS), at(X), at(Y), [at(R), at(Z)], 0),
    "indicator": lambda k, at: [k.indicator(at(FLIPS), at(Y), first) for first in (False, True)],
    "weighed": lambda k, at: k.weighed(
        at(FLIPS.view(4, -1)), at(Y.view(4, -1)), words(3, 4, seed=29), True
    ),
    "narrow": lambda k, at: k.narrow(at(X.view(4, -1))),
    "widen": lambda k, at: k.widen(at(BYTES)),
    "add_narrow": lambda k, at: k.add_narrow(at(X), at(BYTES)),
    "waves": lambda k, at: k.waves(at(X), 2**41 + 1, FACTORS, at(words(9, 2, N, seed=30))),
    "deal_waves": lambda k, at: k.deal_waves(at(R), 2**41 + 1, 9, 2.0**27),
    "points_deal": lambda k, at: deal((at(SEEDS[0]), at(SEEDS[1])), at(R), 3, 40, at(PUBLIC)),
    "points": lambda k, at: [
        evaluate(
            at(SEEDS[rank]),
            at(words(N * key_words(40), seed=31)),
            at(PUBLIC),
            at(X),
            3,
            40,
            rank == 0,
        )
        for rank in (0, 1)
    ],
    "packed": lambda k, at: unpack(pack(at(X.view(2, -1))), N // 2),
    "matmul": lambda k, at: matmul(at(IMAGE), at(words(2, 1, 8, 5, seed=26))[:, :, :, :4]),
    "vector": lambda k, at: matmul(at(IMAGE), at(words(8, seed=27))),
    "convolution": lambda k, at: CONV(at(IMAGE), at(FILTERS)),
    "transposed": lambda k, at: TRANSPOSED(at(IMAGE), at(words(4, 3, 3, 2, seed=28))),
}


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """The kernels of loops.cu, run by the processor."""
    if COMPILER is None:
        pytest.skip("no compiler for C++ here")
    return translated(tmp_path_factory.mktemp("loops"))


@pytest.fixture(scope="module")
def loops_there() -> Launch:
    """The kernels of loops.cu on a device."""
    return compiled(PLACE)


@pytest.fixture(
    params=[
        "operators",
        "compiled",
        pytest.param("cuda-operators", marks=CUDA_MARKS),
        pytest.param("cuda-compiled", marks=CUDA_MARKS),
    ]
)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Where tensors are put: on a device that is not there, and on one that is.

    There they meet torch's operators, or compiled kernels.
    """
    pretended = not request.param.startswith("cuda")
    clock = (lambda compute: 1.0) if pretended else cuda_seconds
    if request.param == "compiled":
        chosen = FusedKernels(request.getfixturevalue("loops"), clock)
    elif request.param == "cuda-compiled":
        chosen = FusedKernels(request.getfixturevalue("loops_there"))
    else:
        chosen = CudaKernels(clock)
    monkeypatch.setattr(library._library(), "fused", {0: chosen})
    with Pretending() if pretended else nullcontext():
        yield PLACE


@pytest.mark.parametrize("step", STEPS)
def test_a_device_gives_the_bits_of_compiled_loops(step: str, place: torch.device) -> None:
    ours = STEPS[step](kernels(X.to(place)), lambda x: x.to(place))
    theirs = STEPS[step](load_kernels(), Tensor.clone)  # some operands are spent
    for a, b in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        if isinstance(b, Tensor):
            assert a.is_cuda
            assert a.dtype == b.dtype
            assert torch.equal(a.cpu(), b)
        else:
            assert a == b


def test_kernels_are_chosen_by_the_place_of_their_operands(place: torch.device) -> None:
    assert isinstance(kernels(X.to(place)), CudaKernels)
    assert not isinstance(kernels(X), CudaKernels)
    x, y = words(1, 30, 20), words(1, 20, 10, seed=1)
    assert torch.equal(
        kernels(x.to(place)).products(x.to(place), y.to(place)).cpu(), by_floats(x, y)
    )


def test_a_key_names_the_same_words_whoever_encrypts(
    place: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device from any half-word on, and then on the processor from where that came to."""
    key, label = Key(bytes(range(32))), Label("3.open/mask")
    there, here = key.on(place).stream(label, "mask"), key.stream(label, "mask")
    draws = [((3,), torch.int64), ((5,), torch.int32), ((70, 3), torch.int64), ((0,), torch.int64)]
    for shape, dtype in draws:
        assert torch.equal(there.words(shape, dtype).cpu(), here.words(shape, dtype))
    assert torch.equal(there.added(X.to(place)).cpu(), here.added(X))
    monkeypatch.setattr(library._library(), "fused", {})
    assert torch.equal(there.hidden(X.to(place)).cpu(), here.hidden(X))
