"""What a run would be, before anything is loaded: model, batch, data, memory."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nyx_hf.trainer.dataset_specs import DatasetSpec
from nyx_hf.trainer.launch import Launch
from nyx_hf.trainer.pipelines import PIPELINE, stages_of
from nyx_hf.trainer.plan_memory import Memory, content_tokens, memory
from nyx_hf.trainer.plan_model import Count, Origin, Origins, blueprint, meta_model
from nyx_hf.trainer.recipe_files import RECIPES, RecipeError, find_recipe, read_recipe
from nyx_hf.trainer.run_arguments import RunArguments, known_deprecations, parse_anywhere
from nyx_hf.trainer.run_model import check_width


@dataclass(frozen=True)
class Plan:
    """What a run would be.

    Args:
        name: of its recipe.
        model: what training starts from.
        base: the weights that come from, through all stages before.
        count: the model's parameters.
        what: what is trained, in words.
        objective: what is minimised, in words.
        launch: how it is spread.
        rows: queries of one forward pass on one process.
        accumulation: how many of these make a step.
        documents: documents that a query picks its own among.
        content_tokens: tokens that a content is reckoned to have.
        datasets: names, with whether they are there.
        memory: on each GPU.
    """

    name: str
    model: str
    base: str
    count: Count
    what: str
    objective: str
    launch: Launch
    rows: int
    accumulation: int
    documents: int
    content_tokens: int
    datasets: tuple[str, ...]
    memory: Memory

    @property
    def queries(self) -> int:
        """Queries of a step, over all processes."""
        return self.rows * self.accumulation * self.launch.processes

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON keeps it.

        Returns:
            Values by name; bytes and numbers of parameters are whole numbers.
        """
        return {**asdict(self), "queries": self.queries, "memory": {**asdict(self.memory), "sum": self.memory.sum}}


def plans(recipe: str, typed: list[str], processes: int | None = None, config: str | None = None) -> list[Plan]:
    """Plans a recipe: one run, or the stages of a pipeline.

    Args:
        recipe: its name or path.
        typed: `key=value` words.
        processes: as typed; None takes the recipe's.
        config: launch config as typed; None takes the recipe's.

    Returns:
        One plan a stage.

    Raises:
        ValueError: the recipe cannot be used, or its model is not known.
    """
    path = find_recipe(recipe)
    origins = _origins([*sorted(path.parent.glob("*.yaml")), *sorted(RECIPES.glob("*.yaml"))])
    made: list[Plan] = []
    with known_deprecations():
        for stage in stages_of(path, typed):
            run = parse_anywhere(stage.arguments)
            made.append(_plan(stage.name, run, Launch.of(stage.values, processes, config), origins))
            origins[str(run.training.output_dir)] = partial(parse_anywhere, stage.arguments)
    return made


def _plan(name: str, run: RunArguments, launch: Launch, origins: Origins) -> Plan:
    args = run.training
    made_of = blueprint(run, origins)
    check_width(made_of.config, run.model, args)
    count = Count.of(meta_model(made_of, run))
    gathered = launch.processes if args.gather_negatives else 1
    own = args.positives_per_query + args.negatives_per_query
    shared = own if args.shared_negatives else args.positives_per_query
    alone = args.loss == "distillation"
    return Plan(
        name=name,
        model=run.model.model,
        base=made_of.base,
        count=count,
        what="the adapter, which goes on" if made_of.adapter else _what(run),
        objective=_objective(run, made_of.settings.matryoshka_dims),
        launch=launch,
        rows=args.per_device_train_batch_size,
        accumulation=args.gradient_accumulation_steps,
        documents=own if alone else own + (args.per_device_train_batch_size * gathered - 1) * shared,
        content_tokens=content_tokens(made_of.config, made_of.settings),
        datasets=tuple(_shown(DatasetSpec.parse(word)) for word in run.data.datasets),
        memory=memory(count, made_of.config, made_of.settings, args, launch),
    )


def _origins(paths: list[Path]) -> dict[str, Origin]:
    """Recipes by the folder that they leave their model in."""
    found: dict[str, Origin] = {}
    for path in paths:
        try:
            recipe = read_recipe(path)
        except RecipeError:
            continue  # some other YAML that lies beside the recipe
        if PIPELINE not in recipe and isinstance(recipe.get("output_dir"), str):
            found.setdefault(recipe["output_dir"], partial(parse_anywhere, ["--config", str(path)]))
    return found


def _what(run: RunArguments) -> str:
    args = run.training
    if args.use_lora:
        where = "the language model" if args.lora_target == "language" else "language model and vision tower"
        return f"{'DoRA' if args.use_dora else 'LoRA'}, rank {args.lora_r}, on {where}"
    return "the language model, the vision tower frozen" if args.freeze_vision else "the whole model"


def _objective(run: RunArguments, dims: tuple[int, ...]) -> str:
    args = run.training
    learned = ", learned" if args.learn_temperature or args.temperature_tasks else ""
    widths = "/".join(map(str, args.matryoshka_dims or dims or ()))
    return f"{args.loss}, temperature {args.temperature}{learned}{f', dims {widths}' if widths else ''}"


def _shown(spec: DatasetSpec) -> str:
    if spec.builder is not None:
        return f"{spec.name} (made on the spot)"
    if Path(spec.folder_or_repo).exists():
        return spec.name
    return f"{spec.name} (no such folder; else a Hub id)"
