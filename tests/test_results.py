"""The pages of results are what the records say, and rank no scores that are equal within their spread."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = runpy.run_path(str(ROOT / "benchmarks" / "results.py"))
RECORDS = sorted((ROOT / "docs" / "results").glob("*/*.json"))


def record(fid, std=0.0, **card):
    scores = {"scores": {"fid": fid}, "spread": {"fid": std}, "bands": {}, "metrics": ["fid"], "flags": {}}
    return {"card": {**scores, **card}, "cpu_seconds": 3.0, "evaluation": "python evaluate.py"}


NAMED = {"a": record(1.0, 0.1), "b": record(1.2, 0.1), "c": record(2.0, 0.1)}


@pytest.fixture
def records(tmp_path):
    (tmp_path / "page").mkdir()
    one = record(0.1)
    del one["card"]["spread"]["fid"]
    for name, entry in {**NAMED, "wide": record(2.1, 1.0), "one": one}.items():
        (tmp_path / "page" / f"{name}.json").write_text(json.dumps(entry))
    return RESULTS["Records"](tmp_path)


def test_the_pages_are_rendered_from_the_records():
    for path, text in RESULTS["render"]().items():
        assert path.read_text() == text, f"{path} is stale: run python benchmarks/results.py"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_its_commands_and_no_path_of_a_machine(path):
    entry = json.loads(path.read_text())
    assert re.fullmatch(r"[0-9a-f]{7,}", entry["commit"])
    assert entry.get("command", entry.get("training", "")).startswith("python ")
    assert (
        "card" not in entry
        or entry["card"] is None
        or "python evaluate.py" in entry.get("evaluation", "python evaluate.py")
    )
    assert not re.search(r'"/|[ =]/', path.read_text())
    if entry.get("picture"):
        assert (ROOT / "docs" / "images" / entry["picture"]).is_file()


def test_only_a_score_that_differs_from_all_others_is_bold(records):
    table = records.table("page", ["a", "b", "c"], ["name", "fid"])
    assert "**" not in table
    assert "| `a` | 1.00 ± 0.10 |" in table
    assert "| `b` | **1.20 ± 0.10** |" in records.table("page", ["c", "b"], ["name", "fid"])
    assert "**" not in records.table("page", ["c"], ["name", "fid"])
    assert "**" not in records.table("page", ["wide", "c", "b"], ["name", "fid"])
    assert "**" not in records.table("page", ["one", "c", "b"], ["name", "fid"])


def test_text_cannot_rank_scores_that_are_equal(records):
    assert records.better("page/a", "page/c") == ""
    assert records.indistinct("page/a", "page/b") == ""
    with pytest.raises(ValueError, match="fid of page/a is not better than that of page/b"):
        records.better("page/a", "page/b")
    with pytest.raises(ValueError, match="fid of page/c is not better"):
        records.better("page/c", "page/a")
    with pytest.raises(ValueError, match="fid of page/one is not better"):
        records.better("page/one", "page/c")
    assert records.better("page/c", "page/a", higher=True) == ""
    with pytest.raises(ValueError, match="differ"):
        records.indistinct("page/a", "page/c")


def test_numbers_have_the_digits_of_their_spread():
    number = RESULTS["number"]
    assert number(8.442, 0.129) == "8.44 ± 0.13"
    assert number(0.41058, 0.0062) == "0.4106 ± 0.0062"
    assert number(25.81, 3.2) == "25.8 ± 3.2"
    assert number(2136.4, 41.0) == "2,136 ± 41"
    assert number(2136.4) == "2,136"
    assert number(0.9276) == "0.9276"


def test_scores_of_extractors_with_different_weights_are_not_compared(tmp_path):
    (tmp_path / "page").mkdir()
    for name, entry in {"a": record(1.0, 0.1, weights_hash="1"), "c": record(2.0, 0.1, weights_hash="2")}.items():
        (tmp_path / "page" / f"{name}.json").write_text(json.dumps(entry))
    records = RESULTS["Records"](tmp_path)
    for statement in (records.better, records.indistinct):
        with pytest.raises(ValueError, match="different weights"):
            statement("page/a", "page/c")
