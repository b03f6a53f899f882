"""What each process of tests/test_sharded.py does: trains under DeepSpeed or FSDP on the CPU."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

from nyx_hf.trainer.launch import Launch


def launched(kind: str, folder: Path) -> list[str]:
    """What `nyx-hf train --launch KIND` puts before the script, with buckets that fit a tiny model."""
    words = Launch(2, kind).words()
    if "--deepspeed_config_file" in words:
        at = words.index("--deepspeed_config_file") + 1
        config = json.loads(Path(words[at]).read_text())
        config["zero_optimization"]["reduce_bucket_size"] = 20_000  # several buckets: their order matters then
        words[at] = str(folder / "deepspeed.json")
        Path(words[at]).write_text(json.dumps(config))
    return words


def main(kind: str, backbone: str, folder: str, settings: dict[str, dict[str, Any]]) -> None:
    from test_sharded import steps_of

    if kind.startswith("zero"):
        # or DeepSpeed compiles its operation for shared memory, for two minutes: gloo does as well
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        PartialState(backend="gloo")  # transformers would ask for CUDA's
    elif kind == "fsdp2":
        PartialState(cpu=True, backend="gloo").distributed_type = DistributedType.MULTI_GPU  # or it would be DDP
    torch.set_num_threads(1)
    results = {name: steps_of(Path(backbone), Path(folder) / name, kind, 2, **how) for name, how in settings.items()}
    torch.save(results, Path(folder) / f"rank{os.environ['RANK']}.pt")
    torch.distributed.barrier()
    # as the training script does: with the group still open, a thread of it may abort the process on its way out
    PartialState().destroy_process_group()


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]
    main(*sys.argv[1:4], json.loads(sys.argv[4]))
