"""A short run of the soak tool; `python -m tools.soak` is the long one."""

from __future__ import annotations

from tools.soak import soak


async def test_a_short_soak() -> None:
    outcome = await soak(disconnects=40, count=20, length=40)
    assert outcome["identical"]
    assert outcome["messages"] == 2 * 20 * 40
    assert outcome["disconnects"] >= 20
    assert outcome["most_kept_bytes"] <= 1 << 20
