"""Public data sets as they lie on the Hub, or in folders that were downloaded: rows and files, columns checked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

from nyx_hf.data_builders.schema import Row


class LayoutError(ValueError):
    """An upstream data set that is not laid out as its converter knows it."""


@dataclass
class Upstream:
    """Reads upstream repositories and notes which commits it read.

    Attributes:
        local: A folder that holds repositories, as `<local>/<owner>/<name>/…` (what `hf download OWNER/NAME
            --repo-type dataset --local-dir LOCAL/OWNER/NAME` makes); repositories that it lacks, or all where it is
            None, are read from the Hub.
        pins: Commits, branches or tags to read, by repository; `main` for the others.
        revisions: The commits that were read, by repository: what the card shows.
    """

    local: Path | None = None
    pins: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)

    def rows(
        self, repo: str, config: str | None = None, split: str = "train", columns: Sequence[str] = ()
    ) -> Iterator[Row]:
        """Reads one split's rows in order, streaming; images are decoded.

        Args:
            repo: The data set's repository.
            config: Its config; None for the only one.
            split: The split.
            columns: Columns that the converter reads.

        Returns:
            An iterator over the rows.

        Raises:
            LayoutError: If a column is missing.
            ValueError: If there is no such config or split.
        """
        where, revision = self._where(repo)
        table = load_dataset(where, config, split=split, streaming=True, revision=revision)
        known = table.column_names
        for number, row in enumerate(table):
            if number == 0:
                self.check_columns(repo, list(known or row), columns, f"{config or 'default'}/{split}")
            yield row

    def configs(self, repo: str) -> list[str]:
        """Names a repository's configs."""
        where, revision = self._where(repo)
        return list(get_dataset_config_names(where, revision=revision))

    def splits(self, repo: str, config: str) -> list[str]:
        """Names the splits of a config."""
        where, revision = self._where(repo)
        return list(get_dataset_split_names(where, config, revision=revision))

    def file(self, repo: str, path: str) -> Path:
        """Gives a repository's file, downloading it where it is not at hand.

        Raises:
            LayoutError: If the repository has no such file.
        """
        where, revision = self._where(repo)
        if revision is None:
            found = Path(where) / path
            if not found.is_file():
                raise LayoutError(f"{repo} (local folder): there is no {path}; expected the Hub repository's layout")
            return found
        try:
            return Path(hf_hub_download(repo, path, repo_type="dataset", revision=revision))
        except RemoteEntryNotFoundError as error:
            raise LayoutError(f"{repo} at {revision}: there is no {path}; pin a revision that has it") from error

    def check_columns(self, repo: str, found: Sequence[str], wanted: Sequence[str], place: str) -> None:
        """Refuses rows that lack a column.

        Raises:
            LayoutError: Naming the missing columns, the place and the revision.
        """
        if missing := [name for name in wanted if name not in found]:
            raise LayoutError(
                f"{repo} at {self.revisions.get(repo, 'an unknown revision')}, {place}: the column "
                f"{', '.join(map(repr, missing))} is missing (found {', '.join(map(repr, sorted(found)))}); pin the "
                "revision that this converter knows, or convert the rows first"
            )

    def _where(self, repo: str) -> tuple[str, str | None]:
        """Gives what `load_dataset` takes: a local folder and no revision, or the repository and its commit."""
        if self.local is not None and (folder := self.local / repo).is_dir():
            self.revisions[repo] = "local folder"
            return str(folder), None
        if repo not in self.revisions:
            self.revisions[repo] = str(HfApi().dataset_info(repo, revision=self.pins.get(repo)).sha)
        return repo, self.revisions[repo]
