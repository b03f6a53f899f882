"""The files of a Space that searches an index: `app.py`, `requirements.txt`, and a card with what it needs."""

import json
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import HfApi, SpaceCardData, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from nyx_hf._version import __version__
from nyx_hf.folders import HubError
from nyx_hf.index_files import MANIFEST

_APP = '''"""Searches {index} by text, pictures, or both."""

from nyx_hf.space_app import run

# commits, so that the Space shows tomorrow what it shows today
if __name__ == "__main__":
    run(
        "{index}",
        revision="{revision}",
        model="{model}",
        model_revision="{model_revision}",
    )
'''
_ABOUT = """
# Search {index}

Type, drop a picture, or both. The documents are those of
[{index}](https://huggingface.co/datasets/{index}) at `{revision}`, found by
[{model}](https://huggingface.co/{model}) at `{model_revision}`. Made with nyx_hf {version}.
"""


def space_files(index: str, revision: str | None = None, token: str | None = None) -> dict[str, str]:
    """Writes a Space for an index.

    Args:
        index: An index on the Hub, `owner/name`.
        revision: Its branch, tag or commit; what it stands for now is written into the Space.
        token: Hub token; the logged-in user's where it is left out.

    Returns:
        Text of each file, by its name.

    Raises:
        HubError: If it is no index, or its model is not on the Hub.
    """
    info = HfApi(token=token).dataset_info(index, revision=revision)
    try:
        file = hf_hub_download(index, MANIFEST, repo_type="dataset", revision=info.sha, token=token)
    except EntryNotFoundError as error:
        raise HubError(f"{index} is no index: make one with `nyx-hf index`, and push it first") from error
    made = json.loads(Path(file).read_text(encoding="utf-8"))["properties"]
    if "/" not in made["model"] or made["revision"] is None:
        raise HubError(
            f"{index} was made with the model {made['model']}, which is in a folder: push the model, and index with "
            "its name on the Hub"
        )
    facts = {"index": index, "revision": str(info.sha), "model": made["model"], "model_revision": made["revision"]}
    name = index.rpartition("/")[2]
    card = SpaceCardData(
        title=f"Search {name}",
        emoji="🔎",
        colorFrom="indigo",
        colorTo="blue",
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version="3.11",
        app_file="app.py",
        pinned=False,
        license="apache-2.0",
        models=[made["model"]],
        datasets=[index],
        short_description="Search by text, pictures, or both",
    )
    return {
        "app.py": _APP.format(**facts),
        "requirements.txt": f"nyx-hf[search,web]=={__version__}\n",
        "README.md": f"---\n{card.to_yaml()}\n---\n{_ABOUT.format(**facts, version=__version__)}",
    }
