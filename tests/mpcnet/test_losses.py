"""All losses, forward and backward, with all reductions, against torch on plain tensors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties

# Torch says each time that the mean of kl_div will become what batchmean is.
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")

A, B, C = (torch.linspace(-2, 2, 18).mul(k).cos().view(6, 3) * 2 for k in (3, 5, 7))
ODDS = torch.sigmoid(B)
SOFT = torch.softmax(C, 1)
BITS = (C > 0).float()
CLASSES = torch.tensor([0, 2, 1, 0, 1, 2])
SOME = torch.tensor([0, 2, -100, 0, 1, -100])
SIGNS = torch.tensor([1.0, -1, 1, -1, -1, 1])
WEIGHT = torch.tensor([0.5, 1.0, 2.0])

Loss = Callable[..., Tensor]


def classes_2d(x: Tensor, target: Tensor, reduction: str) -> Tensor:
    return F.cross_entropy(x.view(1, 3, 3, 2), target.view(1, 3, 2), WEIGHT, reduction=reduction)


LOSSES: dict[str, tuple[Loss, dict[str, Any], tuple[Tensor, ...]]] = {
    "mse": (F.mse_loss, {}, (A, B)),
    "l1": (F.l1_loss, {}, (A, B)),
    "huber": (F.huber_loss, {"delta": 0.7}, (A, B)),
    "smooth l1": (F.smooth_l1_loss, {"beta": 0.5}, (A, B)),
    "bce": (F.binary_cross_entropy, {"weight": WEIGHT}, (ODDS, BITS)),
    "logits": (
        F.binary_cross_entropy_with_logits,
        {"weight": WEIGHT, "pos_weight": 2 * WEIGHT},
        (A, BITS),
    ),
    "classes": (
        lambda x, **how: F.cross_entropy(x, SOME, WEIGHT, label_smoothing=0.1, **how),
        {},
        (A,),
    ),
    "soft classes": (F.cross_entropy, {"weight": WEIGHT, "label_smoothing": 0.1}, (A, SOFT)),
    "secret classes": (F.cross_entropy, {}, (A, CLASSES)),
    "secret classes with weights": (
        F.cross_entropy,
        {"weight": WEIGHT, "ignore_index": 1},
        (A, CLASSES),
    ),
    "secret classes, smoothed": (F.cross_entropy, {"label_smoothing": 0.1}, (A, CLASSES)),
    "secret classes of a picture": (classes_2d, {}, (A, CLASSES)),
    "nll": (lambda x, **how: F.nll_loss(x, SOME, WEIGHT, **how), {}, (A,)),
    "kl": (F.kl_div, {}, (A, SOFT)),
    "kl of logarithms": (F.kl_div, {"log_target": True}, (A, B)),
    "poisson": (F.poisson_nll_loss, {}, (A, BITS)),
    "hinge embedding": (F.hinge_embedding_loss, {"margin": 0.8}, (A[:, 0], SIGNS)),
    "cosine embedding": (
        lambda x, y, **how: F.cosine_embedding_loss(x, y, SIGNS, margin=0.1, **how),
        {},
        (A, B),
    ),
    "margin ranking": (F.margin_ranking_loss, {"margin": 0.3}, (A[:, 0], B[:, 0], SIGNS)),
    "triplet": (F.triplet_margin_loss, {"margin": 0.5}, (A, B, C)),
    "triplet with swap": (F.triplet_margin_loss, {"margin": 0.5, "swap": True}, (A, B, C)),
    "soft margin": (lambda x, **how: F.soft_margin_loss(x, SIGNS, **how), {}, (A[:, 0],)),
    "multi margin": (
        lambda x, **how: F.multi_margin_loss(x, CLASSES, p=2, weight=WEIGHT, **how),
        {},
        (A,),
    ),
    "multilabel": (F.multilabel_soft_margin_loss, {}, (A, BITS)),
}


def differentiated(name: str, reduction: str, operands: list[Tensor]) -> list[Tensor]:
    """The loss, and its gradients."""
    function, options, _ = LOSSES[name]
    loss = function(*operands, **options, reduction=reduction)
    found = [loss.detach()]
    weights = torch.linspace(1, 2, loss.numel()).view(loss.shape)
    (loss * weights if loss.dim() else loss).sum().backward()
    return found + [x.grad for x in operands if x.grad is not None]


def leaves(name: str) -> list[Tensor]:
    return [x.clone().requires_grad_(x.is_floating_point()) for x in LOSSES[name][2]]


@pytest.mark.parametrize(
    ("suite", "reduction", "names"),
    [
        (ClearSuite, "mean", list(LOSSES)),
        (ClearSuite, "sum", list(LOSSES)),
        (ClearSuite, "none", list(LOSSES)),
        (AdditiveSuite, "mean", ["logits", "secret classes", "huber", "multi margin"]),
    ],
    ids=["mean", "sum", "none", "additive"],
)
async def test_losses_and_their_gradients(
    suite: type[Suite], reduction: str, names: list[str]
) -> None:
    async def program(session: Session) -> dict[str, list[Tensor]]:
        def hidden(x: Tensor) -> Tensor:
            if not x.is_floating_point():
                mine = x if session.rank == 1 else None
                return session.share(mine, owner=1, shape=x.shape, dtype=torch.int64)
            return (session.constant(x) + session.rand(*x.shape) * 0).requires_grad_()

        found = {
            name: differentiated(name, reduction, [hidden(x) for x in LOSSES[name][2]])
            for name in names
        }
        return {
            name: [await x.reveal() for x in each]  # type: ignore[attr-defined]
            for name, each in found.items()
        }

    found = (await run_parties(program, suite=suite)).results[0]
    for name in names:
        for one, other in zip(
            found[name], differentiated(name, reduction, leaves(name)), strict=True
        ):
            torch.testing.assert_close(
                one, other, atol=3e-5, rtol=1e-5, msg=lambda why, name=name: f"{name}: {why}"
            )
