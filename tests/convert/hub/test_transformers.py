"""Pipelines and models of transformers, loaded and asked beside the original."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CanineTokenizer, TextClassificationPipeline, pipeline

from tests.helpers import tiny_transformers as tiny
from tests.helpers.bundle_client import ServedHere
from tests.helpers.tiny_transformers import SENTENCES, bert, word_pieces
from workbench.api import Workbench
from workbench.client.predict import Predictor
from workbench.client.results import LoadReport, Prediction
from workbench.convert.hub.hub_folder import not_fetched
from workbench.convert.hub.transformers_text import given_pairs
from workbench.convert.load import load
from workbench.errors import InvalidInput, ModelError, NotFound, Unsupported

Loaded = Callable[..., tuple[LoadReport, ServedHere]]

TEXTS = [*SENTENCES, "", "Zürich \u2603 \U0001f642", "word " * 200, "a"]


@pytest.fixture(autouse=True, scope="module")
def exporter_is_imported() -> None:
    """Each export's process begins as a copy of this one, and so with what this one has imported."""
    for name in ("torch._dynamo", "torch.onnx._internal.exporter._core", "torch.onnx._internal.exporter._torchlib.ops"):
        importlib.import_module(name)


@pytest.fixture
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    def call(source: object, sample: object = None) -> tuple[LoadReport, ServedHere]:
        client = ServedHere(tmp_path_factory.mktemp("store"))
        return asyncio.run(load(client, "m", source, {}, sample=sample)), client

    return call


def asked(client: ServedHere, value: object) -> Prediction:
    return asyncio.run(Predictor(client).predict("m", value))


def test_a_text_classifier_takes_texts_and_gives_labels_and_scores(wb: Workbench) -> None:
    pipe = pipeline("text-classification", model=bert("SequenceClassification", num_labels=3), tokenizer=word_pieces())
    pipe.tokenizer(TEXTS[:2], truncation=True, max_length=5, padding="max_length")  # which stays in its tokenizer.json
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
    with pytest.raises(InvalidInput, match="takes text"):
        wb.predict("m", [1, 2])


class Shouting(TextClassificationPipeline):
    def preprocess(self, inputs: Any, **more: Any) -> Any:
        return super().preprocess(inputs.upper(), **more)


@pytest.mark.long
def test_a_pipeline_cuts_where_it_was_made_to(loaded: Loaded) -> None:
    model = bert("SequenceClassification", num_labels=3, problem_type="multi_label_classification")
    pipe = pipeline("text-classification", model=model, tokenizer=word_pieces(), truncation=True, max_length=6)
    report, client = loaded(pipe, TEXTS)
    assert "texts over 6 tokens are cut" in report.exported
    np.testing.assert_allclose(asked(client, TEXTS)["score"], [each["score"] for each in pipe(TEXTS)], atol=1e-5)


def test_images_go_in_as_files_or_pictures(wb: Workbench) -> None:
    pipe = tiny.vit_pipeline(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, do_center_crop=True)
    report = wb.load("m", pipe)
    assert "exported ViTForImageClassification with its image processor" in report.exported
    random = np.random.default_rng(3)
    images = [Image.fromarray(random.integers(0, 256, size, np.uint8)) for size in ((50, 70, 3), (33, 33, 3), (90, 40))]
    own = [pipe(image, top_k=1)[0] for image in images]
    got = wb.predict("m", images)
    assert got["label"].tolist() == [each["label"] for each in own]
    np.testing.assert_allclose(got["score"], [each["score"] for each in own], atol=1e-5)
    file = io.BytesIO()
    images[0].save(file, "WEBP", lossless=True)
    assert wb.predict("m", file.getvalue())["score"] == pytest.approx(own[0]["score"], abs=1e-5)
    assert wb.predict("m", [file.getvalue()])["label"].tolist() == [own[0]["label"]]
    assert wb["m"].status.max_batch_size
    with pytest.raises(InvalidInput, match=r"a JPEG, PNG, WEBP, BMP file, not its path or address: Path\(FILE\)"):
        wb.predict("m", "picture.png")
    with pytest.raises(InvalidInput, match=r"an array of uint8 was given; send a picture as Pillow's"):
        wb.predict("m", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InvalidInput, match="row 1 is no image that can be read; give the bytes of a JPEG, PNG"):
        wb.predict("m", [images[0], b"GIF89a"])
    with pytest.raises(InvalidInput, match="row 0 is no image"):
        wb.predict("m", file.getvalue()[:200])
    with pytest.raises(InvalidInput, match="too long and narrow"):
        wb.predict("m", Image.new("L", (2000, 1)))


def test_entities_are_joined_as_the_pipeline_joins_them(loaded: Loaded) -> None:
    labels = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
    model = bert("TokenClassification", num_labels=5, id2label=labels)
    how = {"aggregation_strategy": "average", "ignore_labels": ["I-LOC"]}
    pipe = pipeline("token-classification", model=model, tokenizer=word_pieces(), **how)
    report, client = loaded(pipe)
    assert "labels equal" in report.compared
    texts = ["the old tailor of gloucester, 42!", "", "Köln\u2603Zürich \U0001f642 naïve", "dogs " * 70]
    pipe.tokenizer.model_max_length = 64
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = pipe(texts)
    got = [json.loads(text) for text in asked(client, texts)["entities"]]
    assert [[(e["entity_group"], e["word"], e["start"], e["end"]) for e in row] for row in got] == [
        [(e["entity_group"], e["word"], e["start"], e["end"]) for e in row] for row in own
    ]
    assert [e["score"] for row in got for e in row] == pytest.approx(
        [float(e["score"]) for row in own for e in row], abs=1e-5
    )
    assert sum(map(len, got)) >= 2


@pytest.mark.long
def test_a_pair_answers_questions_from_its_context(loaded: Loaded) -> None:
    report, client = loaded((bert("QuestionAnswering"), word_pieces()))
    assert "labels equal" in report.compared
    context = "Grüße aus Köln: the service answers in batches"
    got = asked(client, {"question": ["who answers?", "what"], "context": [context, "x " * 200]})
    assert got["answer"].tolist()[0] == context[got["start"][0] : got["end"][0]]
    assert ((got["score"] > 0) & (got["score"] <= 1)).all()
    with pytest.raises(InvalidInput, match="too short to respect"):
        asked(client, {"question": ["word " * 100], "context": [context]})


@pytest.mark.long
def test_a_sentence_transformer_gives_the_vectors_of_encode_with_its_prompt(tmp_path: Path, loaded: Loaded) -> None:
    model = tiny.sentence_transformer(tmp_path, prompt="query: ", max_seq_length=20)
    report, client = loaded(model)
    assert "texts over 20 tokens are cut" in report.exported
    assert "each text begins with its prompt 'query: '" in report.exported
    np.testing.assert_allclose(asked(client, TEXTS)["embedding"], model.encode(TEXTS), atol=1e-5)


def test_a_folder_of_the_hub_is_served_with_its_tokenizer(tmp_path: Path, loaded: Loaded) -> None:
    model, tokenizer = tiny.distilbert(num_labels=2, id2label={0: "no", 1: "yes"}), word_pieces()
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"a model and no tokenizer \(tokenizer.json\)"):
        loaded(str(tmp_path))
    tokenizer.save_pretrained(tmp_path)
    _, client = loaded(tmp_path, sample=TEXTS)
    own = pipeline("text-classification", model=model, tokenizer=tokenizer)(TEXTS, truncation=True, max_length=64)
    assert asked(client, TEXTS)["label"].tolist() == [each["label"] for each in own]


def config(**said: Any) -> str:
    return json.dumps({"model_type": "bert", "architectures": ["BertForSequenceClassification"], **said})


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"model.safetensors": "x"}, ModelError, "no config.json, so it is half of a model"),
        ({"config.json": config()[:20]}, ModelError, "config.json cannot be read"),
        ({"config.json": config()}, ModelError, r"no weights \(model.safetensors\); copy the whole folder"),
        ({"config.json": config(), "pytorch_model.bin": "x"}, Unsupported, "weights are a pickle"),
        ({"config.json": config(), "model.safetensors": "x", "tokenizer.json": "{}"}, ModelError, "cannot be read"),
        ({"config.json": config(architectures=["BertModel"])}, Unsupported, "BertModel, which has no head"),
        (
            {"config.json": config(architectures=["Mine"], auto_map={})},
            Unsupported,
            "code that lies in the folder.*trust_r",
        ),
        (
            {"config.json": config(architectures=["NewForSequenceClassification"], transformers_version="99.0")},
            Unsupported,
            r"NewFor\w+, which transformers [0-9.]+ does not have; it was written by transformers 99.0",
        ),
        ({"modules.json": "[]"}, ModelError, "the folder cannot be read"),
        ({"modules.json": "[3]"}, ModelError, "modules.json cannot be read"),
        ({"modules.json": '[{"type": "torch.hub"}]'}, Unsupported, "'torch.hub' in modules.json is code of its own"),
        ({"modules.json": "[]", "0_Transformer/pytorch_model.bin": "x"}, Unsupported, "weights are a pickle"),
    ],
)
def test_a_folder_that_lacks_something_is_refused(
    tmp_path: Path, files: dict[str, str], kind: type[Exception], said: str, loaded: Loaded
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=said):
        loaded(tmp_path)


def test_weights_without_the_trained_head_are_refused(tmp_path: Path, loaded: Loaded) -> None:
    bert("SequenceClassification").bert.save_pretrained(tmp_path)
    word_pieces().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config(**tiny.SIZES, vocab_size=word_pieces().vocab_size))
    with pytest.raises(ModelError, match=r"lack \d of BertForSequenceClassification's tensors \(classifier"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("lost", "said"),
    [("tokenizer", "a model and no tokenizer"), ("weight", r"lack 1 of BertModel's tensors \(encoder.layer.1.att")],
)
def test_a_folder_of_a_sentence_transformer_that_lacks_a_part_is_refused(
    tmp_path: Path, lost: str, said: str, loaded: Loaded
) -> None:
    tiny.sentence_transformer().save(str(tmp_path))
    if lost == "tokenizer":
        for each in tmp_path.glob("tokenizer*"):
            each.unlink()
    else:
        weights = load_file(tmp_path / "model.safetensors")
        del weights["encoder.layer.1.attention.self.query.weight"]
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=said):
        loaded(tmp_path)


@pytest.mark.long
def test_a_tokenizer_that_was_set_to_pad_on_the_left_changes_no_answer(loaded: Loaded) -> None:
    """A pipeline that generates text sets it so, for all that share the tokenizer."""
    pipe = pipeline("text-classification", model=bert("SequenceClassification", num_labels=3), tokenizer=word_pieces())
    own = [each["label"] for each in pipe(TEXTS, truncation=True, max_length=64)]
    pipe.tokenizer.padding_side = "left"
    _, client = loaded(pipe)
    assert asked(client, TEXTS)["label"].tolist() == own


def test_a_name_of_the_hub_needs_the_network(monkeypatch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said = r"HF_HUB_OFFLINE is set, and this machine has no copy .* hf download nobody/nothing --local-dir FOLDER"
    with pytest.raises(NotFound, match=said):
        loaded("hf:nobody/nothing")
    with pytest.raises(NotFound, match=r"no name of the hub, which is as hf:org/name$"):
        loaded("hf:a name")
    with pytest.raises(InvalidInput, match="takes a name of the hub"):
        loaded("hf:")


def test_why_the_hub_gave_nothing_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants
    from huggingface_hub import errors

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert not_fetched("o/m", errors.LocalEntryNotFoundError("")).startswith("the hub cannot be reached from here, and")
    unknown = errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError)
    assert not_fetched("o/m", unknown).startswith("the hub has no model of this name that you may see")
    assert not_fetched("o/m", OSError("disk full\nat x")).startswith("OSError: disk full; try it again")


@pytest.mark.parametrize(
    "sample",
    [
        {"question": ["who", "what"], "context": ["a fox", "an answer"]},
        [{"question": "who", "context": "a fox"}, {"question": "what", "context": "an answer"}],
        pd.DataFrame({"question": ["who", "what"], "context": ["a fox", "an answer"]}),
    ],
    ids=["dict", "records", "frame"],
)
def test_a_sample_of_questions_has_the_form_of_what_predict_takes(sample: Any) -> None:
    assert given_pairs(sample) == [("who", "a fox"), ("what", "an answer")]


@pytest.mark.parametrize("sample", ["who", ["who"], {"question": ["who"]}, [{"question": "who"}], 3])
def test_a_sample_without_questions_and_contexts_says_the_forms(sample: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"\{'question': \[...\], 'context': \[...\]\}, a DataFrame .* list of dicts"
    ):
        given_pairs(sample)


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        (lambda: (bert("SequenceClassification"), CanineTokenizer()), Unsupported, "a tokenizer in Python"),
        (word_pieces, InvalidInput, r"is no model; load the pair \(model, tokenizer\)"),
        (lambda: (bert("MaskedLM"), word_pieces()), Unsupported, "has no head whose answer is served as text"),
        (lambda: (bert("TokenClassification"), bert("TokenClassification")), InvalidInput, "a pair is"),
        (
            lambda: Shouting(model=bert("SequenceClassification"), tokenizer=word_pieces(), task="text-classification"),
            Unsupported,
            "Shouting changes a pipeline of transformers in Python",
        ),
        (
            lambda: pipeline(
                "text-classification", bert("SequenceClassification"), tokenizer=word_pieces(), add_special_tokens=True
            ),
            Unsupported,
            "a pipeline with add_special_tokens is not served as a whole",
        ),
        (
            lambda: pipeline("fill-mask", model=bert("MaskedLM"), tokenizer=word_pieces()),
            Unsupported,
            "a pipeline for fill-mask is not served as a whole .* load pipe.model",
        ),
    ],
)
def test_what_is_not_served_says_what_to_load_instead(
    source: Any, kind: type[Exception], said: str, loaded: Loaded
) -> None:
    with pytest.raises(kind, match=said):
        loaded(source())
