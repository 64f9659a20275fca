"""Private classification of sentences on the command line: settings, demonstration, table."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text as Line
from safetensors.torch import load_file

from apps.outcome import as_clear, traffic, traffic_table
from apps.text.config import SHIPPED, TextConfig
from apps.text.program import TextSettings, classify, classify_places, read_texts
from mpcnet.app import App, DemoPlan, Events
from mpcnet.session import Session

__all__ = ["APP", "Text"]

SAMPLES = Path(__file__).parent / "samples"

_TEXT, _MODEL = "newsroom", "model"


class Text(App[TextSettings]):
    """One party's sentences, another party's classifier, and labels for the first alone."""

    name = "text"
    summary = "classify sentences without showing them to the owner of the model"
    settings_type = TextSettings

    def public(self, settings: TextSettings) -> dict[str, Any]:
        return {
            "model_owner": settings.model_owner,
            "text_owner": settings.text_owner,
            "model": msgspec.to_builtins(settings.model),
            "reveal": settings.reveal,
            "batch": settings.batch,
        }

    async def run(self, session: Session, settings: TextSettings, events: Events) -> dict[str, Any]:
        return await classify(session, settings, read_texts(settings), events)

    def shapes(self, settings: TextSettings) -> Any:
        return len(read_texts(settings))

    async def rehearse(self, session: Session, settings: TextSettings, events: Events) -> Any:
        count = settings.prepare_sentences
        if count is None:
            count = len(read_texts(settings))
        settings = msgspec.structs.replace(settings, texts=None, scores=None)
        config, places = settings.model, None
        if session.name == settings.text_owner:
            shape = (count, config.length, len(config.pieces))
            places = torch.zeros(shape, dtype=torch.int64)
        await classify_places(session, settings, places, events)
        return count if places is not None else 0

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "texts", nargs="?", type=Path, metavar="FILE", help="a sentence in each line"
        )
        parser.add_argument(
            "--model",
            choices=sorted(SHIPPED),
            default="sentiment-encoder",
            help="default: sentiment-encoder",
        )
        parser.add_argument("--weights", type=Path, help="a model of your own")
        parser.add_argument(
            "--label-only", action="store_true", help="reveal the label, and no scores"
        )
        parser.add_argument("--batch", type=int, default=5, help="sentences at once")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        weights = arguments.weights or SHIPPED[arguments.model]
        config, _ = TextConfig.load(weights)
        truth: list[str] = []
        path = arguments.texts
        if path is None:
            kind = "questions" if "place" in config.labels else "sentiment"
            lines = (SAMPLES / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
            truth = [line.split("\t")[0] for line in lines]
            path = folder / "sentences.txt"
            path.write_text("".join(line.split("\t")[1] + "\n" for line in lines), "utf-8")
        public: dict[str, Any] = {
            "model_owner": _MODEL,
            "text_owner": _TEXT,
            "model": msgspec.to_builtins(config),
            "reveal": "label" if arguments.label_only else "scores",
            "batch": arguments.batch,
        }
        scores = folder / "scores.safetensors"
        return DemoPlan(
            # The model's owner comes last: the last party receives the dealer's corrections, and
            # an organization that serves a model has the better line.
            parties=[_TEXT, _MODEL],
            settings={
                _TEXT: {**public, "texts": str(path.resolve()), "scores": str(scores)},
                _MODEL: {**public, "weights": str(weights.resolve())},
            },
            extra={"texts": path, "weights": weights, "scores": scores, "truth": truth},
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        private = results[_TEXT]["result"]
        config, model = TextConfig.load(plan.extra["weights"])
        public = plan.settings[_TEXT]
        own = TextSettings(
            model_owner=_MODEL, text_owner=_TEXT, model=config, texts=plan.extra["texts"]
        )
        texts = read_texts(own)
        with torch.no_grad():
            clear = model(config.places(texts))
        truth = plan.extra["truth"] or [None] * len(texts)
        sentences = []
        for text, verdict, row, known in zip(
            texts, private["sentences"], clear, truth, strict=True
        ):
            plain = config.labels[int(row.argmax())]
            equal = plain == verdict["label"]
            sentences.append(
                {"text": text, **verdict, "truth": known, "plain": plain, "equal": equal}
            )
        outcome = {
            "app": self.name,
            **traffic(plan, results),
            "sentences": sentences,
            "rounds": private["rounds"],
            "setup_seconds": private["setup_seconds"],
            "offline_seconds": private["offline_seconds"],
            "seconds": private["seconds"],
            "max_score_error": None,
        }
        if public["reveal"] == "scores" and texts:
            scores = load_file(plan.extra["scores"])["scores"]
            outcome["max_score_error"] = float((scores - clear).abs().max())
        return outcome

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        table = Table(title="Private classification", title_justify="left")
        for heading in ("sentence", "label", "odds", "true label", "as clear"):
            table.add_column(heading)
        for each in outcome["sentences"]:
            equal = as_clear(each["equal"], each["plain"])
            odds = f"{each['odds']:.2f}" if "odds" in each else "–"
            # A sentence is anybody's text: no markup of it is obeyed.
            table.add_row(Line(each["text"]), each["label"], odds, each["truth"] or "–", equal)
        return Group(table, traffic_table(outcome), _summary(outcome))


def _summary(outcome: Mapping[str, Any]) -> Line:
    count = len(outcome["sentences"])
    equal = sum(each["equal"] for each in outcome["sentences"])
    error = outcome["max_score_error"]
    off = "" if error is None else f"; largest difference of a score {error:.1e}"
    return Line(
        f"{equal} of {count} labels equal the plain model's{off}.\n"
        f"{outcome['setup_seconds']:.2f} s to hide the weights, once; then "
        f"{outcome['offline_seconds']:.2f} s offline and {outcome['seconds']:.2f} s online for "
        f"{count} sentences, {outcome['rounds']} rounds for each batch."
    )


APP = Text()
