"""Published retrievers in little: checkpoints laid out as each project's are, and what each project's code computes.

The second half says in plain torch, on stock transformers, what the projects' public code does with a text and an
image: how the prompt is written, which positions tokens get, what is pooled. It uses nothing of ours.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageTextToText, AutoTokenizer

from nyx_hf.trainer.tiny import make_tiny_vlm

# ---------------------------------------------------------------- checkpoints


def backbone(folder: Path, model_type: str) -> Path:
    """A stock folder whose embeddings have rows to spare, as the real ones have."""
    make_tiny_vlm(folder, model_type, initializer_range=0.2)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    model.resize_token_embeddings(model.config.get_text_config().vocab_size + 8, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


def renamed(folder: Path, name: Callable[[str], str], **more: Tensor) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name(key): weight for key, weight in weights.items()} | more, folder / "model.safetensors")


def configured(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def adapter(folder: Path, base: Path, loader: Any, name: Callable[[str], str], **how: Any) -> Path:
    """A LoRA adapter whose updates are not zero, its weights named as `name` says."""
    model = get_peft_model(loader.from_pretrained(base), LoraConfig(r=4, lora_alpha=64, use_dora=True, **how))
    for key, weight in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(folder, save_embedding_layers=False)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name(key): weight for key, weight in weights.items()}, folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    # what the projects' scripts leave there: a path of theirs, and targets of another family
    config |= {"base_model_name_or_path": "/share/Qwen-VL-Instruct", "task_type": "CAUSAL_LM"}
    config["target_modules"] = [*config["target_modules"], "gate_up_proj"]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def headless(key: str) -> str:
    key = key.removeprefix("model.")
    return key if key.startswith(("visual.", "language_model.")) else f"language_model.{key}"


def nyx(root: Path) -> Path:
    """Merged into the headless model before it was saved."""
    folder = backbone(root / "Nyx-3B-Feedback", "qwen2_5_vl")
    renamed(folder, headless)
    configured(folder, architectures=["Qwen2_5_VLModel"])
    return folder


def nyx_adapter(root: Path) -> Path:
    base = backbone(root / "base", "qwen2_5_vl")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "qkv", "down_proj"]
    return adapter(root / "nyx-0", base, AutoModel, str, target_modules=targets)


def u_marvel(root: Path) -> Path:
    """With a language head of its own, and a learned temperature."""
    folder = backbone(root / "U-MARVEL-Qwen2VL-7B-Instruct", "qwen2_vl")
    head = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].clone()
    renamed(folder, str, **{"lm_head.weight": head, "sim.temp": torch.tensor(0.02)})
    configured(folder, architectures=["Qwen2VLRetFinetuneForConditionalGeneration"])
    return folder


def lamra(root: Path) -> Path:
    folder = backbone(root / "LamRA-Ret", "qwen2_vl")
    configured(folder, architectures=["Qwen2VLRetForConditionalGeneration"])
    return folder


def lamra_qwen25(root: Path) -> Path:
    return backbone(root / "LamRA-Ret-Qwen2.5VL-7b", "qwen2_5_vl")


def rzenembed(root: Path) -> Path:
    """As its wrapper would save itself: the model is its `base`."""
    folder = backbone(root / "RzenEmbed-v2-7B", "qwen2_vl")
    renamed(folder, lambda key: f"base.{key}")
    return folder


def gme(root: Path) -> Path:
    """Under a name that says nothing: its own code's class does."""
    folder = backbone(root / "retriever", "qwen2_vl")
    code = {"AutoConfig": "modeling_gme_qwen2vl.GmeQwen2VLConfig", "AutoModel": "modeling_gme_qwen2vl.GmeQwen2VL"}
    configured(folder, architectures=["Qwen2VLForConditionalGeneration"], auto_map=code)
    return folder


def vlm2vec(root: Path) -> Path:
    """An adapter from the days when the language model stood under `model.`."""
    base = backbone(root / "base", "qwen2_vl")
    return adapter(
        root / "VLM2Vec-V2.0",
        base,
        AutoModelForImageTextToText,
        lambda key: key.replace(".model.language_model.", ".model.").replace(".model.visual.", ".visual."),
        target_modules=["qkv", "q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"],
    )


def qwen3_vl_embedding(root: Path) -> Path:
    """Its tokenizer ends every text with a token, as those of Qwen3-Embedding do."""
    folder = backbone(root / "Qwen3-VL-Embedding-2B", "qwen3_vl")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    end = ("<|endoftext|>", tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A <|endoftext|>", special_tokens=[end])
    tokenizer.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- what their code computes


@cache
def stock_model(loader: Any, folder: Path, adapter: Path | None, wrapper: str) -> Any:
    model = loader.from_pretrained(folder, key_mapping={rf"^{wrapper}": ""} if wrapper else None)
    return (PeftModel.from_pretrained(model, adapter).merge_and_unload() if adapter else model).eval()


@dataclass
class Stock:
    """A stock model with what its inputs are made with.

    Args:
        folder: A checkpoint that stock transformers reads.
        least: Fewest pixels of an image, for the image processor.
        most: Most pixels.
        tokens: What the project adds to the tokenizer.
        loader: The class that loads it.
        adapter: An adapter to merge in.
        wrapper: What stands before the weights' names.
    """

    folder: Path
    least: int
    most: int
    tokens: tuple[str, ...] = ()
    loader: Any = AutoModelForImageTextToText
    adapter: Path | None = None
    wrapper: str = ""

    def __post_init__(self) -> None:
        self.model = stock_model(self.loader, self.folder, self.adapter, self.wrapper)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.tokenizer.add_tokens(list(self.tokens))
        size = {"shortest_edge": self.least, "longest_edge": self.most}
        self.images = AutoImageProcessor.from_pretrained(self.folder, backend="pil", size=size)

    def inputs(self, prompt: str, image: Image.Image | None) -> dict[str, Tensor]:
        """Token ids, the image's placeholder widened, and its patches."""
        given = {}
        if image is not None:
            given = dict(self.images(images=[image], return_tensors="pt"))
            count = int(given["image_grid_thw"].prod()) // self.images.merge_size**2
            prompt = prompt.replace("<|image_pad|>", "<|image_pad|>" * count)
        return {"input_ids": torch.tensor([self.tokenizer(prompt)["input_ids"]]), **given}

    def id(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))

    @torch.no_grad()
    def three_dimensional(self, prompt: str, image: Image.Image | None) -> tuple[Tensor, Tensor]:
        """Ids and hidden states of the stock forward pass: image tokens have places in a grid."""
        given = self.inputs(prompt, image)
        kinds = (given["input_ids"] == self.id("<|image_pad|>")).long()
        hidden = inner(self.model)(**given, mm_token_type_ids=kinds).last_hidden_state
        return given["input_ids"][0], hidden[0]

    @torch.no_grad()
    def counted(self, prompt: str, image: Image.Image | None, *, both_ways: bool = False) -> tuple[Tensor, Tensor]:
        """Ids and hidden states where the language model gets embeddings alone: it counts tokens 0, 1, 2, …"""
        given = self.inputs(prompt, image)
        ids, model = given["input_ids"], inner(self.model)
        embedded = model.get_input_embeddings()(ids).clone()
        if image is not None:
            seen = model.visual(given["pixel_values"], grid_thw=given["image_grid_thw"]).pooler_output
            embedded[ids == self.id("<|image_pad|>")] = seen
        length = ids.shape[1]
        mask = torch.zeros(1, 1, length, length)
        if not both_ways:
            mask = mask.masked_fill(torch.ones(length, length).triu(1).bool(), torch.finfo(mask.dtype).min)
        places = torch.arange(length).view(1, 1, -1).expand(3, 1, -1)
        hidden = model.language_model(inputs_embeds=embedded, attention_mask=mask, position_ids=places)
        return ids[0], hidden.last_hidden_state[0]


def inner(model: Any) -> Any:
    """The headless model."""
    return getattr(model, "model", model)


def rounded(image: Image.Image, least: int, most: int, side: int = 28) -> Image.Image:
    """What qwen_vl_utils makes of an image before the processor sees it."""
    wide, tall = image.size
    new = [max(side, round(length / side) * side) for length in (tall, wide)]
    if math.prod(new) > most:
        shrink = math.sqrt(tall * wide / most)
        new = [math.floor(length / shrink / side) * side for length in (tall, wide)]
    elif math.prod(new) < least:
        grow = math.sqrt(least / (tall * wide))
        new = [math.ceil(length * grow / side) * side for length in (tall, wide)]
    return image.convert("RGB").resize((new[1], new[0]), Image.Resampling.BICUBIC)


def unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector, dim=-1)


PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
TOKEN = 28 * 28


def nyx_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    return _nyx(Stock(folder, TOKEN, 400 * TOKEN, loader=AutoModel), text, image, instruction)


def nyx_adapter_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    stock = Stock(folder.parent / "base", TOKEN, 400 * TOKEN, loader=AutoModel, adapter=plain_adapter(folder))
    return _nyx(stock, text, image, instruction)


def _nyx(stock: Stock, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    image = image and rounded(image, 4 * TOKEN, 16384 * TOKEN)
    _, hidden = stock.three_dimensional(f"{instruction}{PICTURE if image else ''}{text}", image)
    return unit(hidden[-1])


def u_marvel_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    tokens = ("<emb>", "<instruction_start>", "<instruction_end>")
    stock = Stock(folder, 4 * TOKEN, 16384 * TOKEN, tokens)
    image = image and rounded(image, 4 * TOKEN, 300 * TOKEN)
    asked = f"<instruction_start>{instruction}<instruction_end>" if instruction else ""
    words = " ".join(filter(None, (asked, text)))
    prompt = (
        f"{SYSTEM}<|im_start|>user\n{PICTURE if image else ''}{words}<|im_end|>\n"
        "<|im_start|>assistant\n<emb>.<|im_end|>\n<|im_start|>assistant\n"
    )
    ids, hidden = stock.counted(prompt, image, both_ways=True)
    counts = torch.ones(len(ids))
    if instruction:
        start, end = (ids.tolist().index(stock.id(token)) for token in tokens[1:])
        counts[start : end + 1] = 0
    return unit((hidden * counts[:, None]).sum(0) / counts.sum())


def lamra_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    return _lamra(Stock.counted, folder, text, image, instruction)


def lamra_qwen25_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    return _lamra(Stock.three_dimensional, folder, text, image, instruction)


def _lamra(run: Any, folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    stock = Stock(folder, 4 * TOKEN, 16384 * TOKEN, ("<emb>",))
    image = image and rounded(image, 4 * TOKEN, 300 * TOKEN)
    words = " ".join(filter(None, (instruction, text)))
    what = "image and sentence" if image and words else "image" if image else "sentence"
    said = f"{PICTURE if image else ''}{words}\nSummarize above {what} in one word: "
    prompt = (
        f"{SYSTEM}<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n<emb>.<|im_end|>\n<|im_start|>assistant\n"
    )
    ids, hidden = run(stock, prompt, image)
    return unit(hidden[ids.tolist().index(stock.id("<emb>")) - 1])


def rzenembed_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    image = image and rounded(image, 4 * TOKEN, 16384 * TOKEN)
    said = f"{PICTURE if image else ''}{instruction}{text}"
    return _endoftext(Stock(folder, 256 * TOKEN, 1280 * TOKEN, wrapper=r"base\."), SYSTEM, said, image)


def gme_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    image = image and rounded(image, 4 * TOKEN, 16384 * TOKEN)
    system = f"<|im_start|>system\n{instruction}<|im_end|>\n" if instruction else SYSTEM
    said = f"{PICTURE if image else ''}{text}"
    return _endoftext(Stock(folder, 256 * TOKEN, 1280 * TOKEN), system, said, image)


def _endoftext(stock: Stock, system: str, said: str, image: Image.Image | None) -> Tensor:
    prompt = f"{system}<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    ids, hidden = stock.counted(prompt, image)
    assert ids[-1] == stock.id("<|endoftext|>")
    return unit(hidden[-1])


def vlm2vec_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    words = " ".join(filter(None, (instruction, text)))
    stock = Stock(folder.parent / "base", 4 * TOKEN, 1280 * TOKEN, adapter=plain_adapter(folder))
    _, hidden = stock.counted(f"<|image_pad|> {words}" if image else words, image)
    return unit(hidden[-1])


def qwen3_vl_embedding_vector(folder: Path, text: str, image: Image.Image | None, instruction: str) -> Tensor:
    stock = Stock(folder, 4 * TOKEN, 10**9)  # their images come resized
    image = image and rounded(image, 4 * 32 * 32, 1800 * 32 * 32)
    asked = instruction or "Represent the user's input."
    prompt = (
        f"<|im_start|>system\n{asked}<|im_end|>\n"
        f"<|im_start|>user\n{PICTURE if image else ''}{text}<|im_end|>\n<|im_start|>assistant\n"
    )
    ids, hidden = stock.three_dimensional(prompt, image)
    assert ids[-1] == stock.id("<|endoftext|>")  # the tokenizer's own doing
    return unit(hidden[-1])


def plain_adapter(folder: Path) -> Path:
    """The same adapter as PEFT of today reads it."""
    plain = folder.with_name(f"{folder.name}-plain")
    if plain.is_dir():
        return plain
    plain.mkdir()
    places = {"model.layers.": "model.language_model.layers.", "visual.": "model.visual."}
    old = "vlm2vec" in folder.name.lower()
    weights = {}
    for key, weight in load_file(folder / "adapter_model.safetensors").items():
        name = key.removeprefix("base_model.model.")
        moved = [new + name.removeprefix(prefix) for prefix, new in places.items() if old and name.startswith(prefix)]
        weights[f"base_model.model.{moved[0] if moved else name}"] = weight
    save_file(weights, plain / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = sorted(set(config["target_modules"]) - {"gate_up_proj"})
    (plain / "adapter_config.json").write_text(json.dumps(config | {"task_type": None}))
    return plain


@dataclass(frozen=True)
class Case:
    """One project.

    Args:
        layout: What it is to be recognised as.
        make: Writes its checkpoint in little.
        vector: What its code gives for a text, an image and an instruction.
        matter: Changes of settings, each of which gives another vector.
        is_adapter: Whether it has a base beside it.
    """

    layout: str
    make: Callable[[Path], Path]
    vector: Callable[[Path, str, Image.Image | None, str], Tensor]
    matter: tuple[dict[str, Any], ...]
    is_adapter: bool = False


_COUNTED = {"positions": "mrope"}
CASES = {
    "nyx": Case("nyx", nyx, nyx_vector, ({"end_token": "eos"}, {"chat": True}, {"pooling": "mean"})),
    "nyx adapter": Case("nyx", nyx_adapter, nyx_adapter_vector, ({"end_token": "eos"},), is_adapter=True),
    "u-marvel": Case(
        "u-marvel",
        u_marvel,
        u_marvel_vector,
        (
            _COUNTED,
            {"attention": "causal"},
            {"mask_instruction": False, "instruction_marks": ()},
            {"instruction_marks": ()},
            {"instruction_separator": ""},
            {"assistant_prompt": ""},
            {"generation_prompt": False},
            {"system_prompt": ""},
            {"instruction_in": "user", "instruction_separator": ""},
        ),
    ),
    "lamra": Case(
        "lamra",
        lamra,
        lamra_vector,
        (
            _COUNTED,
            {"represent_mixed": ""},
            {"generation_prompt": False},
            {"system_prompt": ""},
            {"instruction_separator": ""},
            {"instruction_in": "user", "instruction_separator": ""},
        ),
    ),
    "lamra-qwen2.5": Case("lamra-qwen2.5", lamra_qwen25, lamra_qwen25_vector, ({"positions": "sequential"},)),
    "rzenembed": Case(
        "rzenembed",
        rzenembed,
        rzenembed_vector,
        (_COUNTED, {"end_token": ""}, {"system_prompt": ""}, {"round_images": False}, {"instruction_in": "user"}),
    ),
    "gme": Case(
        "gme",
        gme,
        gme_vector,
        (_COUNTED, {"end_token": ""}, {"instruction_in": "text"}, {"round_images": False}, {"min_pixels": 4 * TOKEN}),
    ),
    "vlm2vec": Case(
        "vlm2vec",
        vlm2vec,
        vlm2vec_vector,
        (_COUNTED, {"visual_format": ""}, {"visual_format": "{}"}, {"instruction_separator": ""}),
        is_adapter=True,
    ),
    "qwen3-vl-embedding": Case(
        "qwen3-vl-embedding",
        qwen3_vl_embedding,
        qwen3_vl_embedding_vector,
        ({"end_token": ""}, {"instruction_in": "user"}, {"generation_prompt": False}),
    ),
}
