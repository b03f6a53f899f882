"""Answers of a model, kept by what was asked: a build that was killed asks nothing twice."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nyx_hf.data_builders.generators import VLM, Answer, Request, Usage
from nyx_hf.data_builders.pages import content_hash


@dataclass
class CachedVLM:
    """Asks a model only what it has not answered yet.

    Attributes:
        vlm: The model.
        folder: Where answers are kept, a file each. Failures are not kept.
        usage: What was asked so far.
    """

    vlm: VLM
    folder: Path
    usage: Usage = field(default_factory=Usage)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers requests.

        Args:
            requests: What to ask; equal ones are asked once.

        Returns:
            Their answers, in order.

        Raises:
            GeneratorError: If the model cannot be asked; what it answered before is kept.
        """
        keys = [self._key(request) for request in requests]
        found = {key: answer for key in dict.fromkeys(keys) if (answer := self._get(key)) is not None}
        self.usage.cached += sum(key in found for key in keys)
        missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in found}
        names = list(missing)
        for number, answer in self.vlm.answers(list(missing.values())):
            self.usage.add(answer)
            found[names[number]] = answer
            if answer.failure is None:
                self._put(names[number], answer)
        return [found[key] for key in keys]

    def _key(self, request: Request) -> str:
        return content_hash([self.vlm.name, self.vlm.revision, {**vars(request), "content": list(request.content)}])

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _get(self, key: str) -> Answer | None:
        try:
            return Answer(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _put(self, key: str, answer: Answer) -> None:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(answer), file, ensure_ascii=False)
        Path(beside).replace(path)
