"""Training a reranker: pairs and labels, the paper's recipe, a run that learns, and the folder that it leaves."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer
from typer.testing import CliRunner

from nyx_hf.cli import app
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.data_builders.writing import write_dataset
from nyx_hf.folders import check_folder
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.model_cards.reranker_card import reranker_snippets
from nyx_hf.reranker import NyxReranker
from nyx_hf.trainer.launch import Launch
from nyx_hf.trainer.recipe_files import RecipeError
from nyx_hf.trainer.reranker_arguments import RECIPES, parse_reranker_run
from nyx_hf.trainer.reranker_data import IGNORED, PairCollator, pair_rows
from nyx_hf.trainer.reranker_encoding import PairProcessor
from nyx_hf.trainer.reranker_prompt import RerankerSettings, answer_tokens
from nyx_hf.trainer.tiny import make_tiny_vlm
from tests.fresh import run_fresh
from tests.pictures import noise_image

QUERIES = [f"show me number {number}" for number in range(12)]
WORDING = {"system": "Judge.", "question": "Fits?"}


def write(folder: Path, negatives: int) -> Path:
    """Queries that want a picture, not a text: 9 to train on, 3 to test on."""
    corpus: list[dict[str, Any]] = []
    for number in range(12):
        picture = {"type": "image", "image": noise_image(28, 28, number)}
        corpus.append({"id": f"picture{number}", "content": [picture]})
        corpus.append({"id": f"text{number}", "content": [{"type": "text", "text": f"number {number} in words"}]})
    queries = [
        {"id": f"q{number}", "content": [{"type": "text", "text": words}], "instruction": "Find a picture."}
        for number, words in enumerate(QUERIES)
    ]
    links = [
        {
            "query_id": f"q{number}",
            "positive_ids": [f"picture{number}", f"picture{(number + 1) % 12}"],
            "negative_ids": [f"text{number}", f"text{(number + 1) % 12}"][:negatives],
        }
        for number in range(12)
    ]
    facts = DatasetFacts(
        name="pictures", pretty_name="Pictures", summary=".", configs={}, default_config="preview", license="mit"
    )
    triplets = {"train": links[:9], "test": links[9:]}
    return write_dataset(folder, {"pages": corpus}, {"asked": queries}, triplets, facts)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "pictures", 2)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [*QUERIES, "YES NO YES NO", "number in words", "Judge. Task: Query: Candidate: Fits?"]
    folder = tmp_path_factory.mktemp("base") / "vlm"
    return make_tiny_vlm(folder, "qwen2_5_vl", initializer_range=0.1, texts=texts)


@pytest.fixture(scope="module")
def trained(dataset: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reranker that learned in a few steps, by the command."""
    out = tmp_path_factory.mktemp("trained") / "reranker"
    words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(out), "--json", "smoke=true"]
    words += ["max_steps=20", "learning_rate=0.01", "lr_scheduler_type=constant", "global_batch_size=18"]
    words += ["per_device_train_batch_size=9", "negatives=1", f"wording='{json.dumps(WORDING)}'", "logging_steps=20"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["pairs"] == {"YES": 9, "NO": 9} and result["steps"] == 20
    return out


@pytest.fixture(scope="module")
def reranker(trained: Path) -> NyxReranker:
    return NyxReranker.from_pretrained(trained, device="cpu")


class TestPairs:
    def test_a_row_a_pair(self, dataset: Path) -> None:
        triplets = TripletDataset.load(dataset)
        rows = pair_rows(triplets, positives=1, negatives=50)
        assert rows.with_format(None)["relevant"] == [True, False, False] * 9
        assert [part["type"] for part in rows[0]["document"]["content"]] == ["image"]
        assert rows[2]["document"]["content"] == [{"type": "text", "text": "number 1 in words"}]
        assert rows[3]["query"][0]["text"] == QUERIES[1] and rows[3]["instruction"] == "Find a picture."
        assert pair_rows(triplets, 2, 1).with_format(None)["relevant"] == [True, True, False] * 9

    def test_refused(self, dataset: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            pair_rows(TripletDataset.load(dataset), negatives=0)
        with pytest.raises(ValueError, match="found no negatives in the triplets of bare.*nyx-hf mine"):
            pair_rows(TripletDataset.load(write(tmp_path / "bare", 0)))

    def test_the_loss_is_on_the_answer_alone(self, dataset: Path, base: Path) -> None:
        processor = PairProcessor.for_pairs(base, RerankerSettings(**WORDING), "qwen2_5_vl")
        rows = [pair_rows(TripletDataset.load(dataset))[number] for number in range(3)]
        batch = PairCollator(processor)(rows)
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        assert len(set(lengths)) > 1  # some are padded
        for number, row in enumerate(rows):
            [plan] = processor.plans(row["query"], [row["document"]], row["instruction"])
            answer = answer_tokens(processor.tokenizer, "YES" if row["relevant"] else "NO")
            here = batch["attention_mask"][number].bool()
            assert batch["input_ids"][number, here].tolist() == plan.tokens.ids + answer
            labels = batch["labels"][number]
            assert labels[here].tolist() == [IGNORED] * len(plan) + answer
            assert (labels[~here] == IGNORED).all()


class TestSettings:
    def test_the_recipe_is_the_paper_s(self) -> None:
        text = (RECIPES / "u_marvel_reranker.yaml").read_text()
        facts = {"positives": 1, "negatives": 50, "use_peft": True, "lora_r": 128, "lora_alpha": 256}
        facts |= {"global_batch_size": 128, "learning_rate": 2e-5, "num_train_epochs": 1}
        values = yaml.safe_load(text)
        assert {name: values[name] for name in facts} == facts
        lines = re.findall(r"^\w+: .*$", text[: text.index("# ---- Run ----")], re.M)
        assert len(lines) > 15 and all(re.search(r"# .*(Table|§|appendix|not in paper)", line) for line in lines)

    def test_accumulation_follows_from_the_batch(self) -> None:
        run = parse_reranker_run("data", "base", "out", ["use_cpu=true", "bf16=false", "dtype=float32"])
        assert run.training.gradient_accumulation_steps == 64 and run.training.per_device_train_batch_size == 2
        assert run.model.lora_r == 128 and run.reranker.negatives == 50

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["output_dir=x"], "output_dir.*--out"),
            (["learning_rat=1"], "did you mean learning_rate"),
            (["global_batch_size=5"], "no multiple of 2 rows"),
            (["learning_rate=fast"], "learning_rate"),
            (["other=true"], "unknown setting"),
        ],
    )
    def test_refused(self, words: list[str], message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            parse_reranker_run("data", "base", "out", ["smoke=true", *words])

    def test_unknown_recipe(self) -> None:
        with pytest.raises(RecipeError, match="one of u_marvel_reranker"):
            parse_reranker_run("data", "base", "out", recipe="nothing")

    def test_answers_that_begin_alike_end_before_training(self, dataset: Path, base: Path, tmp_path: Path) -> None:
        words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(tmp_path / "out"), "smoke=true"]
        done = CliRunner().invoke(app, [*words, """wording='{"no": "YES not"}'"""])
        assert done.exit_code == 1 and "begin with the same token" in done.output and not (tmp_path / "out").exists()


STEPS = ["smoke=true", "max_steps=4", "save_steps=2", "save_total_limit=4", "learning_rate=0.01", "negatives=1"]


@pytest.mark.e2e
class TestSpreadAndResumed:
    """Two processes, and a run that goes on, leave what one run in one process leaves."""

    @pytest.fixture(scope="class")
    def alone(self, dataset: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("alone") / "reranker"
        words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(out), *STEPS]
        done = CliRunner().invoke(app, [*words, "per_device_train_batch_size=4"])
        assert done.exit_code == 0, done.output
        before, after = (load_file(folder / "model.safetensors") for folder in (base, out))
        assert max((after[key] - value).abs().max() for key, value in before.items()) > 1e-3, "nothing was learned"
        return out

    @staticmethod
    def check(out: Path, alone: Path) -> None:
        expected, found = (load_file(folder / "model.safetensors") for folder in (alone, out))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")

    def test_two_processes(self, alone: Path, dataset: Path, base: Path, tmp_path: Path) -> None:
        out = tmp_path / "reranker"
        words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(out), "--json", *STEPS]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        command = [*Launch(2, "ddp").words(), "-m", "nyx_hf", *words, "per_device_train_batch_size=2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [json.loads(line)["steps"] for line in done.stdout.splitlines() if line.startswith('{"folder')] == [4]
        self.check(out, alone)

    def test_resumed(self, alone: Path, dataset: Path, base: Path, tmp_path: Path) -> None:
        out = tmp_path / "reranker"
        shutil.copytree(alone / "checkpoint-2", out / "checkpoint-2")
        words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(out), *STEPS]
        done = CliRunner().invoke(app, [*words, "per_device_train_batch_size=4", "resume_from_checkpoint=auto"])
        assert done.exit_code == 0, done.output
        log = json.loads((out / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
        assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4]
        self.check(out, alone)


@pytest.mark.e2e
class TestTrained:
    def test_it_learned(self, reranker: NyxReranker, dataset: Path, base: Path) -> None:
        """On queries and pictures that it was not trained on."""
        held_out = TripletDataset.load(dataset, "test", negatives_per_query=1)
        before = NyxReranker.from_pretrained(base, device="cpu")
        gaps = {}
        for name, one in (("before", before), ("after", reranker)):
            rows = [held_out[number] for number in range(len(held_out))]
            scores = np.array([one.scores(r["query"], [*r["positives"], *r["negatives"]]) for r in rows])
            gaps[name] = (scores[:, 0] - scores[:, 1]).mean()
        assert gaps["after"] > 0.5 > gaps["before"]

    def test_scores_are_plain(self, reranker: NyxReranker) -> None:
        docs = [noise_image(28, 28, 50), "number 3 in words", ("number 3", noise_image(28, 28, 51))]
        fast = reranker.scores(QUERIES[0], docs, "Find a picture.")
        np.testing.assert_allclose(fast, reranker.plain_scores(QUERIES[0], docs, "Find a picture."), atol=1e-5)

    def test_the_folder_keeps_its_habits(self, trained: Path, base: Path, reranker: NyxReranker) -> None:
        assert reranker.settings == RerankerSettings(**WORDING)
        config = AutoConfig.from_pretrained(trained)
        assert config.architectures == AutoConfig.from_pretrained(base).architectures
        assert "auto_map" not in json.loads((trained / "config.json").read_text())
        size = json.loads((trained / "preprocessor_config.json").read_text())["size"]
        assert size["longest_edge"] == reranker.settings.max_pixels
        chat = [{"role": "user", "content": "hello"}]
        one, other = (AutoTokenizer.from_pretrained(folder) for folder in (trained, base))
        assert one.apply_chat_template(chat, tokenize=False) == other.apply_chat_template(chat, tokenize=False)
        assert not list(trained.glob(".*"))

    def test_the_card(self, trained: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        card = ModelCard.load(trained / "README.md")
        assert card.data.pipeline_tag == "text-ranking" and card.data.license == "mit"
        assert "cross-encoder" in card.data.tags and card.data.library_name == "sentence-transformers"
        for said in ("lora_r", "Fits?", "nyx-hf", "| YES | 9 |", "umarvel", "pictures"):
            assert said in card.text
        assert check_folder(trained, "me/reranker").kind == "model"
        exec(reranker_snippets(str(trained))["nyx_hf"], {})
        assert "corpus_id" in capsys.readouterr().out

    def test_a_model_that_stands_there_stays(self, trained: Path, dataset: Path, base: Path) -> None:
        words = ["train-reranker", str(dataset), "--base", str(base), "--out", str(trained), "smoke=true"]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1 and "--overwrite" in done.output

    @pytest.mark.stock
    def test_stock_code_gives_the_same_scores(self, trained: Path, reranker: NyxReranker, tmp_path: Path) -> None:
        """In a process without nyx_hf: transformers' own classes, and CrossEncoder for texts and pictures.

        Only CrossEncoder needs torchvision there, for the stock processor.
        """
        noise_image(56, 28, 60).save(tmp_path / "picture.png")
        found = run_fresh(
            """
            from PIL import Image
            from sentence_transformers import CrossEncoder
            from transformers import AutoModelForImageTextToText, AutoTokenizer

            folder, query, picture = sys.argv[1:]
            tokenizer = AutoTokenizer.from_pretrained(folder)
            plain = AutoModelForImageTextToText.from_pretrained(folder)
            messages = [
                {"role": "system", "content": "Find a picture."},
                {"role": "query", "content": query},
                {"role": "document", "content": "number 3 in words"},
            ]
            inputs = tokenizer.apply_chat_template(messages, return_dict=True, return_tensors="pt")
            with torch.no_grad():
                logits = plain(**inputs).logits[0, -1]
            yes, no = (tokenizer(word)["input_ids"][0] for word in ("YES", "NO"))

            model = CrossEncoder(folder)
            texts = model.predict([(query, "number 3 in words"), (query, "another one")])
            told = model.predict([(query, "number 3 in words")], prompt="Find a picture.")
            shown = model.predict([(query, Image.open(picture).convert("RGB"))])
            best = model.rank(query, ["number 3 in words", "another one"])[0]["corpus_id"]
            plain = [torch.softmax(logits[[yes, no]], dim=0)[0].item()]
            report(plain=plain, texts=texts.tolist(), told=told.tolist(), shown=shown.tolist(), best=best)
            """,
            trained,
            QUERIES[3],
            tmp_path / "picture.png",
            stock=True,
        )
        texts = ["number 3 in words", "another one"]
        told = reranker.scores(QUERIES[3], texts[:1], "Find a picture.")
        expected = {
            "plain": told,
            "told": told,
            "texts": reranker.scores(QUERIES[3], texts),
            "shown": reranker.scores(QUERIES[3], [tmp_path / "picture.png"]),
        }
        for name, scores in expected.items():
            np.testing.assert_allclose(found[name], scores, atol=1e-5, err_msg=name)
        assert len({round(float(scores[0]), 5) for scores in expected.values()}) == 3  # plain and told are one pair
        assert found["best"] == reranker.rank(QUERIES[3], texts)[0]["corpus_id"]

    def test_the_loss_is_the_paper_s(self, trained: Path, reranker: NyxReranker, dataset: Path) -> None:
        """Eq. 3: −log P(answer), over the whole vocabulary, mean over the answer's tokens."""
        [row] = pair_rows(TripletDataset.load(dataset), 1, 1).select([1])
        batch = PairCollator(reranker.processor)([row])
        with torch.no_grad():
            output = reranker.model(**batch)
        answer = batch["labels"][0] != IGNORED
        rows = output.logits[0][torch.roll(answer, -1)]
        assert output.loss.item() == pytest.approx(F.cross_entropy(rows, batch["labels"][0][answer]).item(), abs=1e-5)
