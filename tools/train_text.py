"""Train the text classifiers that ship with apps.text.

    python -m tools.train_text sentiment-bag --data stsa.binary.train --check stsa.binary.dev
    python -m tools.train_text questions-encoder --data TREC.train.all --held 700
    python -m tools.train_text questions-bag --data TREC.train.all --folds 5

A bag is a linear model of what it reads, so it is fitted as one: squared hinge losses of each label
against the rest (as LIBLINEAR's, Fan et al., JMLR 2008), by L-BFGS. For two labels features count
as much as naive Bayes finds them to tell (Wang, Manning, ACL 2012). An encoder begins with the
bag that ships, whose table is a part of its own.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from apps.text.config import SHIPPED, Classifier, TextConfig
from apps.text.model import BagClassifier, EncoderClassifier
from apps.text.tokens import GRAMS
from tools.text_data import labelled, parted

_SENTIMENT = ("negative", "positive")
_QUESTIONS = ("description", "thing", "abbreviation", "person", "place", "number")
"""In the order of the numbers in the files: DESC, ENTY, ABBR, HUM, LOC, NUM."""

_OPINION = ("word", "prefix", "suffix", "denied", *GRAMS)
_ASKED = (
    "word", "pair", "prefix", "suffix", "start", "place", "head", "head_prefix", "head_suffix",
)  # fmt: skip

_SURE = 3.0
"""Margins of the linear model are about one: times this they are logarithms of odds."""


@dataclass(frozen=True)
class Recipe:
    """How a model is made.

    Attributes:
        weight: of the losses against the squares of the linear weights.
        bayes: whether features count as naive Bayes weighs them.
        epochs, rate: of an encoder.
    """

    config: TextConfig
    weight: float = 0.0
    bayes: bool = False
    epochs: int = 1
    rate: float = 1e-4


RECIPES = {
    "sentiment-bag": Recipe(
        TextConfig(
            architecture="bag",
            labels=_SENTIMENT,
            rows=98_304,
            embedding=2,
            length=56,
            pieces=_OPINION,
        ),
        0.01,
        True,
    ),
    "sentiment-encoder": Recipe(
        TextConfig(
            architecture="encoder",
            labels=_SENTIMENT,
            rows=98_304,
            embedding=4,
            length=40,
            pieces=_OPINION,
            layers=1,
            heads=4,
            width=64,
        ),
    ),
    "questions-bag": Recipe(
        TextConfig(
            architecture="bag",
            labels=_QUESTIONS,
            rows=98_304,
            embedding=6,
            length=40,
            pieces=_ASKED,
        ),
        0.1,
    ),
    "questions-encoder": Recipe(
        TextConfig(
            architecture="encoder",
            labels=_QUESTIONS,
            rows=98_304,
            embedding=8,
            length=24,
            pieces=_ASKED,
            layers=1,
            heads=4,
            width=64,
        ),
    ),
}


def main() -> None:
    """Read the command line; train; tell how many unseen sentences come out right; write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, required=True, help="LABEL SENTENCE in each line")
    parser.add_argument("--check", type=Path, help="as many more, never trained on")
    parser.add_argument("--held", type=int, help="or so many of the data, kept out")
    parser.add_argument("--fold", type=int, default=0, help="which of them")
    parser.add_argument("--folds", type=int, help="fit a bag to all but one of so many, for each")
    parser.add_argument("--output", type=Path, help="default: the weights that ship")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    console, started = Console(), time.perf_counter()
    recipe = RECIPES[arguments.model]
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    texts, labels = labelled(arguments.data)
    if arguments.folds is not None:
        if recipe.config.architecture != "bag":
            parser.error("--folds is for bags: an encoder begins with the one that ships")
        return _cross_validate(console, recipe, texts, labels, arguments.folds)
    if arguments.check is not None:
        unseen = labelled(arguments.check)
    else:
        (texts, labels), unseen = parted(texts, labels, arguments.held or 700, arguments.fold)
    places, checked = recipe.config.places(texts), recipe.config.places(unseen[0])
    report = _Report(console, checked, unseen[1])
    model: Classifier
    if recipe.config.architecture == "bag":
        model = bag_of(fitted(places, labels, recipe), places, recipe.config)
    else:
        _, bag = TextConfig.load(SHIPPED[arguments.model.replace("encoder", "bag")])
        model = trained(bag, places, labels, recipe, report)
    report(f"{time.perf_counter() - started:.0f} s", model)
    output = arguments.output or SHIPPED[arguments.model]
    recipe.config.save(output, model.half())
    console.print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")


def _cross_validate(
    console: Console, recipe: Recipe, texts: list[str], labels: Tensor, folds: int
) -> None:
    """Tell how a recipe does on each fold of the sentences, fitted to the others alone."""
    config, rights = recipe.config, []
    for fold in range(folds):
        kept, unseen = parted(texts, labels, len(texts) // folds, fold)
        places = config.places(kept[0])
        model = bag_of(fitted(places, kept[1], recipe), places, config)
        report = _Report(console, config.places(unseen[0]), unseen[1])
        rights.append(report(f"fold {fold + 1}", model))
    console.print(f"mean of {folds} folds: {100 * sum(rights) / folds:.2f} %")


class _Report:
    """Says how many of the unseen sentences come out right."""

    def __init__(self, console: Console, places: Tensor, labels: Tensor) -> None:
        self._console, self._places, self._labels = console, places, labels

    def __call__(self, what: str, model: Classifier) -> float:
        with torch.no_grad():
            found = torch.cat([model(part).argmax(1) for part in self._places.split(100)])
        right = float((found == self._labels).double().mean())
        self._console.print(f"{what}: {100 * right:.2f} % of {len(found)} unseen sentences right")
        return right


def fitted(places: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """The linear model, (rows, classes): a weight of each row for each label."""
    rows, classes = recipe.config.rows, len(recipe.config.labels)
    counts = _counts(places, rows)
    turned = counts.to_sparse_coo().t().coalesce().to_sparse_csr()
    sides = torch.where(functional.one_hot(labels, classes) > 0, 1.0, -1.0)
    scale = torch.ones(rows, classes)
    if recipe.bayes:
        scale = _log_ratios(places, labels, rows, classes).abs().clamp(min=0.1)
    weights = torch.zeros(rows, classes, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> float:
        with torch.no_grad():
            missing = (1 - sides * (counts @ (weights * scale))).clamp(min=0)
            slope = scale * (turned @ (-2 * recipe.weight * sides * missing))
            weights.grad = weights.detach() + slope
            squares = 0.5 * weights.square().sum() + recipe.weight * missing.square().sum()
        return float(squares)

    search.step(loss)  # type: ignore[arg-type]  # a number does where it takes no gradient
    return weights.detach() * scale


def _counts(places: Tensor, rows: int) -> Tensor:
    """How often each sentence has each row, (N, rows), sparse."""
    flat = places.flatten(1)
    lines = torch.arange(len(flat)).repeat_interleave(flat.shape[1])
    found = flat.flatten() > 0
    where = torch.stack([lines[found], flat.flatten()[found]])
    ones = torch.ones(where.shape[1])
    return torch.sparse_coo_tensor(where, ones, (len(flat), rows)).coalesce().to_sparse_csr()


def _log_ratios(places: Tensor, labels: Tensor, rows: int, classes: int) -> Tensor:
    """How much more frequent a row is with a label than without it, (rows, classes)."""
    counts = torch.stack(
        [torch.bincount(places[labels == c].flatten(), minlength=rows) for c in range(classes)]
    ).float()
    counts[:, 0] = 0
    among, beside = counts + 1, counts.sum(0) - counts + classes - 1
    ratios = (among / among.sum(1, keepdim=True)).log()
    ratios -= (beside / beside.sum(1, keepdim=True)).log()
    return torch.where(counts.sum(0) > 0, ratios, 0.0).t().clamp(-3, 3)


def bag_of(linear: Tensor, places: Tensor, config: TextConfig) -> BagClassifier:
    """The same as averaged embeddings: what is added up there is a mean here, so it is scaled;
    and what are margins there are logarithms of odds. The table is what is scaled, so that a
    private mean, which is rounded, is not multiplied by a large number."""
    model = BagClassifier(config.rows, len(config.labels), len(config.labels))
    with torch.no_grad():
        model.table.weight.copy_(linear * _pieces(places))
        model.table.weight[0] = 0
        model.head.weight.copy_(torch.eye(len(config.labels)) * _SURE)
        model.head.bias.zero_()
    return model.requires_grad_(False).eval()


def _pieces(places: Tensor) -> float:
    """How many a sentence has, on average."""
    return float((places > 0).flatten(1).sum(1).double().mean())


def trained(
    bag: Classifier, places: Tensor, labels: Tensor, recipe: Recipe, report: _Report
) -> EncoderClassifier:
    """An encoder that begins with what the bag says; a running mean of its weights."""
    model = recipe.config.build()
    if not isinstance(model, EncoderClassifier) or not isinstance(bag, BagClassifier):
        raise TypeError("an encoder is trained, and begins with a bag")
    classes = len(recipe.config.labels)
    kinds = float((places > 0).sum() / (places[:, :, 0] > 0).sum())
    with torch.no_grad():
        # A word's pieces are added up here, and averaged in the bag.
        model.table.weight.normal_(std=0.3)
        model.table.weight[:, :classes] = bag.table.weight
        model.table.weight[0] = 0
        model.direct.weight.zero_()
        model.direct.weight[:, :classes] = bag.head.weight / kinds
        model.direct.bias.zero_()
        model.widen.weight[:, :classes] *= 8.0 / _pieces(places)  # as large as the others
        model.positions.normal_(std=0.02)
        model.head.weight.zero_()
        model.head.bias.zero_()
    mean = copy.deepcopy(model).requires_grad_(False)
    # What the bag says stays as it is: it fits what it was made of, so the rest would undo it.
    model.table.requires_grad_(False)
    model.direct.requires_grad_(False)
    others = [p for p in model.parameters() if p.requires_grad]
    steps = recipe.epochs * -(-len(places) // 32)
    optimizer = torch.optim.AdamW(others, lr=recipe.rate, weight_decay=0.1)
    slope = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, s / 100) * (1 - s / steps)
    )
    done = 0
    for epoch in range(recipe.epochs):
        for batch in torch.randperm(len(places)).split(32):
            scores = model(_thinned(places[batch]))
            loss = functional.cross_entropy(scores, labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            slope.step()
            optimizer.zero_grad()
            done += 1
            if done % 8 == 0:
                share = 0.04 if done > steps // 3 else 0.3
                for p, q in zip(mean.parameters(), model.parameters(), strict=True):
                    p.lerp_(q.detach(), share)
        report(f"epoch {epoch + 1}", mean)
    return mean.eval()


def _thinned(places: Tensor) -> Tensor:
    """Sentences up to the longest one's length, without some of their words and pieces."""
    length = max(1, int((places[:, :, 0] > 0).sum(1).max()))
    places = places[:, :length]
    words = torch.rand(places.shape[:2]) < 0.15
    pieces = torch.rand(places.shape) < 0.3
    pieces[:, :, 0] = False  # whether a word is there is seen by its first piece
    return places.masked_fill(pieces, 0).masked_fill(words.unsqueeze(2), 0)


if __name__ == "__main__":
    main()
