"""What is done to a model, and checked, before it is trained."""

from peft import PeftModel
from transformers import PreTrainedModel, set_seed

from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.trainer.adapters import add_lora, freeze_vision, without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.collator import RetrievalCollator
from nyx_hf.trainer.loss_batch import Objective
from nyx_hf.trainer.saving import hub_name


def prepared(model: PreTrainedModel | PeftModel, args: NyxTrainingArguments) -> PreTrainedModel | PeftModel:
    """Makes a model ready: the trained prefixes go into its settings, what stays is frozen, the adapter added."""
    retriever = without_adapter(model)
    settings = trained_settings(retriever.settings, args)
    if settings != retriever.settings:
        retriever.settings = settings
    return adapted(model, args)


def trained_settings(settings: NyxSettings, args: NyxTrainingArguments) -> NyxSettings:
    """Writes the trained prefixes into a retriever's settings."""
    if args.matryoshka_dims is None and args.matryoshka_weights is None:
        return settings
    dims = list(settings.matryoshka_dims if args.matryoshka_dims is None else args.matryoshka_dims)
    weights = [1.0] * len(dims) if args.matryoshka_weights is None else list(args.matryoshka_weights)
    if len(weights) != len(dims):
        raise ValueError(f"matryoshka_weights has {len(weights)} entries, matryoshka_dims {dims}; give one each")
    pairs = sorted(zip(dims, weights, strict=True), reverse=True)  # settings keep the longest first
    return settings.updated(
        matryoshka_dims=[dim for dim, _ in pairs], matryoshka_weights=[weight for _, weight in pairs]
    )


def adapted(model: PreTrainedModel | PeftModel, args: NyxTrainingArguments) -> PreTrainedModel | PeftModel:
    """Freezes what stays, adds the adapter."""
    if args.freeze_vision:
        freeze_vision(without_adapter(model))
    if args.use_lora and not isinstance(model, PeftModel):
        set_seed(args.seed)
        return add_lora(model, args)
    return model


def check_run(args: NyxTrainingArguments) -> None:
    """Refuses machines and loaders that batches of contents cannot be cut up for."""
    if args.n_gpu > 1:
        raise ValueError(
            f"one process sees {args.n_gpu} GPUs; start one process a GPU with `accelerate launch`, or set "
            "CUDA_VISIBLE_DEVICES"
        )
    if args.world_size > 1 and not args.dataloader_drop_last:
        raise ValueError("dataloader_drop_last=false leaves a last batch that several processes cannot share evenly")
    if args.accelerator_config.dispatch_batches or args.accelerator_config.split_batches:
        raise ValueError("accelerator_config: dispatch_batches and split_batches cannot cut batches of contents")


def check_push(model: PreTrainedModel | PeftModel, args: NyxTrainingArguments) -> None:
    """Refuses to push an adapter whose base nobody else has."""
    if args.push_to_hub and isinstance(model, PeftModel) and not args.merge_lora and hub_name(model) is None:
        raise ValueError(
            "push_to_hub would push an adapter of a model in a local folder, which nobody else could load: "
            "train from a Hub id, or set merge_lora=true (with hub_strategy=end)"
        )


def check_objective(objective: Objective, args: NyxTrainingArguments, settings: NyxSettings) -> None:
    """Refuses arguments that cannot have an effect on the objective, or that processes cannot compute."""
    if objective.needs_other_queries and not args.gather_negatives and args.world_size > 1:
        raise ValueError(
            "two_way lets documents pick among the queries of all processes: it needs gather_negatives=true"
        )
    if objective.needs_scores and args.negatives_per_query == 0:
        raise ValueError(f"loss={args.loss} compares a query's documents: it needs negatives_per_query of 1 or more")
    if args.distillation_alpha is not None:
        if not 0 <= args.distillation_alpha <= 1:
            raise ValueError(f"distillation_alpha is {args.distillation_alpha}; it is a weight from 0 to 1")
        if "distillation" not in args.loss:
            raise ValueError(f"distillation_alpha is given, but loss={args.loss} has no teacher")
    if args.matryoshka_dims is None and not settings.matryoshka_dims and args.matryoshka_weights is not None:
        raise ValueError("matryoshka_weights came without matryoshka_dims; give one dim a weight")


def collator_of(
    model: PreTrainedModel | PeftModel, args: NyxTrainingArguments, objective: Objective
) -> RetrievalCollator:
    """Makes the collator of a model's training batches."""
    retriever = without_adapter(model)
    prompts = retriever.settings.prompts
    return RetrievalCollator(
        retriever.processor,
        query_prompt=prompts.get("query"),
        document_prompt=prompts.get("document"),
        negatives_per_query=args.negatives_per_query,
        tasks=tuple(args.temperature_tasks),
        scores=objective.needs_scores,
        alpha=args.distillation_alpha,
    )
