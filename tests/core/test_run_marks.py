from __future__ import annotations

import os
import subprocess
import sys

from workbench.core.run_marks import MarkedRun, ModelKey, RunMarks, marked_runs, open_marks

A, B = ModelKey("a", "1", "d" * 64), ModelKey("b" * 128, "999999999", "e" * 64)


def test_what_was_under_way_when_a_process_died_is_read_by_another() -> None:
    descriptor = open_marks()
    assert descriptor is not None
    program = (
        "import os; from workbench.core.run_marks import *\n"
        f"marks = RunMarks({descriptor})\n"
        f"one, two, three = (marks.take(ModelKey(*each)) for each in {[tuple(A), tuple(B), tuple(A)]})\n"
        "one.thread[0], two.thread[0], three.thread[0] = 5, 2 ** 64 - 1, 9\n"
        "three.thread[0] = 0\n"
        "os.abort()"
    )
    ended = subprocess.run([sys.executable, "-c", program], pass_fds=[descriptor], stderr=subprocess.PIPE)
    assert ended.returncode < 0, ended.stderr
    assert marked_runs(descriptor) == [MarkedRun(A, 5), MarkedRun(B, 2**64 - 1)]
    os.close(descriptor)


def test_places_are_used_again_and_those_beyond_the_room_are_not_noted() -> None:
    descriptor = open_marks()
    assert descriptor is not None
    marks = RunMarks(os.dup(descriptor))
    places = [marks.take(A) for _ in range(300)]
    for mark in places:
        mark.thread[0] = 1
        mark.note("s0123abcd")
    assert marked_runs(descriptor) == [MarkedRun(A, 1, "s0123abcd")] * 256
    for mark in places:
        marks.give_back(mark)
    assert marked_runs(descriptor) == []
    marks.take(B).thread[0] = 3
    assert marked_runs(descriptor) == [MarkedRun(B, 3)]
    os.close(descriptor)


def test_without_a_reader_marks_cost_no_shared_memory() -> None:
    mark = RunMarks().take(A)
    mark.thread[0] = 1
    assert mark.place is None
