from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from workbench.client import sync
from workbench.client.futures import Job, JobState
from workbench.client.load_progress import LoadProgress, Step
from workbench.errors import Cancelled, InvalidInput

SOON_S = 20.0


class Work:
    """A call that begins, and ends when it is let."""

    def __init__(self, answer: object = 42) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self._answer = answer
        self._gate: asyncio.Event | None = None

    def __call__(self, progress: LoadProgress) -> Coroutine[Any, Any, object]:
        return self._work(progress)

    async def _work(self, progress: LoadProgress) -> object:
        self._gate = asyncio.Event()
        progress.begin("answered", 4, "row")
        progress.advance(1)
        self.began.set()
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def end(self) -> None:
        async def set_it() -> None:
            assert self._gate is not None
            self._gate.set()

        sync.run(set_it())


def begun(answer: object = 42) -> tuple[Job[object], Work]:
    work = Work(answer)
    job: Job[object] = Job("predict digits", work)
    assert work.began.wait(SOON_S)
    return job, work


def test_a_job_runs_and_then_has_its_result() -> None:
    job, work = begun()
    assert (job.done(), job.state) == (False, JobState.RUNNING)
    assert repr(job).endswith("answered: 1 of 4 rows")
    assert "predict digits: running for" in repr(job)
    work.end()
    assert job.result(SOON_S) == 42
    assert (job.done(), job.state) == (True, JobState.DONE)
    took = job.seconds
    assert job.seconds == took
    assert repr(job).splitlines() == [repr(job).splitlines()[0], "42"]


def test_a_wait_that_was_too_short_leaves_the_job_alone() -> None:
    job, work = begun()
    with pytest.raises(TimeoutError, match=r"predict digits is not done after 0.01 s; it goes on"):
        job.result(0.01)
    work.end()
    assert job.result(SOON_S) == 42


def test_a_cancelled_job_ends_its_call_and_says_so() -> None:
    job, work = begun()
    assert job.cancel()
    assert work.cancelled.wait(SOON_S)
    assert job.state is JobState.CANCELLED
    with pytest.raises(Cancelled, match="predict digits was cancelled"):
        job.result()
    assert "cancelled after" in repr(job)
    assert not job.cancel() or job.state is JobState.CANCELLED


def test_a_job_that_failed_raises_its_own_error() -> None:
    job, work = begun(InvalidInput("no such axis"))
    work.end()
    with pytest.raises(InvalidInput, match="no such axis"):
        job.result(SOON_S)
    assert job.state is JobState.FAILED
    assert "failed after" in repr(job)
    assert repr(job).endswith("InvalidInput: no such axis")
    assert not job.cancel()


async def test_a_job_can_be_awaited_on_any_loop() -> None:
    job, work = begun()
    asyncio.get_running_loop().call_soon(work.end)
    assert await job == 42
    assert await job == 42


async def test_the_end_can_be_awaited_whatever_it_is() -> None:
    failed, work = begun(InvalidInput("no"))
    cancelled, _ = begun()
    asyncio.get_running_loop().call_soon(work.end)
    asyncio.get_running_loop().call_soon(cancelled.cancel)
    await asyncio.wait_for(failed.ended(), SOON_S)
    await asyncio.wait_for(cancelled.ended(), SOON_S)
    assert (failed.state, cancelled.state) == (JobState.FAILED, JobState.CANCELLED)


async def test_giving_up_to_await_leaves_the_job_alone() -> None:
    job, work = begun()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(job._awaited(), 0.01)
    assert not job.done()
    work.end()
    assert await job == 42


async def test_awaiting_a_cancelled_job_raises_an_error_and_cancels_nobody() -> None:
    job, _ = begun()
    job.cancel()
    with pytest.raises(Cancelled):
        await job


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        (lambda job, work: None, '<progress max="1" value="0.250"'),
        (lambda job, work: work.end() or job.result(SOON_S), "<pre>&#x27;&lt;b&gt;&#x27;</pre>"),
        (lambda job, work: job.cancel(), "cancelled after"),
    ],
)
def test_it_shows_what_it_is_at(ends: Callable[[Job[object], Work], object], says: str) -> None:
    job, work = begun("<b>")
    ends(job, work)
    bundle = job._repr_mimebundle_()
    assert says in bundle["text/html"]
    assert bundle["text/plain"] == repr(job) or job.state is JobState.RUNNING
    job.cancel()


@pytest.mark.parametrize(
    ("step", "says", "share"),
    [
        (Step("exporting"), "exporting", None),
        (Step("answered", 512, 2000, "row"), "answered: 512 of 2,000 rows", 0.256),
        (Step("uploading", 0, 12_500_000, "byte"), "uploading: 0 of 12.5 MB", 0.0),
        (Step("uploading", 13_000_000, 12_500_000, "byte"), "uploading: 13.0 MB of 12.5 MB", 1.0),
    ],
)
def test_a_step_is_a_few_words(step: Step, says: str, share: float | None) -> None:
    assert str(step) == says
    assert step.share == share
