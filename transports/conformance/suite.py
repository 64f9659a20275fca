"""All checks, and how to run them one after another."""

from __future__ import annotations

from typing import Final

from transports.conformance import dialling, ends, flow, frames, rules
from transports.conformance.contract import Check, MakePair
from transports.conformance.stage import Stage

__all__ = [
    "CONNECTION_CHECKS",
    "STREAM_CHECKS",
    "TRANSPORT_CHECKS",
    "check_connections",
    "check_transport",
]

CONNECTION_CHECKS: Final[tuple[Check[MakePair], ...]] = (
    Check(frames.frames_keep_order_and_contents),
    Check(frames.bytes_and_frames_are_counted_alike),
    Check(frames.control_frames_keep_kind_and_text),
    Check(frames.many_small_messages_fit_a_frame),
    Check(frames.payloads_are_aligned_and_writable),
    Check(frames.large_payloads_arrive_whole),
    Check(frames.two_directions_do_not_wait_for_each_other),
    Check(frames.receiving_may_be_cancelled),
    Check(flow.a_slow_reader_holds_the_writer_back),
    Check(ends.closing_lets_everything_out),
    Check(ends.what_came_before_the_end_is_received),
    Check(ends.aborting_wakes_who_receives),
    Check(ends.aborting_wakes_who_sends),
    Check(ends.ending_twice_does_no_harm),
    Check(rules.data_before_the_greeting_is_refused),
    Check(rules.data_right_after_the_greeting_is_read),
    Check(rules.what_is_no_frame_is_refused),
    Check(rules.huge_lengths_are_refused),
)
"""What a Connection promises."""

STREAM_CHECKS: Final[tuple[Check[MakePair], ...]] = (
    Check(flow.a_long_frame_is_heard_while_it_comes),
    Check(ends.a_cut_frame_is_told),
)
"""What one promises besides that `takes_pieces`: frames may be cut anywhere on its way."""

TRANSPORT_CHECKS: Final[tuple[Check[Stage], ...]] = (
    Check(dialling.connections_are_kept_apart),
    Check(dialling.an_address_where_nobody_listens_is_unreachable),
    Check(dialling.a_closed_listener_lets_its_connections_live),
    Check(dialling.both_sides_show_their_certificates),
    Check(dialling.who_is_not_pinned_does_not_get_in),
)
"""What a Transport promises."""


async def check_connections(make_pair: MakePair) -> None:
    """Runs all checks of connections; those of streams if the connections are streams.

    Raises:
        ContractBroken: by the first check that fails.
    """
    for check in CONNECTION_CHECKS:
        await check(make_pair)
    async with make_pair() as (ours, theirs):
        streams = ours.takes_pieces and theirs.takes_pieces
    for check in STREAM_CHECKS if streams else ():
        await check(make_pair)


async def check_transport(stage: Stage) -> None:
    """Runs all checks of a transport and of its connections.

    Raises:
        ContractBroken: by the first check that fails.
    """
    for check in TRANSPORT_CHECKS:
        await check(stage)
    await check_connections(stage.pair)
