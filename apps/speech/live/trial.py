"""`mpcnet serve speech` without a configuration: all participants on this machine, to try it."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from apps.speech.config import SpeechConfig
from apps.speech.live.demo import add_model_arguments, live_weights
from apps.speech.outcome import MODEL, SPEAKER
from mpcnet.app import DemoPlan
from mpcnet.demo import free_ports

__all__ = ["add_trial_arguments", "plan_trial"]


def add_trial_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `mpcnet serve speech` that a configuration has keys for."""
    trial = parser.add_argument_group("without --config")
    trial.add_argument(
        "--listen",
        default="127.0.0.1:8765",
        metavar="HOST:PORT",
        help="for speech clients; default: 127.0.0.1:8765",
    )
    trial.add_argument(
        "--page", action="store_true", help="a page for the browser as well, and its doors"
    )
    add_model_arguments(trial)
    trial.add_argument("--chunk", type=float, default=0.4, metavar="S", help="seconds of a chunk")


def plan_trial(arguments: argparse.Namespace) -> DemoPlan:
    """Who brings what."""
    weights = live_weights(arguments)
    config, _ = SpeechConfig.load(weights)
    public: dict[str, Any] = {
        "model_owner": MODEL,
        "recording_owner": SPEAKER,
        "model": msgspec.to_builtins(config),
    }
    live: dict[str, Any] = {"chunk_seconds": arguments.chunk}
    speaker, model = {**live, "listen": arguments.listen}, live
    if arguments.page:
        with free_ports(2) as (one, other):
            places = {SPEAKER: f"127.0.0.1:{one}", MODEL: f"127.0.0.1:{other}"}
        doors = {name: f"http://{place}" for name, place in places.items()}
        speaker = {**speaker, "page": {"listen": places[SPEAKER], "parties": doors}}
        model = {**model, "page": {"listen": places[MODEL], "parties": doors}}
    return DemoPlan(
        parties=[SPEAKER, MODEL],
        settings={
            SPEAKER: {**public, "live": speaker},
            MODEL: {**public, "live": model, "weights": str(weights)},
        },
    )
