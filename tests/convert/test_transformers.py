"""Pipelines and models of transformers, loaded into a real service and asked beside the original."""

from __future__ import annotations

import numpy as np
import pandas as pd
from transformers import pipeline

from tests.helpers.tiny_transformers import SENTENCES, bert, word_pieces
from workbench.api import Workbench

TEXTS = [*SENTENCES, "", "Zürich \u2603 \U0001f642", "word " * 200, "a"]


def test_a_text_classifier_takes_texts_and_gives_labels_and_scores(wb: Workbench) -> None:
    pipe = pipeline("text-classification", model=bert("SequenceClassification", num_labels=3), tokenizer=word_pieces())
    before = pipe.tokenizer.model_max_length
    report = wb.load("m", pipe)
    assert "exported BertForSequenceClassification with its tokenizer (transformers 5." in report.exported
    assert "texts over 64 tokens are cut" in report.exported
    assert pipe.tokenizer.model_max_length == before
    own = pipe(TEXTS, truncation=True, max_length=64)
    got = wb.predict("m", TEXTS)
    assert got["label"].tolist() == [each["label"] for each in own]
    np.testing.assert_allclose(got["score"], [each["score"] for each in own], atol=1e-5)
    assert got["scores"].shape == (len(TEXTS), 3)
    for value in (TEXTS[1], {"text": TEXTS[1:2]}, np.array(TEXTS[1:2])):
        assert wb.predict("m", value)["label"].tolist() == got["label"][1:2].tolist()
    series = pd.Series(TEXTS[:3], index=["x", "y", "z"])
    assert list(wb.predict("m", series).to_pandas().index) == ["x", "y", "z"]
    assert wb["m"].status.batch_evidence == "sampled"
