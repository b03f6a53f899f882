"""M-BEIR's sixteen tasks: data sets with their numbers, what is asked and what is found, and how each is scored."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One data set in one direction.

    Attributes:
        dataset: The data set, as M-BEIR's files name it.
        number: The task's number there, 0 to 8.
        query: What is asked: `text`, `image` or `image,text`.
        document: What is found, likewise.
        trained: Whether it has training data.
    """

    dataset: str
    number: int
    query: str
    document: str
    trained: bool = True

    @property
    def name(self) -> str:
        """`mscoco_task0`, as in file names."""
        return f"{self.dataset}_task{self.number}"

    @property
    def recall_at(self) -> int:
        """Documents looked at when it is scored (U-MARVEL, appendix A): 10 for fashion, 5 elsewhere."""
        return 10 if self.dataset.startswith("fashion") else 5


TASKS = (
    Task("visualnews", 0, "text", "image"),
    Task("mscoco", 0, "text", "image"),
    Task("fashion200k", 0, "text", "image"),
    Task("webqa", 1, "text", "text"),
    Task("edis", 2, "text", "image,text"),
    Task("webqa", 2, "text", "image,text"),
    Task("visualnews", 3, "image", "text"),
    Task("mscoco", 3, "image", "text"),
    Task("fashion200k", 3, "image", "text"),
    Task("nights", 4, "image", "image"),
    Task("oven", 6, "image,text", "text"),
    Task("infoseek", 6, "image,text", "text"),
    Task("fashioniq", 7, "image,text", "image"),
    Task("cirr", 7, "image,text", "image"),
    Task("oven", 8, "image,text", "image,text"),
    Task("infoseek", 8, "image,text", "image,text"),
)
"""The eight kinds are numbers 0 to 4 and 6 to 8; no task has number 5."""


def task_named(name: str) -> Task:
    """Finds a task.

    Args:
        name: `mscoco_task0`.

    Returns:
        The task.

    Raises:
        ValueError: If there is none of that name.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ValueError(f"there is no task {name!r} in M-BEIR; it has {', '.join(task.name for task in TASKS)}")
