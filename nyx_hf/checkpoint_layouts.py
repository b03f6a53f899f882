"""What other projects' retrievers are, as published: how each is recognised, its weight names, its habits.

The habits are facts of the projects' public code, written down as settings of ours; `source` says where each stands,
and `unkept` what settings cannot say. Nothing here was run on the published weights. Their names alone tell most of
them apart: configs and weight names are the backbone's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nyx_hf.modeling.configuration_nyx import NyxSettings, preset_settings

_TOKEN = 28 * 28  # pixels of a visual token of Qwen2-VL and Qwen2.5-VL
_ASSISTANT = "You are a helpful assistant."  # what the backbones' chat templates put first where nobody speaks
_PLAIN = {"query": "", "document": ""}


class LayoutError(ValueError):
    """A checkpoint is of no known layout, or not of the one that was named."""


@dataclass(frozen=True)
class Layout:
    """One project's published checkpoints.

    Attributes:
        name: What `--layout` takes.
        title: What it holds.
        model_types: Backbones, as config.json names them.
        pattern: Of the repository's or folder's name.
        classes: Class names that config.json of no other project has, in `architectures` or `auto_map`.
        habits: How content becomes a vector.
        source: Where the habits are taken from.
        wrappers: Modules that a raw training checkpoint may have around the backbone.
        dropped: Weights that serve training only.
        unkept: What the code does besides, and the imported folder does not.
        citation: Key of its paper in `nyx_hf.model_cards.citations`, where it is there.
    """

    name: str
    title: str
    model_types: tuple[str, ...]
    pattern: str
    habits: NyxSettings
    source: str
    classes: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    unkept: str = ""
    citation: str | None = None

    def headless(self, key: str) -> str:
        """The name that a weight has in the backbone's headless model.

        Args:
            key: Its name in the checkpoint, in any of the layouts that transformers has had.

        Returns:
            Its name behind `visual.` or `language_model.`; a language head keeps its own.
        """
        key = self._bare(key).removeprefix("model.")
        if key.startswith(("visual.", "language_model.", "lm_head.")):
            return key.replace("language_model.model.", "language_model.", 1)
        return f"language_model.{key}"

    def left_out(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Weights that a retriever has no use for: a language head, and what served training.

        Args:
            keys: Names of weights in the checkpoint.

        Returns:
            Those of them that are knowingly left out.
        """
        return tuple(key for key in keys if (bare := self._bare(key)) in self.dropped or bare.startswith("lm_head."))

    def _bare(self, key: str) -> str:
        for wrapper in self.wrappers:
            key = key.removeprefix(f"{wrapper}.")
        return key


_LAMRA = NyxSettings(
    preset="lamra",
    chat=True,
    system_prompt=_ASSISTANT,
    instruction_in="text",
    instruction_separator=" ",
    represent_text="\nSummarize above sentence in one word: ",
    represent_visual="\nSummarize above image in one word: ",
    represent_mixed="\nSummarize above image and sentence in one word: ",
    end_token="",  # the code pools the token before `<emb>`, which is the last of the opened assistant turn
    generation_prompt=True,
    positions="sequential",
    min_pixels=4 * _TOKEN,
    max_pixels=300 * _TOKEN,
    prompts=_PLAIN,
)
_FULL_STOPS = "M-BEIR's texts get a capital letter and a full stop in its data code: give texts so"

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="nyx",
            title="Nyx-3B, a merged Qwen2.5-VL or its LoRA/DoRA adapter",
            model_types=("qwen2_5_vl",),
            pattern=r"^nyx-\d",
            habits=preset_settings("nyx-official"),
            source="the Nyx repository's merging and evaluation scripts",
            unkept="its evaluation scripts set no pixel limit; the training's, 400 · 28 · 28, is kept",
            citation="nyx",
        ),
        Layout(
            name="u-marvel",
            title="U-MARVEL-Qwen2VL-7B",
            model_types=("qwen2_vl",),
            pattern=r"u-?marvel",
            classes=("Qwen2VLRetFinetuneForConditionalGeneration",),
            habits=preset_settings(
                "u-marvel-official",
                system_prompt=_ASSISTANT,
                instruction_in="text",
                instruction_marks=("<instruction_start>", "<instruction_end>"),
                instruction_separator=" ",
                assistant_prompt="<emb>.",
                generation_prompt=True,
                extra_tokens=("<emb>", "<instruction_start>", "<instruction_end>"),
                min_pixels=4 * _TOKEN,
                max_pixels=300 * _TOKEN,
            ),
            source="github.com/chaxjli/U-MARVEL: demo.py, models/, collators/, scripts/umarvel and scripts/eval",
            dropped=("sim.temp",),
            unkept="no summary prompt is put after the content, as in the paper, demo.py and the last training stages "
            f"(its M-BEIR evaluation puts one); {_FULL_STOPS}",
            citation="u-marvel",
        ),
        Layout(
            name="lamra",
            title="LamRA-Ret over Qwen2-VL",
            model_types=("qwen2_vl",),
            pattern=r"lamra-?ret",
            habits=_LAMRA,
            source="github.com/Code-kunkun/LamRA, branch master: demo.py, models/, dataset/, collators/",
            unkept=f"demo.py alone leaves images at their size; {_FULL_STOPS}",
        ),
        Layout(
            name="lamra-qwen2.5",
            title="LamRA-Ret over Qwen2.5-VL",
            model_types=("qwen2_5_vl",),
            pattern=r"lamra-?ret",
            habits=_LAMRA.updated(preset="lamra-qwen2.5", positions="mrope"),
            source="github.com/Code-kunkun/LamRA, branch qwen2.5vl: models/qwen2_5_vl.py computes 3-D positions",
            unkept=f"demo.py alone leaves images at their size; {_FULL_STOPS}",
        ),
        Layout(
            name="rzenembed",
            title="RzenEmbed and RzenEmbed-v2",
            model_types=("qwen2_vl",),
            pattern=r"rzen-?embed",
            habits=preset_settings(
                "rzenembed-official",
                instruction_in="text",
                min_pixels=256 * _TOKEN,
                round_images=True,
                max_length=2000,
            ),
            source="github.com/360CVGroup/RzenEmbed: rzen_embed_inference.py",
            wrappers=("base",),
            unkept="frames of a video are images of 160 to 180 tokens there; a sequence over 2,000 tokens loses its "
            "end token there",
            citation="rzenembed",
        ),
        Layout(
            name="gme",
            title="GME-Qwen2-VL",
            model_types=("qwen2_vl",),
            pattern=r"gme-qwen2-?vl",
            classes=("GmeQwen2VL",),
            habits=NyxSettings(
                preset="gme",
                chat=True,
                system_prompt=_ASSISTANT,
                instruction_in="system",
                end_token="<|endoftext|>",
                generation_prompt=True,
                positions="sequential",
                min_pixels=256 * _TOKEN,
                max_pixels=1280 * _TOKEN,
                round_images=True,
                max_length=1800,
                prompts=_PLAIN,
            ),
            source="gme_inference.py and modeling code of Alibaba-NLP/gme-Qwen2-VL-*; vLLM pull request 30478 saw its "
            "positions",
            unkept="a sequence over 1,800 tokens loses its end token there",
        ),
        Layout(
            name="vlm2vec",
            title="VLM2Vec over Qwen2-VL, V2.0 and before",
            model_types=("qwen2_vl",),
            pattern=r"vlm2vec",
            habits=NyxSettings(
                preset="vlm2vec",
                instruction_in="text",
                instruction_separator=" ",
                visual_format="{} ",
                end_token="",
                positions="sequential",  # its 3-D positions go by vision marks, and there are none
                min_pixels=4 * _TOKEN,
                max_pixels=1280 * _TOKEN,
                prompts=_PLAIN,
            ),
            source="github.com/TIGER-AI-Lab/VLM2Vec: src/model/, src/arguments.py, experiments/examples/qwen2vl",
            wrappers=("encoder",),
            unkept="images with a side under 28 pixels are stretched to 56 × 56 there",
        ),
        Layout(
            name="qwen3-vl-embedding",
            title="Qwen3-VL-Embedding",
            model_types=("qwen3_vl",),
            pattern=r"qwen3-?vl-?embedding",
            habits=preset_settings(
                "qwen3-vl-embedding",
                min_pixels=4 * 32 * 32,
                video_fps=1.0,
                max_frame_pixels=768 * 32 * 32,
            ),
            source="the embedder script of github.com/QwenLM/Qwen3-VL-Embedding, read in copies of it",
            unkept="an instruction without punctuation at its end gets a full stop there, an empty content becomes "
            "NULL, and all frames of a video share a limit of 7,680 tokens",
            citation="qwen3-vl",
        ),
    )
}


def find_layout(named: str) -> Layout:
    """Gives the layout of a name.

    Args:
        named: As `--layout` gives it.

    Returns:
        The layout.

    Raises:
        LayoutError: There is none.
    """
    if named not in LAYOUTS:
        raise LayoutError(f"unknown layout {named!r}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[named]
