"""Small models of transformers with random weights, and tokenizers trained on a few sentences, without a download."""

from __future__ import annotations

from functools import cache
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
}


@cache
def _word_pieces() -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
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
