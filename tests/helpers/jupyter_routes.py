"""Walks the routes of a Jupyter server that are the extension's."""

from __future__ import annotations

from collections.abc import Iterator

from tornado.web import RequestHandler

from workbench.jupyter.endpoint_handler import EndpointHandler
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.routes import RESOURCE


def routes_of(extension: InferWorkbench) -> Iterator[tuple[str, type[RequestHandler]]]:
    """(path below the base URL, handler) of every route of the whole server that is the extension's, but for the one
    that takes shares' tokens in place of Jupyter's (tests/jupyter/test_endpoint.py)."""
    assert extension.serverapp is not None
    app = extension.serverapp.web_app
    rules = [rule for router in (app.default_router, app.wildcard_router) for rule in router.rules]
    found = {
        rule.matcher.regex.pattern: rule.target
        for nested in [*(rule.target.rules for rule in rules if hasattr(rule.target, "rules")), rules]
        for rule in nested
        if RESOURCE in getattr(getattr(rule.matcher, "regex", None), "pattern", "")
    }
    assert [handler for handler in found.values() if issubclass(handler, EndpointHandler)] == [EndpointHandler]
    for pattern, handler in found.items():
        if handler is not EndpointHandler:
            path = pattern[pattern.index(RESOURCE) :]
            yield path.rstrip("$").replace(r"([^/]+)", "name").replace("\\", ""), handler
