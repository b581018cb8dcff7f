"""Maps a request to the version of the model that answers it: a frozen table, replaced whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Generic

from workbench.core.model import ModelState
from workbench.errors import ModelNotFound, Unavailable, WorkbenchError
from workbench.versions.route_counts import Accepting, Named, RouteCounts, Way
from workbench.versions.split_router import Target

MOST_NAMED = 10
"""Models that an error names."""

_NONE: Mapping[tuple[str, str], str] = MappingProxyType({})


class RoutingTable(Generic[Target]):
    """Immutable. `target` is one look-up, so a swap is one assignment of another table."""

    def __init__(
        self,
        deployments: Iterable[Target] = (),
        routed: Mapping[str, Target] | None = None,
        failed: Mapping[tuple[str, str], str] = _NONE,
        labels: Mapping[tuple[str, str], str] = _NONE,
        before: Mapping[str, Accepting] | None = None,
        counts: RouteCounts | None = None,
    ) -> None:
        """`deployments` answer to their own version; `routed` says which one answers where none is named; `failed`
        holds, by model and version, why it does not serve; `labels` holds versions by model and label; `before`
        what takes the calls without a version before the routed one, as a split. `counts` counts the calls that name
        a version or a label."""
        table: dict[tuple[str, str | None], Target] = {(each.name, each.version): each for each in deployments}
        named = {(name, label): table.get((name, version)) for (name, label), version in labels.items()}
        table.update({key: target for key, target in named.items() if target is not None})
        table.update({(name, None): deployment for name, deployment in (routed or {}).items()})
        self._table = table
        self._failed = failed
        self._labels = labels
        self._targets: dict[tuple[str, str | None], Accepting] = dict(table)
        if counts is not None:
            for (name, named_by), each in table.items():
                if named_by is not None:
                    way = Way.VERSION if named_by == each.version else Way.LABEL
                    self._targets[name, named_by] = Named(each, name, each.version, way, counts)
        self._targets.update({(name, None): each for name, each in (before or {}).items()})

    def target(self, name: str, version: str | None) -> Accepting:
        """What a request is handed to: the version that it names, or else the routed one, or what stands before it.

        Raises as `choose`.
        """
        try:
            return self._targets[name, version]
        except KeyError:
            raise self._unknown(name[:128], version) from None

    def choose(self, name: str, version: str | None) -> Target:
        """The version that is named, or else the one that is routed to, whatever is split.

        Raises ModelNotFound, or Unavailable for a model that is known but does not serve yet, or failed."""
        try:
            return self._table[name, version]
        except KeyError:
            raise self._unknown(name[:128], version) from None

    def _unknown(self, name: str, version: str | None) -> WorkbenchError:
        known = {v: each for (n, v), each in self._table.items() if n == name and v == each.version}
        versions = sorted(known, key=int)
        if version is None and any(each.state is ModelState.READY for each in known.values()):
            loaded = ", ".join(versions)
            return Unavailable(
                f"no version of model {name!r} is routed to, so a request has to name one; loaded: {loaded}"
            )
        if version is None and versions:
            return Unavailable(
                f"no version of model {name!r} is Ready yet ({', '.join(versions)} on the way); try again"
            )
        for (failed, which), reason in self._failed.items():
            if failed == name and version in (None, which):
                told = "" if version is None else f" version {version}"
                return Unavailable(f"model {name!r}{told} is Failed: {reason}")
        if (pointed := self._labels.get((name, version or ""))) is not None:
            return Unavailable(f"label {version!r} of model {name!r} points to version {pointed}, which is not loaded")
        if versions:
            labels = "".join(f", {label}" for label in sorted(label for n, label in self._labels if n == name))
            found = f"version {str(version)[:20]} is not found; loaded: {', '.join(versions)}{labels}"
            return ModelNotFound(f"Request for unknown model: {name!r} {found}")
        names = sorted({n for n, _ in self._table})
        others = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        loaded = f"loaded are {', '.join(names[:MOST_NAMED])}{others}" if names else "no model is loaded"
        return ModelNotFound(f"Request for unknown model: {name!r} is not found; {loaded}")
