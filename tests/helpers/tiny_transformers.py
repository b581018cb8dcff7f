"""Small models of transformers with random weights, and a tokenizer of a few words, without a download."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "a stitch in time saves nine, said the old tailor of gloucester",
    "the service answers in batches and the notebook shows what it measured",
    "good food and bad weather, happy people and sad songs",
    "grüße aus köln und zürich, naïve café",
    "3.14 and 2.71 are numbers; 42 is an answer",
)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,  # the usual 0.02 gives nearly the same answer to every text
}


@cache
def _word_pieces() -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    normalizer, pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    text = normalizer.normalize_str(" ".join(SENTENCES))
    words = sorted({word for word, _ in pre_tokenizer.pre_tokenize_str(text)})
    letters = sorted(set(text) - {" "})
    # A trainer would choose others each time. Of every second word there are pieces only.
    known = [*letters, *(f"##{letter}" for letter in letters), *(word for word in words[::2] if len(word) > 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known]
    places = {piece: place for place, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(places, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(vocabulary[:5])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return str(tokenizer.to_str())


def word_pieces(**more: Any) -> Any:
    """A fast tokenizer as BERT's."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_word_pieces()),
        **{
            name: f"[{name[:3].upper() if name != 'mask_token' else 'MASK'}]"
            for name in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        },
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **more,
    )


def bert(head: str, **more: Any) -> Any:
    """BertFor`head`, in eval mode, the same weights each time."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=word_pieces().vocab_size, **{**SIZES, **more})
    return getattr(transformers, f"BertFor{head}")(config).eval()


def distilbert(**more: Any) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.5,
    }
    config = transformers.DistilBertConfig(vocab_size=word_pieces().vocab_size, **{**sizes, **more})
    return transformers.DistilBertForSequenceClassification(config).eval()


def gpt2() -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=120, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.5
    )
    return transformers.GPT2LMHeadModel(config).eval()


def vit_pipeline(pixels: int = 32, **more: Any) -> Any:
    """A pipeline for images of three classes; `more` is the processor's."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {name: SIZES[name] for name in SIZES if name != "max_position_embeddings"}
    config = transformers.ViTConfig(image_size=pixels, patch_size=8, num_labels=3, **sizes)
    model = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor(**{"size": {"height": pixels, "width": pixels}, **more})
    return transformers.pipeline("image-classification", model=model, image_processor=processor)


def sentence_transformer(folder: Path | None = None, *, prompt: str = "", **more: Any) -> Any:
    """Mean pooling and normalised vectors; made from a folder, as all are."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            return sentence_transformer(Path(name), prompt=prompt, **more)
    model = bert("MaskedLM").bert
    model.save_pretrained(folder)
    word_pieces().save_pretrained(folder)
    first = Transformer(str(folder), **more)
    prompts = {"prompts": {"p": prompt}, "default_prompt_name": "p"} if prompt else {}
    return SentenceTransformer(modules=[first, Pooling(SIZES["hidden_size"]), Normalize()], device="cpu", **prompts)
