"""Folders of one name, and folders that were written anew, are never taken for each other."""

import pytest

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_two_folders_of_one_name_and_one_written_anew(tmp_path):
    small = build_digits(tmp_path / "a" / "dataset", train_documents=8, test_documents=6)
    large = build_digits(tmp_path / "b" / "dataset", train_documents=12, test_documents=9)
    counts = [load_tables(folder, ["corpus"])["corpus"].num_rows for folder in (small, large)]
    assert counts == [{"train": 8, "test": 6}, {"train": 12, "test": 9}]
    rows = [TripletDataset.load(folder) for folder in (small, large)]
    assert len(rows[0]) < len(rows[1]) and rows[1][len(rows[1]) - 1]["positives"]
    assert len(RetrievalSet.load(large, "test").corpus) == 9

    build_digits(large, train_documents=8, test_documents=7, overwrite=True)
    assert load_tables(large, ["corpus"])["corpus"].num_rows == {"train": 8, "test": 7}


def test_read_once_stays_read(tmp_path):
    folder = build_digits(tmp_path / "dataset", train_documents=8, test_documents=6)
    first, again = (load_tables(folder, ["corpus"])["corpus"]["test"].cache_files for _ in range(2))
    assert first == again and first
