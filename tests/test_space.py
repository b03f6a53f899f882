"""A Space that searches an index: made, pushed, and run as the Hub would, against the Hub's stand-in."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from gradio_client import Client
from hub_standin import ROOT, standin
from served import free_port, wait_for

from nyx_hf.folders import HubError
from nyx_hf.space_push import push_space

PUSH = """
import json, shutil, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from served import small_index
from typer.testing import CliRunner
from nyx_hf.cli import app
from nyx_hf.hub import push_to_hub
from nyx_hf.search_index import SearchIndex
from nyx_hf.space_push import push_space
model = Path("tiny")
shutil.copytree(sys.argv[2], model)
(model / "README.md").write_text("---\\nlicense: apache-2.0\\n---\\n# Tiny\\n")
said = {"model": push_to_hub(model, "tester/tiny").oid}
index = small_index(Path.cwd() / "made", "tester/tiny")
said["found"] = [one.id for one in SearchIndex.open(index).search("birds", k=6)]
said["index"] = push_to_hub(index, "tester/index").oid
done = CliRunner().invoke(app, ["push", "tester/index", "tester/demo", "--space", "--json"])
assert done.exit_code == 0, done.output
said["space"] = json.loads(done.output.splitlines()[-1])["commit"]
for wrong in ("tester/tiny", "tester/nowhere"):
    try:
        push_space(wrong, "tester/other")
    except Exception as error:
        said[wrong] = str(error)
print(json.dumps(said))
"""


@pytest.mark.e2e
def test_a_space_from_push_to_page(tiny_folder: Path, tmp_path: Path) -> None:
    with standin(tmp_path / "hub") as hub:
        done = hub.python(PUSH, tmp_path / "client", str(ROOT), str(tiny_folder))
        said = json.loads(done.stdout.splitlines()[-1])
        assert hub.repos["space", "tester/demo"].private
        files = hub.files("tester/demo", "space")
        assert set(files) - {".gitattributes"} == {"app.py", "requirements.txt", "README.md"}
        card = yaml.safe_load(files["README.md"].decode().split("---")[1])
        assert (card["sdk"], card["app_file"]) == ("gradio", "app.py")
        assert (card["models"], card["datasets"]) == (["tester/tiny"], ["tester/index"])
        app = files["app.py"].decode()
        assert f'revision="{said["index"]}"' in app and f'model_revision="{said["model"]}"' in app
        assert "nyx-hf[search,web]==" in files["requirements.txt"].decode()
        assert "tester/tiny" in said and "tester/nowhere" in said  # neither is an index
        assert ("space", "tester/other") not in hub.repos

        folder, port = tmp_path / "space", free_port()
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        env = hub.env(tmp_path / "runner") | {"PYTHONPATH": str(ROOT), "GRADIO_SERVER_PORT": str(port)}
        with (tmp_path / "log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                wait_for(f"http://127.0.0.1:{port}/config", process)
                assert httpx.get(f"http://127.0.0.1:{port}/config").json()["analytics_enabled"] is False
                html = Client(f"http://127.0.0.1:{port}/", verbose=False).predict("birds", None, 6, api_name="/search")
            finally:
                process.kill()
                process.communicate()
    places = [html.index(f"{rank}. {name}") for rank, name in enumerate(said["found"], start=1)]
    assert len(places) == 6 and places == sorted(places) and html.count("<img") == 3


def test_a_folder_is_no_index_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="push the index first"):
        push_space(str(tmp_path), "me/demo", token="hf_test")
