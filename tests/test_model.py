"""The model: one vector for any content, the same alone and in any batch, for every backbone and setting."""

import itertools
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText, BertConfig, BertModel

from nyx_hf.modeling.configuration_nyx import PRESETS, NyxSettings, preset_settings
from nyx_hf.modeling.content_nyx import ContentError
from nyx_hf.modeling.modeling_nyx import NyxModel, code_hash
from nyx_hf.modeling.pooling_nyx import pool
from nyx_hf.trainer.tiny import MODEL_TYPES
from tests.pictures import noise_image

SETTINGS: list[dict[str, Any]] = [
    {"pooling": pooling, "attention": attention, "chat": chat}
    for (pooling, attention), chat in zip(
        itertools.product(("last", "mean"), ("causal", "bidirectional")), (False, True, True, False), strict=True
    )
]


def contents() -> list[Any]:
    """Text, image, text with image, interleaved, video, and long text: of very different lengths."""
    one, two, three = noise_image(56, 56, 1), noise_image(90, 40, 2), noise_image(33, 71, 3)
    return [
        "where is the harbour",
        one,
        {"text": "a red boat", "image": two},
        ("first ", one, " then ", three, " and the end"),
        {"text": "moving", "video": [noise_image(40, 40, seed) for seed in range(5)]},
        "a long text " * 30,
    ]


def distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).max())


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s['pooling']}-{s['attention']}")
def test_same_vector_alone_and_in_any_batch(
    tiny_backbones: dict[str, Path], model_type: str, settings: dict[str, Any]
) -> None:
    model = NyxModel.from_backbone(tiny_backbones[model_type], "nyx", **settings)
    items = contents()
    alone = np.stack([model.encode(item, prompt="Find: ") for item in items])
    for side in ("left", "right"):
        model.processor.tokenizer.padding_side = side
        for batch_size in (2, 6):
            assert distance(model.encode(items, prompt="Find: ", batch_size=batch_size), alone) < 1e-5
    order = [3, 0, 5, 1, 4, 2]
    shuffled = model.encode([items[at] for at in order], prompt="Find: ", batch_size=3)
    assert distance(shuffled, alone[order]) < 1e-5
    similarities = alone @ alone.T
    assert (similarities[~np.eye(len(items), dtype=bool)] < 0.999).all()  # the vectors do differ


def test_settings_change_the_vector(tiny_backbones: dict[str, Path]) -> None:
    item = ("look ", noise_image(60, 60, 3), " here")
    vectors = [NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], "nyx", **s).encode(item) for s in SETTINGS]
    vectors.append(NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], "nyx", positions="sequential").encode(item))
    for left, right in itertools.combinations(vectors, 2):
        assert distance(left, right) > 1e-4


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_positions_are_right_without_token_types(tiny_backbones: dict[str, Path], model_type: str) -> None:
    """Qwen2.5-VL silently falls back to 1-D positions when `mm_token_type_ids` is left out; we work it out."""
    model = NyxModel.from_backbone(tiny_backbones[model_type], "nyx")
    batch = model.processor.process([("a ", noise_image(84, 56, 1), " b")])
    with torch.inference_mode():
        full = model(**batch).embeddings
        batch.pop("mm_token_type_ids")
        bare = model(**batch).embeddings
        flat = model(**batch, position_ids=torch.arange(batch["input_ids"].shape[1])[None]).embeddings
    assert torch.equal(full, bare)
    assert (full - flat).abs().max() > 1e-4


def test_sequential_positions_are_literal(tiny_backbones: dict[str, Path]) -> None:
    mrope = NyxModel.from_backbone(tiny_backbones["qwen2_vl"], "nyx")
    sequential = NyxModel.from_backbone(tiny_backbones["qwen2_vl"], "nyx", positions="sequential")
    batch = mrope.processor.process([("a ", noise_image(84, 56, 1), " b"), "text"])
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        assert torch.equal(sequential(**batch).embeddings, mrope(**batch, position_ids=positions).embeddings)


def test_the_backbone_computes_the_hidden_states(tiny_backbones: dict[str, Path]) -> None:
    """Ours is the stock model plus pooling: the same hidden states, bit for bit."""
    for model_type in MODEL_TYPES:
        model = NyxModel.from_backbone(tiny_backbones[model_type], "nyx")
        stock = AutoModel.from_pretrained(tiny_backbones[model_type])
        batch = model.processor.process(contents()[:4])
        with torch.inference_mode():
            ours, theirs = model(**batch), stock(**batch)
        assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)
        assert type(model).__name__ == type(stock).__name__


def test_pooling_by_hand() -> None:
    hidden = torch.arange(24, dtype=torch.float32).reshape(2, 4, 3)
    left, right = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert pool(hidden, left, "last").tolist() == [[9, 10, 11], [21, 22, 23]]
    assert pool(hidden, right, "last").tolist() == [[3, 4, 5], [21, 22, 23]]
    assert pool(hidden, left, "mean").tolist() == [[7.5, 8.5, 9.5], [16.5, 17.5, 18.5]]
    assert pool(hidden.bfloat16(), left, "mean").dtype == torch.float32
    with pytest.raises(ValueError, match="no token to pool"):
        pool(hidden, torch.zeros(2, 4), "mean")


def test_instruction_is_left_out_of_the_mean(tiny_backbones: dict[str, Path]) -> None:
    """U-MARVEL, finding 2: the mean over the same hidden states without the instruction's tokens."""
    model = NyxModel.from_backbone(tiny_backbones["qwen2_vl"], "u-marvel")
    assert model.config.get_text_config().is_causal is False
    prompt = "Find a picture that fits.\n"
    batch = model.processor.process([("a ", noise_image(60, 40, 1), " b")], prompt=prompt)
    tokens = model.processor.tokenizer(prompt)["input_ids"]
    left_out = batch["input_ids"][0][(batch["attention_mask"] - batch["pooling_mask"])[0].bool()].tolist()
    assert left_out == tokens
    with torch.inference_mode():
        output = model(**batch)
    kept = output.last_hidden_state[0][batch["pooling_mask"][0].bool()]
    assert torch.allclose(output.embeddings[0], kept.mean(dim=0), atol=1e-6)
    everything = output.last_hidden_state[0].mean(dim=0)
    assert (output.embeddings[0] - everything).abs().max() > 1e-4
    bare = model.encode(("a ", noise_image(60, 40, 1), " b"))
    assert distance(bare, model.encode(("a ", noise_image(60, 40, 1), " b"), prompt=prompt)) > 1e-3  # it is still seen


def rendered(model: NyxModel, item: Any, prompt: str | None = None) -> str:
    plan = model.processor.plan(item, prompt)
    text = model.processor.tokenizer.decode(plan.tokens.ids)
    while "<|image_pad|><|image_pad|>" in text:
        text = text.replace("<|image_pad|><|image_pad|>", "<|image_pad|>")
    return str(text)


def test_presets_render_as_the_papers_say(tiny_backbones: dict[str, Path]) -> None:
    folder, image = tiny_backbones["qwen2_5_vl"], noise_image(30, 30, 1)
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    nyx = NyxModel.from_backbone(folder, "nyx")
    assert rendered(nyx, ("a ", image), "Find.\n") == f"Find.\na {picture}<|im_end|>"
    official = NyxModel.from_backbone(folder, "nyx-official")
    assert rendered(official, ("a ", image), "Find.\n") == f"Find.\na {picture}"
    marvel = NyxModel.from_backbone(folder, "u-marvel")
    assert rendered(marvel, "a", "Find.\n") == "<|im_start|>user\nFind.\na<|im_end|>\n"
    rzen = NyxModel.from_backbone(folder, "rzenembed")
    system = (
        "Given an image, summarize the provided image in one word. Given only text, describe the text in one word."
    )
    for item, what in (("a", "text"), (("a", image), "image")):
        content = "a" if what == "text" else f"a{picture}"
        assert rendered(rzen, item) == (
            f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{content}\n"
            f"Represent the given {what} in one word.<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
        )
    qwen3 = NyxModel.from_backbone(folder, "qwen3-vl-embedding")
    for prompt, turn in ((None, "Represent the user's input."), ("Find it.", "Find it.")):
        assert rendered(qwen3, ("a ", image), prompt) == (
            f"<|im_start|>system\n{turn}<|im_end|>\n<|im_start|>user\na {picture}<|im_end|>\n<|im_start|>assistant\n"
        )
    bare = NyxModel.from_backbone(folder, "u-marvel", instruction_in="system")
    assert rendered(bare, "a", "Find.") == "<|im_start|>system\nFind.<|im_end|>\n<|im_start|>user\na<|im_end|>\n"
    assert rendered(bare, "a") == "<|im_start|>user\na<|im_end|>\n"
    for name, settings in PRESETS.items():
        assert NyxSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings, name


def test_matryoshka_dims_fit_the_backbone(tiny_backbones: dict[str, Path]) -> None:
    folder = tiny_backbones["qwen2_5_vl"]
    assert NyxModel.from_backbone(folder, "nyx").settings.matryoshka_dims == (64, 32, 16, 8)
    chosen = NyxModel.from_backbone(folder, "nyx", matryoshka_dims=(48, 12), matryoshka_weights=(1, 1))
    assert chosen.settings.matryoshka_dims == (48, 12)
    with pytest.raises(
        ValueError, match="matryoshka_dims asks for 65 dimensions, but this backbone's vectors have 64"
    ):
        NyxModel.from_backbone(folder, "nyx", matryoshka_dims=(65,), matryoshka_weights=(1,))


def test_truncation_is_normalised(tiny_model: NyxModel) -> None:
    items = contents()
    full = tiny_model.encode(items, normalize_embeddings=False)
    for dim in (8, 32, 64):
        short = tiny_model.encode(items, truncate_dim=dim)
        expected = full[:, :dim] / np.linalg.norm(full[:, :dim], axis=1, keepdims=True)
        assert short.shape == (6, dim)
        assert distance(short, expected) < 1e-6
    with pytest.raises(ValueError, match="truncate_dim is 65, but this model's vectors have 64 dimensions"):
        tiny_model.encode("x", truncate_dim=65)


def test_shapes_and_types(tiny_model: NyxModel) -> None:
    assert tiny_model.encode("one").shape == (64,)
    assert tiny_model.encode(["one"]).shape == (1, 64)
    assert tiny_model.encode([]).shape == (0, 64)
    assert isinstance(tiny_model.encode("one", convert_to_tensor=True), torch.Tensor)
    assert isinstance(tiny_model.encode(["one"], convert_to_numpy=False), torch.Tensor)
    assert tiny_model.encode("one").dtype == np.float32
    scores = tiny_model.similarity(tiny_model.encode(["a", "b"]), tiny_model.encode("a"))
    assert scores.shape == (2, 1)
    assert scores[0, 0] == pytest.approx(1, abs=1e-5)
    assert scores[1, 0] < 0.999


def test_prompts(tiny_model: NyxModel) -> None:
    prompts = tiny_model.settings.prompts
    query = tiny_model.encode("x", prompt=prompts["query"])
    assert distance(tiny_model.encode_query("x"), query) == 0
    assert distance(tiny_model.encode("x", prompt_name="query"), query) == 0
    assert distance(tiny_model.encode_query("x", prompt="Other: "), tiny_model.encode("x", prompt="Other: ")) == 0
    assert distance(tiny_model.encode_document("x"), tiny_model.encode("x")) == 0
    assert distance(query, tiny_model.encode("x")) > 1e-3
    with pytest.raises(ValueError, match="no prompt named 'passage'; this model has document, query"):
        tiny_model.encode("x", prompt_name="passage")


def test_a_system_message_is_the_instruction(tiny_model: NyxModel) -> None:
    messages = [{"role": "system", "content": "Find: "}, {"role": "user", "content": "x"}]
    assert distance(tiny_model.encode(messages), tiny_model.encode("x", prompt="Find: ")) == 0


def test_special_tokens_in_text_stay_text(tiny_model: NyxModel) -> None:
    plan = tiny_model.processor.plan("see <|image_pad|> and <|im_end|>", "Find <|video_pad|>")
    tokenizer = tiny_model.processor.tokenizer
    specials = {tokenizer.convert_tokens_to_ids(t) for t in ("<|image_pad|>", "<|video_pad|>")}
    assert not specials & set(plan.tokens.ids)
    assert plan.tokens.ids.count(tokenizer.eos_token_id) == 1  # the template's own
    assert tokenizer.decode(plan.tokens.ids) == "Find <|video_pad|>see <|image_pad|> and <|im_end|><|im_end|>"
    both = ("text <|image_pad|>", noise_image(56, 28, 1))
    batch = tiny_model.processor.process([both])
    assert int((batch["mm_token_type_ids"] == 1).sum()) == int(batch["image_grid_thw"].prod(-1).sum()) // 4
    assert tiny_model.encode(both).shape == (64,)


def test_long_text_loses_its_tail_only(tiny_backbones: dict[str, Path]) -> None:
    model = NyxModel.from_backbone(tiny_backbones["qwen2_5_vl"], "nyx", max_length=40)
    image = noise_image(56, 56, 1)
    item = ("word " * 10_000, image, " the very end")
    plan = model.processor.plan(item, "Find: ")
    text = model.processor.tokenizer.decode(plan.tokens.ids)
    assert len(plan) == 40
    assert model.processor.truncated == 1
    assert text.startswith("Find: word word")
    assert text.endswith("<|vision_end|><|im_end|>")
    assert text.count("<|image_pad|>") == 4
    assert np.isfinite(model.encode(item)).all()
    crowded = model.processor.plan(
        [{"role": "user", "content": [{"type": "image", "image": noise_image(280, 280, 1)}]}]
    )
    assert len(crowded) > 40  # images are never cut


def test_errors_name_the_item_and_skip_leaves_the_rest(tiny_model: NyxModel) -> None:
    good = contents()
    broken = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
    items = [good[0], {}, good[1], {"image": broken}, good[3], None]
    with pytest.raises(ContentError, match="item 1"):
        tiny_model.encode(items)
    found = tiny_model.encode(items, errors="skip", batch_size=2)
    assert found.indices == [0, 2, 4]
    assert [failure.index for failure in found.failures] == [1, 3, 5]
    assert distance(found.embeddings, tiny_model.encode([good[0], good[1], good[3]])) < 1e-5
    with pytest.raises(ValueError, match="errors is 'ignore'; it is raise | skip"):
        tiny_model.encode("x", errors="ignore")


def test_an_image_that_breaks_while_decoding_is_skipped(tiny_model: NyxModel, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise_image(200, 200, 1).save(path)
    path.write_bytes(path.read_bytes()[:-300])  # the header is whole, the pixels are not
    found = tiny_model.encode(["a", {"image": path}, "b"], errors="skip")
    assert found.indices == [0, 2]
    assert found.failures[0].index == 1
    assert "item 1" in str(found.failures[0].error)


def test_awkward_contents(tiny_model: NyxModel) -> None:
    assert np.isfinite(tiny_model.encode("")).all()
    assert np.isfinite(tiny_model.encode("lone \ud800 surrogate")).all()
    assert np.isfinite(tiny_model.encode(noise_image(1, 1, 1))).all()
    assert np.isfinite(tiny_model.encode(Image.new("RGBA", (40, 40), (255, 0, 0, 0)))).all()
    row = {"id": "7", "content": [{"type": "text", "text": "a", "image": None, "video": None}], "score": 1.0}
    assert distance(tiny_model.encode(row), tiny_model.encode("a")) == 0


def test_two_devices_give_the_same(tiny_model: NyxModel) -> None:
    items = contents() * 3
    assert distance(tiny_model.encode(items, device=["cpu", "cpu"], batch_size=4), tiny_model.encode(items)) < 1e-5
    with pytest.raises(ContentError, match="item 2"):
        tiny_model.encode(["a", "b", {}], device=["cpu", "cpu"], batch_size=1)


def test_batches_are_formed_by_true_length(tiny_model: NyxModel) -> None:
    """A short text beside a picture of many visual tokens would be padded to it; sorting by text alone does that."""
    big = noise_image(200, 200, 1)
    widths: list[tuple[int, ...]] = []
    handle = tiny_model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        tiny_model.encode(["a", ("a", big), "b", ("b", big)], batch_size=2)
    finally:
        handle.remove()
    assert len(widths) == 2
    assert widths[0][1] > 40 > widths[1][1]


def test_video_frames_in_all_forms_agree(tiny_model: NyxModel) -> None:
    frames = [noise_image(40, 40, seed) for seed in range(4)]
    array = np.stack([np.asarray(frame) for frame in frames])
    listed = tiny_model.encode({"video": frames})
    assert distance(listed, tiny_model.encode({"video": array})) == 0
    assert distance(listed, tiny_model.encode({"content": [{"type": "video", "video": frames}]})) == 0
    assert distance(listed, tiny_model.encode({"video": frames[::-1]})) > 1e-4  # time matters


def test_a_video_file_is_sampled_and_embedded(tiny_model: NyxModel, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for seed in range(30):  # three seconds
            frame = av.VideoFrame.from_image(noise_image(64, 64, seed // 10))
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    plan = tiny_model.processor.plan({"video": path})
    assert 4 <= len(plan.frames[0].images) <= 7  # two frames a second
    vector = tiny_model.encode({"text": "what moves", "video": path})
    assert distance(vector, tiny_model.encode({"text": "what moves", "video": plan.frames[0].images})) < 1e-5


def test_video_patches_equal_the_image_processors(tiny_model: NyxModel) -> None:
    """A still video of one temporal step has the patches of its picture."""
    image = noise_image(56, 84, 1)
    still = tiny_model.processor.process([{"video": [image, image]}])
    picture = tiny_model.processor.process([image])
    assert still["video_grid_thw"].tolist() == picture["image_grid_thw"].tolist()
    assert torch.allclose(still["pixel_values_videos"], picture["pixel_values"], atol=1e-5)


# ---------------------------------------------------------------- loading


def test_missing_and_left_over_weights_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    gone = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
    save_file({k: v for k, v in weights.items() if k != gone}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing: language_model\.layers\.1\.mlp\.up_proj\.weight"):
        NyxModel.from_pretrained(folder)
    save_file({**weights, "stray.weight": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 left over: stray\.weight"):
        NyxModel.from_pretrained(folder)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_all_key_layouts_load_alike(tiny_backbones: dict[str, Path], model_type: str, tmp_path: Path) -> None:
    """The Hub's layout with a language head, transformers 5's, and the headless model's."""
    folder = tiny_backbones[model_type]
    wanted = NyxModel.from_backbone(folder, "nyx").encode(contents())
    headless = shutil.copytree(folder, tmp_path / "headless")
    AutoModel.from_pretrained(folder).save_pretrained(headless)
    renamed = shutil.copytree(folder, tmp_path / "renamed")
    AutoModelForImageTextToText.from_pretrained(folder).save_pretrained(renamed, save_original_format=False)
    layouts = {tuple(sorted(load_file(f / "model.safetensors"))[:1]) for f in (folder, headless, renamed)}
    assert len(layouts) >= 2  # they are different layouts
    for other in (headless, renamed):
        assert distance(NyxModel.from_backbone(other, "nyx").encode(contents()), wanted) == 0


def test_saved_and_loaded_is_the_same(tiny_model: NyxModel, tiny_folder: Path, tmp_path: Path) -> None:
    again = NyxModel.from_pretrained(tiny_folder)
    assert distance(again.encode_query(contents()), tiny_model.encode_query(contents())) == 0
    again.save_pretrained(tmp_path / "second")
    names = {p.relative_to(tiny_folder): p for p in tiny_folder.rglob("*") if p.is_file()}
    for name, path in names.items():
        assert (tmp_path / "second" / name).read_bytes() == path.read_bytes(), name
    saved = NyxSettings.from_dict(json.loads((tiny_folder / "config.json").read_text())["nyx"])
    assert saved.code_hash == code_hash(tiny_folder)
    assert pickle.loads(pickle.dumps(tiny_model)).encode("x") == pytest.approx(tiny_model.encode("x"))


def test_what_is_not_a_retriever_is_refused(tiny_backbones: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a plain qwen2_vl. Make a retriever of it with NyxModel.from_backbone"):
        NyxModel.from_pretrained(tiny_backbones["qwen2_vl"])
    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(
        ValueError, match="'bert' cannot be a retriever's backbone: BertModel lacks get_image_features"
    ):
        NyxModel.from_backbone(tmp_path / "bert", "nyx")


def test_settings_contradicting_each_other_are_refused() -> None:
    for changes, message in (
        ({"pooling": "max"}, "pooling is 'max'; it is one of last | mean"),
        ({"mask_instruction": True}, "needs pooling='mean'"),
        ({"system_prompt": "x"}, "need chat=True"),
        ({"matryoshka_dims": (8, 16)}, "longest first"),
        ({"matryoshka_dims": (16, 8)}, "4 matryoshka_weights for 2 matryoshka_dims"),
        ({"dims": 4}, "unknown settings: dims"),
    ):
        with pytest.raises(ValueError, match=message.replace("|", r"\|")):
            preset_settings("nyx", **changes)
    with pytest.raises(ValueError, match="unknown preset 'nix'; there are nyx, nyx-official"):
        preset_settings("nix")
    with pytest.raises(ValueError, match="format_version 2, the code here reads up to 1"):
        NyxSettings.from_dict({"format_version": 2})


def test_only_classes_of_a_backbone_have_a_config_class(tiny_model: NyxModel) -> None:
    """AutoModel of older transformers does so with remote code, and refuses a config class that is another's."""
    assert not hasattr(NyxModel, "config_class")
    assert type(tiny_model).config_class is type(tiny_model.config)
