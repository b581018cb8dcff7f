"""Rows of the state on disk, and what they mean. What cannot be read is left out: other programs can write there."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Final

import msgspec

from workbench.config import ModelConfig, model_config
from workbench.core.model import DesiredModel, check_model_name, check_model_version
from workbench.core.version_plan import VersionPlan
from workbench.errors import InvalidInput
from workbench.versions.labels import check_label
from workbench.versions.shadow_sample import check_shadow
from workbench.versions.traffic_split import are_sound

VERSION_TABLES: Final = (
    """CREATE TABLE beside (
        name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, config TEXT NOT NULL, since REAL NOT NULL,
        deaths INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (name, version))""",
    "CREATE TABLE plans (name TEXT PRIMARY KEY, plan TEXT NOT NULL)",
)
"""What a name stands for beside the version that it is routed to."""

ASKED_TABLES: Final = ("CREATE TABLE asked (name TEXT PRIMARY KEY)",)
"""The models of the repositories that were asked for by their names, with `--repository-mode explicit`."""
ROLLOUT_TABLES: Final = ("CREATE TABLE rollouts (name TEXT PRIMARY KEY, rollout TEXT NOT NULL)",)

_DIGEST = re.compile(r"[0-9a-f]{64}")


def columns_of(model: DesiredModel) -> tuple[str, str, str, str]:
    return model.name, model.version, model.digest, json.dumps(dataclasses.asdict(model.config))


def model_of(name: str, version: str, digest: str, config: str) -> DesiredModel | None:
    """The model of a row; None where it can be none. Settings that this version lacks are left."""
    try:
        check_model_name(name)
        check_model_version(version)
        known = {field.name for field in dataclasses.fields(ModelConfig)}
        settings = model_config({key: value for key, value in json.loads(config).items() if key in known})
    except (InvalidInput, ValueError, AttributeError):
        return None
    return DesiredModel(name, version, digest, settings) if _DIGEST.fullmatch(digest) else None


def text_of(plan: VersionPlan) -> str:
    return msgspec.json.encode(plan).decode()


def plan_of(name: str, text: str) -> VersionPlan:
    """The plan of a row; an empty one where it can be none."""
    try:
        check_model_name(name)
        plan = msgspec.json.decode(text, type=VersionPlan)
        of_shares = [version for spans in plan.shares.values() for version in spans]
        for version in (*plan.beside, *plan.held, *plan.before, *plan.labels.values(), *plan.spans, *of_shares):
            check_model_version(version)
        for label in plan.labels:
            check_label(label)
        if plan.shadow is not None:
            check_shadow(plan.shadow)
        if all(are_sound(spans) for spans in (plan.spans, *plan.shares.values())):
            return plan
    except (InvalidInput, msgspec.DecodeError, UnicodeDecodeError):
        pass
    return VersionPlan()
