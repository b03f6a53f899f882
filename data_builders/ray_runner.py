"""Runs a stage on many machines with Ray Data (the extra `ray`): the same rows out, in the same order."""

from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from nyx_hf.data_builders.stages import StageCall

_CPUS_A_TASK = 0.5  # two workers of a whole CPU each would leave none for what reads and writes the blocks


def map_on_ray(call: StageCall, rows: Dataset, finished: Path, workers: int) -> Dataset:
    """Maps a table's batches over a Ray cluster: the one it is started on, or one of this machine's own.

    A worker that dies is started anew by Ray and its batch run again; outcomes that it had cached are read. Workers of
    several machines need `finished`'s folder on a disk that all of them see.

    Args:
        call: The stage.
        rows: The table.
        finished: The file that the result goes to, written beside and renamed; read where it is there already.
        workers: Batches that run at the same time.

    Returns:
        The rows that came out, in the order of those that went in.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
    """
    if not finished.is_file() or not call.stage.kept:
        try:
            import ray
            import ray.data
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Ray is not installed: `pip install nyx-hf[ray]`, or run locally") from error
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        table = rows.with_format("arrow")[:]
        blocks = [table.slice(start, call.stage.batch_size) for start in range(0, len(table), call.stage.batch_size)]
        out = (
            ray.data.from_arrow(blocks)
            .map_batches(
                call,
                batch_size=None,  # a block is a batch
                batch_format="pyarrow",
                num_cpus=_CPUS_A_TASK,
                compute=ray.data.TaskPoolStrategy(size=workers),
            )
            .iter_batches(batch_size=None, batch_format="pyarrow")
        )
        schema = call.stage.features.arrow_schema
        beside = finished.with_suffix(".part")
        with pa.OSFile(str(beside), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in out:
                if len(batch):  # Ray gives empty blocks no columns
                    writer.write_table(batch.select(schema.names).cast(schema))
        beside.replace(finished)
    return Dataset.from_file(str(finished))
