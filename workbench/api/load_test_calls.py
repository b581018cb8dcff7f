"""Load tests: starts them, and lists and compares those that were."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.api.service_handle import ServiceHandle, run_told, version_of
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from workbench.client.load_progress import LoadProgress, Told
    from workbench.client.version_comparison import VersionComparison
    from workbench.loadtest.analysis.compare import Comparison
    from workbench.loadtest.job import LoadTestJob
    from workbench.loadtest.report.report import Report


class LoadTestCalls(ServiceHandle):
    """The calls of a `Workbench` that load-test and compare."""

    def bench(
        self,
        name: str,
        inputs: object = None,
        *,
        version: str | int | None = None,
        sweep: str | Mapping[str, Sequence[object]] | None = None,
        endpoint: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> LoadTestJob[Report]:
        """Starts a load test of model `name` and returns a handle; its `.result()` (or `await`) is a `Report`.

        One option says how requests arrive:
        - `rate=200`: requests per second, each sent when it is due
        - `users=32`: users who wait for their answers
        - `ramp="10:1000"`: a rate that grows from one to the other
        - `step=50`: a rate that rises in stairs until something breaks
        - `sine="20:200"`: a rate that swings between two values
        - `replay=times`: recorded arrival times
        - `slo="p99<20ms"` alone: searches the highest rate that meets it; with another option, it judges the result

        `sweep="batch=1:8:32,delay"` runs the same load with each combination of settings, and then restores the
        model's own. Rows are sampled from `inputs`, `requests=[...]` are sent as they are, and without either the
        inputs are random. The other options are in `workbench.loadtest.options.OPTIONS`: `duration`, `warm_up`,
        `rows` and so on.

        `endpoint="http://HOST:PORT"`, `"https://HOST:PORT"` or `"grpc://HOST:PORT"` tests model `name` on another
        server of the Open Inference Protocol, for example Triton, with its `token` if it needs one.

        Raises at once any error that the first request would meet.
        """
        from workbench.client import sync
        from workbench.loadtest.bench import bench_target
        from workbench.loadtest.plan import Target

        wanted = None if version is None else str(version)
        if endpoint is not None:
            target = Target(name, endpoint, wanted, token)
        else:
            sync.run(self._client.status(name, wanted))  # which finds the service, where it has moved
            client = self._client
            token, file = client.token, client.token_file
            target = Target(
                name,
                client.url,
                wanted,
                token,
                controlled=True,
                token_file=file,
                own=client.own,
                ca_file=client.ca_file,
            )
        return bench_target(target, inputs, sweep=sweep, **options)

    def history(self, model: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Lists the stored load tests of all models or of one, the latest first: one row per run, indexed by its id."""
        from workbench.loadtest.store.history import history

        return history().to_pandas(model, limit)

    def report(self, run: str = "last") -> Report:
        """Returns the report of a stored run: its id, a model's name for its latest, or "last". Raises NotFound."""
        from workbench.loadtest.report.report import Report
        from workbench.loadtest.store.history import history

        return Report(history().run(run))

    def compare(
        self,
        a: str | Report,
        b: str | Report,
        rows: object = None,
        *,
        seconds: float | str | None = None,
        progress: Told | bool = False,
    ) -> Comparison | VersionComparison:
        """Compares two load tests, or two versions of a model, as "digits:1" and "digits:2".

        Of load tests: ratios of `b` to `a` with intervals, and the differences of their set-ups. Of versions: how
        both answer `rows` and how long they take, for `seconds` (5); without rows by the calls that they get within
        `seconds` (60). `progress` is as for `load`.
        """
        if isinstance(a, str) and isinstance(b, str) and ":" in a + b:
            return self._compare_versions(a, b, rows, seconds, progress)
        if rows is not None or seconds is not None:
            raise InvalidInput(f"rows and seconds go with two versions, as 'digits:1', got {a!r} and {b!r}")
        from workbench.loadtest.analysis.compare import compare

        first, second = (self.report(each) if isinstance(each, str) else each for each in (a, b))
        return compare(first.run, second.run)

    def _compare_versions(
        self, a: str, b: str, rows: object, seconds: float | str | None, progress: Told | bool
    ) -> VersionComparison:
        from workbench.client import version_comparison

        (model, first), (other, second) = version_of(a), version_of(b)
        if first is None or second is None or model != other:
            raise InvalidInput(
                f"compare takes two versions of one model, as 'digits:1' and 'digits:2', got {a!r}, {b!r}"
            )
        default_s = version_comparison.LIVE_S if rows is None else version_comparison.ROWS_S
        for_s = version_comparison.seconds_to_compare(seconds, default_s)

        def call(told: LoadProgress) -> Coroutine[Any, Any, VersionComparison]:
            if rows is None:
                return version_comparison.compare_traffic(self._client, model, first, second, for_s, told)
            return version_comparison.compare_on_rows(
                self._client, self._predictor, model, first, second, rows, for_s, told
            )

        return run_told(f"compare {a} {b}", call, progress)
