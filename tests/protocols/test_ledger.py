"""Slots go one way: no end of a process, and no loss of power, ever hands one out twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from protocols.preprocessing.errors import SlotTaken
from protocols.preprocessing.files import Files
from protocols.preprocessing.ledger import Ledger
from tests.protocols.disks import Cut, ModelDisk

FOLDER = Path("/store/batch")
ROOT = Path(__file__).parents[2]


def fill(ledger: Ledger, files: Files, slots: range) -> None:
    for slot in slots:
        path = ledger.begin(slot)
        files.append(path, [b"slot", bytes([slot])])
        ledger.add(slot)


def test_a_slot_is_handed_out_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Files())
    fill(ledger, Files(), range(3))
    assert ledger.unused() == [0, 1, 2]
    assert bytes(ledger.take(1)) == b"slot\x01"
    assert ledger.unused() == [0, 2]
    assert list(ledger.used()) == [1]
    assert abs(ledger.used()[1] - time.time()) < 60
    with pytest.raises(SlotTaken):
        ledger.take(1)
    with pytest.raises(SlotTaken):
        ledger.take(7)
    ledger.drop([0, 1, 7])
    assert ledger.unused() == [2]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 5


def test_a_restored_copy_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Files())
    fill(ledger, Files(), range(1))
    copy = ledger.path(0).read_bytes()
    ledger.take(0)
    ledger.path(0).write_bytes(copy)
    assert ledger.unused() == []
    with pytest.raises(SlotTaken):
        ledger.take(0)


def test_a_taken_slot_outlives_its_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, Files())
    fill(ledger, Files(), range(1))
    contents = ledger.take(0)
    (used,) = tmp_path.iterdir()
    assert used.stat().st_size == 0
    used.unlink()
    assert bytes(contents) == b"slot\x00"


def test_two_processes_want_one_slot() -> None:
    """The second comes between the first's look and its mark."""
    disk = ModelDisk()
    first, second = Ledger(FOLDER, disk), Ledger(FOLDER, disk)
    fill(first, disk, range(1))

    class Late(ModelDisk):
        def open(self, path: Path):  # type: ignore[no-untyped-def]
            file = disk.open(path)
            second.take(0)
            return file

    late = Late()
    late.seen = disk.seen
    with pytest.raises(SlotTaken):
        Ledger(FOLDER, late).take(0)


def test_the_mark_is_durable_before_the_first_byte_is_read() -> None:
    read = 0

    class Watched(ModelDisk):
        def map(self, file: IO[bytes]) -> memoryview:
            nonlocal read
            read += 1
            assert all(Ledger(FOLDER, found).unused() == [] for found in ends(self))
            return super().map(file)

    disk = Watched()
    fill(Ledger(FOLDER, disk), disk, range(1))
    Ledger(FOLDER, disk).take(0)
    assert read == 1


# --- every end, at every step ---------------------------------------------------------------------


def work(disk: ModelDisk, out: list[int]) -> None:
    """A life: sweeps, fills two slots, uses one of the oldest, drops another, uses a third."""
    ledger = Ledger(FOLDER, disk)
    ledger.sweep()
    free = iter(set(range(20)) - {*ledger.unused(), *ledger.used()})
    fill(ledger, disk, range(first := next(free), first + 1))
    fill(ledger, disk, range(second := next(free), second + 1))
    slots = ledger.unused()
    use(ledger, slots[0], out)
    ledger.drop(slots[1:2])
    ledger.sweep()
    if slots[2:]:
        use(ledger, slots[2], out)


def use(ledger: Ledger, slot: int, out: list[int]) -> None:
    contents = ledger.take(slot)
    out.append(slot)  # from here on something may be hidden under it
    assert bytes(contents) == b"slot" + bytes([slot])


def ends(disk: ModelDisk) -> list[ModelDisk]:
    return [disk.after_kill(), *disk.after_power_loss()]


def steps_of(life: Callable[[ModelDisk, list[int]], None], disk: ModelDisk) -> int:
    trial = disk.after_kill()
    life(trial, [])
    return trial.steps


def test_no_end_at_any_step_hands_a_slot_out_twice() -> None:
    """Two lives, the first cut after every step, the second after every step again."""
    start = ModelDisk()
    fill(Ledger(FOLDER, start), start, range(2))
    start = start.after_kill()
    seen = 0
    for cut in range(steps_of(work, start) + 1):
        disk, out = start.after_kill(), list[int]()
        live(disk, out, cut)
        for found in ends(disk):
            again = Ledger(FOLDER, found)
            assert not set(again.unused()) & set(out)
            for later in range(steps_of(work, found) + 1):
                second, more = found.after_kill(), list(out)
                live(second, more, later)
                for last in ends(second):
                    assert max(Counter(more).values(), default=0) <= 1
                    assert not set(Ledger(FOLDER, last).unused()) & set(more)
                    seen += 1
    assert seen > 5000


def live(disk: ModelDisk, out: list[int], cut: int) -> None:
    disk.cut_after = cut
    try:
        work(disk, out)
    except Cut:
        pass
    finally:
        disk.cut_after = None


def test_no_end_while_one_is_made_leaves_half_a_slot() -> None:
    for cut in range(40):
        disk = ModelDisk()
        disk.cut_after = cut
        ledger = Ledger(FOLDER, disk)
        try:
            fill(ledger, disk, range(2))
        except Cut:
            pass
        for found in ends(disk):
            left = Ledger(FOLDER, found)
            for slot in left.unused():
                assert found.read(left.path(slot)) == b"slot" + bytes([slot])


def test_a_sweep_erases_what_a_killed_process_left() -> None:
    disk = ModelDisk()
    fill(Ledger(FOLDER, disk), disk, range(1))
    whole = steps_of(lambda d, _: Ledger(FOLDER, d).take(0) and None, disk)
    for cut in range(whole + 1):
        found = disk.after_kill()
        found.cut_after = cut
        try:
            Ledger(FOLDER, found).take(0)
        except Cut:
            pass
        found.cut_after = None
        ledger = Ledger(FOLDER, found)
        ledger.sweep()
        sizes = [found.size(FOLDER / name) for name in found.names(FOLDER)]
        assert sizes == ([5] if ledger.unused() else [0])


# --- real processes -------------------------------------------------------------------------------

TAKER = """
import sys
from pathlib import Path
from protocols.preprocessing.errors import SlotTaken
from protocols.preprocessing.files import Files
from protocols.preprocessing.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]), Files())
ledger.sweep()
print("ready", flush=True)
for slot in ledger.unused():
    try:
        contents = ledger.take(slot)
    except SlotTaken:
        continue
    assert bytes(contents) == b"slot" + bytes([slot])
    print(slot, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_processes_hand_nothing_out_twice(tmp_path: Path) -> None:
    """Two at a time, killed at random moments, until everything is used."""
    ledger = Ledger(tmp_path, Files())
    fill(ledger, Files(), range(200))
    out: list[int] = []
    chance = random.Random(7)
    kills = 0
    while ledger.unused():
        takers = [
            subprocess.Popen(
                [sys.executable, "-c", TAKER, str(tmp_path)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for taker in takers:
            assert taker.stdout is not None
            assert taker.stdout.readline() == "ready\n"
        for taker in takers:
            time.sleep(chance.uniform(0, 0.02))
            taker.send_signal(signal.SIGKILL)
        for taker in takers:
            lines, _ = taker.communicate()
            out += [int(line) for line in lines.splitlines() if line]
            kills += taker.returncode == -signal.SIGKILL
    assert len(out) == len(set(out))
    assert set(out) <= set(ledger.used())
    assert len(ledger.used()) == 200
    assert kills
    ledger.sweep()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
