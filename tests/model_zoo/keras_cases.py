"""Keras models for the table in docs/models.md."""

from __future__ import annotations

from tests.helpers.keras_models import KERAS, lstm
from tests.model_zoo.case import Case

CASES: list[Case] = [
    *(Case(kind, make) for kind, make in KERAS.items()),
    Case("keras.Sequential, LSTM of any length, on torch", lambda: lstm(None), "for one length only"),
]
