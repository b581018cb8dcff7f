"""Models and pipelines of transformers and sentence-transformers, for the table in docs/models.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.helpers import tiny_transformers as tiny
from tests.model_zoo.case import Case

FRESH = ["the tailor of gloucester jumps", "sad songs in the rain, and good weather", "", "42 foxes", "café \u2603"]


def _pipeline(task: str, head: str, **options: Any) -> Callable[[], tuple[object, object]]:
    def make() -> tuple[object, object]:
        from transformers import pipeline

        return pipeline(task, model=tiny.bert(head, num_labels=3), tokenizer=tiny.word_pieces(), **options), FRESH

    return make


def _many_labels() -> tuple[object, object]:
    from transformers import pipeline

    model = tiny.bert("SequenceClassification", num_labels=4, problem_type="multi_label_classification")
    return pipeline("text-classification", model=model, tokenizer=tiny.word_pieces()), FRESH


def _questions() -> tuple[object, object]:
    rows = {"question": ["who jumps", "what is an answer"], "context": list(tiny.SENTENCES[::5])}
    return (tiny.bert("QuestionAnswering"), tiny.word_pieces()), rows


def _distilbert() -> tuple[object, object]:
    return (tiny.distilbert(num_labels=2), tiny.word_pieces()), FRESH


def _images() -> tuple[object, object]:
    from PIL import Image

    random = np.random.default_rng(1)
    sizes = ((20, 30, 3), (50, 40, 3), (64, 64, 3))
    return tiny.vit_pipeline(), [Image.fromarray(random.integers(0, 256, size, np.uint8)) for size in sizes]


def _tensors(model: Callable[[], object]) -> Callable[[], tuple[object, object]]:
    def make() -> tuple[object, object]:
        ids = np.random.default_rng(1).integers(5, 100, (4, 12))
        return model(), {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    return make


def _feature_extraction() -> tuple[object, object]:
    from transformers import pipeline

    return pipeline("feature-extraction", model=tiny.bert("MaskedLM").bert, tokenizer=tiny.word_pieces()), FRESH


CASES: list[Case] = [
    Case("BERT, text classification pipeline", _pipeline("text-classification", "SequenceClassification")),
    Case("BERT, text classification with several labels at once", _many_labels),
    Case("BERT, token classification pipeline", _pipeline("token-classification", "TokenClassification")),
    Case(
        "BERT, token classification with whole entities",
        _pipeline("token-classification", "TokenClassification", aggregation_strategy="average"),
    ),
    Case("BERT, question answering (model, tokenizer)", _questions),
    Case("BERT, hidden states as tensors", _tensors(lambda: tiny.bert("MaskedLM").bert)),
    Case("DistilBERT, text classification (model, tokenizer)", _distilbert),
    Case("GPT-2, logits as tensors", _tensors(tiny.gpt2)),
    Case("SentenceTransformer, mean pooling and normalised", lambda: (tiny.sentence_transformer(), FRESH)),
    Case("ViT, image classification pipeline", _images),
    Case("transformers feature-extraction pipeline", _feature_extraction, "not served as a whole"),
]
