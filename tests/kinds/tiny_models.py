"""Tiny image-to-text models with random weights and tokenizers of a few words, as directories of transformers."""

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    GitConfig,
    GitForCausalLM,
    GitProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)  # fmt: skip

SIDE = 32
WORDS = (
    "a", "an", "the", "red", "blue", "green", "small", "large", "cat", "dog", "bird", "star",
    "circle", "square", "table", "field", "street", "man", "woman", "child", "sits", "stands", "runs", "on",
    "in", "near", "under", "with", "and", "of", "two", "three",
)  # fmt: skip


def tokenizer(**special):
    """A word-level tokenizer; `special` are names of transformers (pad_token ...) and their texts."""
    texts = list(dict.fromkeys(special.values()))
    vocabulary = {word: number for number, word in enumerate([*texts, *WORDS])}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    start, end = special.get("cls_token"), special.get("sep_token")
    if start:
        own.post_processor = processors.TemplateProcessing(
            single=f"{start} $A {end}", special_tokens=[(start, vocabulary[start]), (end, vocabulary[end])]
        )
    return PreTrainedTokenizerFast(tokenizer_object=own, **special)


BERT = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURE = {"size": {"height": SIDE, "width": SIDE}}


def seeded(make, config, scale=6.0):
    """A model whose weights are those of one seed, and wide enough that it does not say the same of every picture."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = make(config)
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.mul_(scale)
    return model


def write_blip(folder):
    words = tokenizer(**BERT)
    config = BlipConfig(
        text_config={
            **SMALL, "vocab_size": len(words), "encoder_hidden_size": 32, "projection_dim": 16,
            "max_position_embeddings": 24, "bos_token_id": words.cls_token_id, "pad_token_id": words.pad_token_id,
            "eos_token_id": words.sep_token_id, "sep_token_id": words.sep_token_id,
        },
        vision_config={**SMALL, "image_size": SIDE, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
    )  # fmt: skip
    seeded(BlipForConditionalGeneration, config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(**PICTURE), words).save_pretrained(folder)
    return folder


def write_git(folder):
    words = tokenizer(**BERT)
    config = GitConfig(
        **SMALL, vocab_size=len(words), max_position_embeddings=24, bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id, pad_token_id=words.pad_token_id,
        vision_config={**SMALL, "image_size": SIDE, "patch_size": 16},
    )  # fmt: skip
    seeded(GitForCausalLM, config).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    GitProcessor(pictures, words).save_pretrained(folder)
    return folder


def write_blip2(folder):
    words = tokenizer(pad_token="<pad>", bos_token="</s>", eos_token="</s>", unk_token="<unk>")
    processor = Blip2Processor(BlipImageProcessorPil(**PICTURE), words, num_query_tokens=4)  # adds its image token
    shared = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}  # vLLM wants heads of 32 on a CPU
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**shared, intermediate_size=48, image_size=SIDE, patch_size=16).to_dict(),
        qformer_config=Blip2QFormerConfig(
            **shared, intermediate_size=48, encoder_hidden_size=64, vocab_size=len(words), cross_attention_frequency=1
        ).to_dict(),
        text_config=OPTConfig(
            **shared, ffn_dim=48, vocab_size=len(words), max_position_embeddings=128, word_embed_proj_dim=64,
            bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    seeded(Blip2ForConditionalGeneration, config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def pictures(count):
    """Different pictures, of different sizes, the same each time."""
    generator = np.random.Generator(np.random.PCG64(5))
    return [
        Image.fromarray(generator.integers(0, 255, (4 + n, 5, 3), dtype=np.uint8)).resize((40 + n, 30))
        for n in range(count)
    ]
