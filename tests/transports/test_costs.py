"""What things take under virtual time."""

from __future__ import annotations

import pytest

from transports.costs import Free, Measured, Recorded
from transports.errors import RecordingEnded


def test_free() -> None:
    assert Free().of("a", 5.0, kernel=True) == Free().of("a", 5.0, kernel=False) == 0


def test_measured_and_recorded() -> None:
    costs = Measured()
    for lane, seconds, kernel in (("a", 1.0, False), ("a worker 0", 2.0, True), ("a", 3.0, False)):
        assert costs.of(lane, seconds, kernel=kernel) == seconds
    assert costs.recording == {"a": [1.0, 3.0], "a worker 0": [2.0]}
    again = Recorded(costs.recording)
    assert again.of("a worker 0", 99.0, kernel=True) == 2.0
    assert again.of("a", 99.0, kernel=False) == 0.0
    with pytest.raises(RecordingEnded, match="1 costs for a worker 0 and this run needs more"):
        again.of("a worker 0", 99.0, kernel=True)
    with pytest.raises(RecordingEnded, match="0 costs for b worker 0"):
        again.of("b worker 0", 99.0, kernel=True)


def test_kernels_alone_may_count() -> None:
    costs = Measured(loop=False)
    assert costs.of("a", 1.0, kernel=False) == 0.0
    assert costs.of("a worker 0", 1.0, kernel=True) == 1.0
