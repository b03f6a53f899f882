"""What is done to a model, and checked, before it is trained."""

from peft import PeftModel
from transformers import PreTrainedModel, set_seed

from nyx_hf.trainer.adapters import add_lora, freeze_vision, without_adapter
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.saving import hub_name


def prepared(model: PreTrainedModel | PeftModel, args: NyxTrainingArguments) -> PreTrainedModel | PeftModel:
    """Writes the trained prefixes into the model's settings, freezes what stays, adds the adapter."""
    retriever = without_adapter(model)
    if args.matryoshka_dims is not None or args.matryoshka_weights is not None:
        dims = list(retriever.settings.matryoshka_dims if args.matryoshka_dims is None else args.matryoshka_dims)
        weights = [1.0] * len(dims) if args.matryoshka_weights is None else list(args.matryoshka_weights)
        if len(weights) != len(dims):
            raise ValueError(f"matryoshka_weights has {len(weights)} entries, matryoshka_dims {dims}; give one each")
        pairs = sorted(zip(dims, weights, strict=True), reverse=True)  # settings keep the longest first
        retriever.settings = retriever.settings.updated(
            matryoshka_dims=[dim for dim, _ in pairs], matryoshka_weights=[weight for _, weight in pairs]
        )
    if args.freeze_vision:
        freeze_vision(retriever)
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
