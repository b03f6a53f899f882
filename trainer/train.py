"""Trains a retriever from a recipe.

    accelerate launch trainer/train.py --config trainer/recipes/nyx_pretrain.yaml per_device_train_batch_size=8

`RECIPE` is a YAML file or the name of one in `trainer/recipes/`; `key=value` words change its values. Two processes
on CPU: `accelerate launch --multi_gpu --num_processes 2 trainer/train.py --config … use_cpu=true`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:  # run as a file: this folder leads sys.path, and its modules would shadow other packages
        root = Path(__file__).resolve().parent.parent
        sys.path[:1] = [str(root)] if (root / "pyproject.toml").is_file() else []

    from nyx_hf.trainer.training_run import main

    sys.exit(main(sys.argv[1:]))
