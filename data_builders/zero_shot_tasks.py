"""U-MARVEL's unseen sets (Tables 8, 9 and 11): what is asked, what is found, and how each is scored.

Layouts, instructions and metrics are those of LamRA's evaluation (`dataset/`, `eval/eval_zeroshot/` of
Code-kunkun/LamRA), which U-MARVEL's code repeats; instructions are U-MARVEL's where only it has one. Where the paper
is silent, or its code says otherwise:

- GeneCIS and SugarCrepe come in parts; the paper gives one number each. Here it is the mean of the parts.
- GeneCIS: U-MARVEL's code tries several instructions; here LamRA's stand, which are the first of them.
- SugarCrepe: U-MARVEL's code gives four of the seven parts an instruction, LamRA's none; here none has one.
- CIRCO: Table 11 counts the 800 queries of `test`, whose right images only the authors' server knows; U-MARVEL's
  script asks `val`. Here it is `val`, which can be scored at home; a score says that it is not whole. The reference
  image stays among the candidates, as upstream.
- Table 11 interchanges MSR-VTT (1,000 captions, as many videos) and MSVD (670 videos, 27 thousand captions, each a
  query). Both are read as MMEB-V2 has them, whose captions of MSVD are not upstream's tokenized ones.
- Frames of a video: 12 in upstream's MSVD, unsaid in its MSR-VTT; here 12 in both, spread evenly.
"""

import difflib
from dataclasses import dataclass

LAMRA, MBEIR = "code-kunkun/LamRA_Eval", "TIGER-Lab/M-BEIR"
MATCHING = "image → one of two texts"

_IMAGE = "Find me an everyday image that matches the given caption."
_CAPTION = "Find an image caption describing the following everyday image."
_CHANGED = "I'm looking for a similar everyday image with the described changes."
_SAME = "I'm looking for an image with the same attributes as described."
_DIALOG = "Find me an everyday image that matches the given dialog."
_ROUNDS = "Find me a similar fashion image based on the following multi-round modifications."
_VIDEO = "Find an everyday video match with caption."


@dataclass(frozen=True)
class Task:
    """One set, or one part of it, in one direction.

    Attributes:
        name: Its name, as `--task` takes it.
        layout: How it lies upstream; a key of `nyx_hf.data_builders.zero_shot_sets.LAYOUTS`.
        kind: What is asked and found.
        metric: What counts, as `nyx_hf.mmeb_metrics` calls it.
        instruction: The task text before a query; None where upstream has none.
        part: The part's name in upstream's files, or the set's name among MMEB-V2's videos.
        queries: Queries that the benchmark has; None where the paper gives but thousands.
        own: Whether a query ranks candidates of its own, not all documents.
        repository: Where its rows lie.
        images: The repository that holds its images.
    """

    name: str
    layout: str
    kind: str
    metric: str = "hit@1"
    instruction: str | None = None
    part: str = ""
    queries: int | None = None
    own: bool = False
    repository: str = LAMRA
    images: str = LAMRA


def _both_ways(layout: str, captions: int = 1) -> tuple[Task, Task]:
    return (
        Task(f"{layout}-t2i", layout, "text → image", instruction=_IMAGE, queries=1000 * captions),
        Task(f"{layout}-i2t", layout, "image → text", instruction=_CAPTION, queries=1000),
    )


def _genecis(part: str, instruction: str) -> Task:
    name = f"genecis-{part.replace('_', '-')}"
    return Task(name, "genecis", "image,text → image", instruction=instruction, part=part, own=True)


def _matching(name: str, layout: str, part: str = "", queries: int | None = None) -> Task:
    return Task(name, layout, MATCHING, part=part, queries=queries, own=True)


_SUGARCREPE = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
TASKS = (
    *_both_ways("sharegpt4v"),
    *_both_ways("urban1k"),
    *_both_ways("flickr30k", captions=5),
    Task("circo", "circo", "image,text → image", "map@5", _CHANGED, queries=800),
    _genecis("change_object", _CHANGED),
    _genecis("focus_object", _CHANGED),
    _genecis("change_attribute", _CHANGED),
    _genecis("focus_attribute", _SAME),
    Task("visdial", "visdial", "dialog → image", instruction=_DIALOG),
    Task("fashioniq-rounds", "fashioniq-rounds", "images and texts → image", "hit@5", _ROUNDS, images=MBEIR),
    _matching("cc-neg", "cc-neg", queries=40_000),
    *(_matching(f"sugarcrepe-{part.replace('_', '-')}", "sugarcrepe", part) for part in _SUGARCREPE),
    Task("msr-vtt", "video", "text → video", "hit@1", _VIDEO, "MSR-VTT", 1000, repository="VLM2Vec/MSR-VTT"),
    Task("msvd", "video", "text → video", "hit@1", _VIDEO, "MSVD", repository="VLM2Vec/MSVD"),
)


def task_named(name: str) -> Task:
    """Finds a task.

    Args:
        name: `flickr30k-t2i`.

    Returns:
        The task.

    Raises:
        ValueError: If there is none of that name; the nearest one is suggested.
    """
    by_name = {task.name: task for task in TASKS}
    if name not in by_name:
        near = difflib.get_close_matches(name.lower(), by_name, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"there is no zero-shot task {name!r}{hint}; there are {', '.join(by_name)}")
    return by_name[name]
