"""What each process of tests/test_sharded.py does: trains under DeepSpeed or FSDP on the CPU."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType


def deepspeed_config(stage: int) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": stage,
            "reduce_bucket_size": 20_000,  # several buckets: their order matters then
            "stage3_gather_16bit_weights_on_model_save": True,
            "stage3_param_persistence_threshold": 0,
        },
    }


def sharded_arguments(kind: str) -> dict[str, Any]:
    """The training arguments of one way to spread a model."""
    if kind.startswith("zero"):
        return {"deepspeed": deepspeed_config(int(kind[-1])), "use_cpu": False}
    if kind == "fsdp2":
        config = {"version": 2, "reshard_after_forward": True, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}
        return {"fsdp": True, "fsdp_config": config, "use_cpu": False}
    return {"use_cpu": True}


def main(kind: str, backbone: str, folder: str, settings: dict[str, dict[str, Any]]) -> None:
    from test_sharded import steps_of

    if kind.startswith("zero"):
        PartialState(backend="gloo")  # transformers would ask for CUDA's
    elif kind == "fsdp2":
        PartialState(cpu=True, backend="gloo").distributed_type = DistributedType.MULTI_GPU  # or it would be DDP
    torch.set_num_threads(1)
    results = {name: steps_of(Path(backbone), Path(folder) / name, kind, 2, **how) for name, how in settings.items()}
    torch.save(results, Path(folder) / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    import json

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
    main(*sys.argv[1:4], json.loads(sys.argv[4]))
