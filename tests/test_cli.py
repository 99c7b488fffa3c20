"""The command line, end to end: fit, resume, evaluate, sample, and one clear line for invalid input."""

import csv
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.io import ImageReadMode, decode_image

from lightning_gen.cli import main
from lightning_gen.data.folder import folder_set
from lightning_gen.images import save_png
from tests.cases import CASES
from tests.test_loggers import figures, history, items, offline_runs

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
DIGITS = str(CONFIGS / "dcgan_digits.yaml")
QUIET = ["--data.batch_size=256", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
TINY = ["--model.width=4", *QUIET]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


def fit(place: Path, *options: str, config: str = DIGITS, tiny: list[str] = TINY) -> int:
    return main(
        ["fit", "--config", config, f"--runs={place / 'runs'}", f"--data.root={place / 'data'}", *tiny, *options]
    )


@pytest.fixture(scope="module")
def run(place, shared_cache) -> Path:
    """A finished run of two epochs, as the README's command leaves it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
    every = [f"--{watcher}.every_n_epochs=1" for watcher in ("samples", "interpolation", "fidelity", "last")]
    assert fit(place, "--trainer.max_epochs=2", *every) == 0
    patch.undo()
    [folder] = (place / "runs" / "dcgan_digits").iterdir()
    return folder


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_the_readme_says(run):
    present = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "wandb" not in str(path)}
    assert present == {
        "config.yaml",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "samples/samples_000001280.png",
        "samples/samples_000002560.png",
        "samples/interpolation_000001280.png",
        "samples/interpolation_000002560.png",
        "samples/progress.gif",
        "evaluation/epoch0000_fid1437_train_classifier.json",
        "evaluation/epoch0001_fid1437_train_classifier.json",
    }
    rows = rows_of(run)
    assert all(row["images_seen"] for row in rows)
    assert [row["images_seen"] for row in rows if row["fidelity/fid"]] == ["1280", "2560"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["width"] == 4


def test_the_wandb_run_holds_the_figures_the_settings_the_pictures_and_the_score_card(run):
    [records] = offline_runs(run)
    config: dict = {}
    for record in records:
        config |= items(record.config.update) | items(record.run.config.update)
    assert config["width"] == 4
    assert config["data"]["name"] == "digits"
    rows = history(records)
    assert [images_seen for _, images_seen in figures(rows, "fidelity/fid")] == [1280, 2560]
    assert any(name.startswith("samples") for row in rows for name in row)
    assert config["model"] == "DCGAN"
    assert config["parameters"]["total"] == config["parameters"]["network"] + config["parameters"]["discriminator"] > 0
    [description] = [record.run for record in records if record.HasField("run")]
    assert description.run_group == "dcgan_digits"
    assert list(description.tags) == ["DCGAN", "digits"]
    metrics = {record.metric.glob_name or record.metric.name: record.metric for record in records}
    assert metrics["*"].step_metric == metrics["fidelity/fid"].step_metric == "images_seen"
    assert metrics["fidelity/fid"].summary.min
    assert metrics["fidelity/fid"].summary.last
    [nearest] = [row for row in rows if "nearest/nrows" in row]
    assert (nearest["images_seen"], nearest["nearest/nrows"], nearest["nearest/ncols"]) == (2560, 16, 7)
    assert any("score_card" in record.artifact.name for record in records if record.HasField("artifact"))


def test_evaluations_and_inspections_are_logged_to_the_same_wandb_run(run, capsys):
    recordings = len(offline_runs(run))
    options = ["--num_samples=40", "--band_draws=0", "--device=cpu"]
    assert main(["evaluate", f"--ckpt={run}", *options, "--wandb=false"]) == 0
    assert main(["inspect", "interpolate", f"--ckpt={run}", "--device=cpu", "--wandb=false"]) == 0
    assert len(offline_runs(run)) == recordings
    assert main(["evaluate", f"--ckpt={run}", *options]) == 0
    assert main(["inspect", "interpolate", f"--ckpt={run}", "--device=cpu"]) == 0
    assert f"wandb sync {run}/wandb/offline-run-*" in capsys.readouterr().out
    first, *_, evaluated, inspected = offline_runs(run)
    ids = [record.run.run_id for each in (first, evaluated, inspected) for record in each if record.HasField("run")]
    assert set(ids) == {(run / "wandb" / "run-id").read_text()}
    names = {name for record in evaluated for name in items(record.summary.update)}
    assert "evaluate/fid40_train@classifier/fid" in names
    rows = history(inspected)
    assert [row["images_seen"] in (1280, 2560) for row in rows] == [True, True]  # of the best checkpoint
    assert rows[0]["inspect/interpolate/captions"] == ["best"]
    media = [path.name.partition("_")[0] for path in run.glob("wandb/offline-run-*/files/media/*/inspect/**/*.*")]
    assert sorted(media) == ["animation", "interpolate"]


def test_nothing_is_logged_to_wandb_if_the_run_had_it_disabled(place, capsys):
    assert fit(place, "--trainer.max_epochs=1", "--name=disabled", "--wandb.mode=disabled") == 0
    [folder] = (place / "runs" / "disabled").iterdir()
    assert main(["inspect", "interpolate", f"--ckpt={folder}", "--device=cpu"]) == 0
    assert not (folder / "wandb").exists()
    assert "wandb" not in capsys.readouterr().out


def test_the_last_checkpoint_knows_the_best_score(run):
    """Otherwise a resumed run would replace best.ckpt by a worse one."""
    callbacks = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    [best] = [state["best_model_score"] for name, state in callbacks.items() if name.startswith("BestCheckpoint")]
    assert float(best) == pytest.approx(min(float(row["fidelity/fid"]) for row in rows_of(run) if row["fidelity/fid"]))


def test_the_summary_names_every_output(place, capsys):
    assert fit(place, "--trainer.max_epochs=1", "--name=summary") == 0
    printed = capsys.readouterr().out
    assert str(place / "runs" / "summary") in printed.replace("\n", "")
    assert printed.startswith("Model    DCGAN: generator ")  # the header
    assert "Data     digits/train: 1,437 images, 16 x 16, grey, 10 classes\n" in printed
    assert "1 epoch of 5 batches\n" in printed
    assert "Stopped  at trainer.max_epochs 1, after 1,280 images\n" in printed
    for checkpoint in ("Best     checkpoints/best.ckpt", "Last     checkpoints/last.ckpt"):
        assert f"{checkpoint} (fidelity/fid " in printed
    for word in ("samples_", "fid1437_train@classifier", "wandb sync", "images/s"):
        assert word in printed.replace("\n", ""), word


def test_resuming_continues_in_the_same_folder_and_loses_nothing(place):
    assert fit(place, "--trainer.max_epochs=1", "--name=resume", "--last.every_n_epochs=1") == 0
    [folder] = (place / "runs" / "resume").iterdir()
    before = rows_of(folder)
    assert fit(place, "--trainer.max_epochs=2", "--name=resume", "--last.every_n_epochs=1", "--ckpt_path=last") == 0
    assert list((place / "runs" / "resume").iterdir()) == [folder]
    after = rows_of(folder)
    assert [{name: row[name] for name in before[0]} for row in after[: len(before)]] == before
    assert len(after) > len(before)
    assert {path.name for path in folder.glob("config*.yaml")} == {"config.yaml", "config_2.yaml"}
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["progress"]["images_seen"] == 2560
    assert last["global_step"] == 10
    assert fit(place, "--trainer.max_epochs=3", "--name=resume", f"--ckpt_path={folder}") == 0
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["progress"]["images_seen"] == 3840


def test_two_processes_share_one_run(place):
    """As on two GPUs: Lightning starts the second process; one folder, the images of both counted, each row once."""
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1", "--name=ddp"]
    command = [sys.executable, "train.py", "fit", "--config", DIGITS, f"--runs={place / 'runs'}", *TINY, *options]
    data = f"--data.root={place / 'data'}"
    done = subprocess.run([*command, data], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    [folder] = (place / "runs" / "ddp").iterdir()
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["progress"]["images_seen"] == 2 * 2 * 256
    assert last["global_step"] == 2
    assert [row["images_seen"] for row in rows_of(folder) if row["fidelity/fid"]] == ["1024"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "evaluate.py"]
    scores = []
    for prefix in (command, [sys.executable, "evaluate.py"]):
        out = place / f"ddp{len(scores)}.json"
        options = ["--ckpt", str(folder), "--num_samples", "103", "--device", "cpu", "--out", str(out)]
        done = subprocess.run([*prefix, *options], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(out.read_text())["scores"]["fid"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_evaluate_writes_the_score_card(run, place, capsys):
    out = place / "card.json"
    code = main(
        ["evaluate", "--ckpt", str(run), "--metrics", "fid", "isc", "kid", "prc", "--split", "test", "--out", str(out)]
    )
    assert code == 0
    card = json.loads(out.read_text())
    assert card["scores"].keys() >= {"fid", "isc", "isc_std", "kid", "kid_std", "precision", "recall"}
    assert card["extractor"] == "classifier"
    assert card["protocol"]["fid"] == "fid360_test@classifier"
    assert card["weights"] == "ema"
    assert card["checkpoint"].endswith("best.ckpt")
    assert len(card["checkpoint_hash"]) == 64
    assert "classifier" in capsys.readouterr().out


def test_evaluate_scores_several_draws_other_than_that_which_chose_the_checkpoint(run, place, capsys):
    out = place / "draws.json"
    options = ["evaluate", "--ckpt", str(run), "--num_samples", "100", "--out", str(out)]
    assert main([*options, "--draws", "3"]) == 0
    card = json.loads(out.read_text())
    values = [draw["fid"] for draw in card["draws"]]
    assert len(set(values)) == 3
    assert card["scores"]["fid"] == pytest.approx(sum(values) / 3)
    assert min(values) < card["scores"]["fid"] < max(values)
    assert card["seed"] == 1
    assert card["spread"]["fid"] > 0
    assert card["bands"]["fid"]["draws"] == 100
    assert card["bands"]["fid"]["held_out_images"] == 100
    assert card["selection"] == "the best of its run by fidelity/fid, on the draw of seed 0"
    assert card["flags"] == {}
    capsys.readouterr()
    assert main([*options, "--seed", "2", "--band_draws", "0"]) == 0
    again = json.loads(out.read_text())
    assert again["scores"]["fid"] == values[1]
    assert again["bands"] == {}
    assert main([*options, "--seed", "0"]) == 0
    assert "also chose the checkpoint" in json.loads(out.read_text())["flags"]["fid"]
    assert main([*options, "--seed", "0", "--num_samples", "50"]) == 0
    flag = json.loads(out.read_text())["flags"]["fid"]
    assert "covariance is singular" in flag
    assert "also chose the checkpoint" in flag
    last = str(run / "checkpoints" / "last.ckpt")
    assert main(["evaluate", "--ckpt", last, "--num_samples", "100", "--seed", "0", "--out", str(out)]) == 0
    card = json.loads(out.read_text())
    assert card["selection"] == "the last of its run"
    assert card["flags"] == {}


def test_evaluate_raw_weights_and_default_file(run):
    assert main(["evaluate", "--ckpt", str(run / "checkpoints" / "last.ckpt"), "--num_samples", "200", "--raw"]) == 0
    card = json.loads((run / "evaluation" / "last_raw_fid200_train_classifier.json").read_text())
    assert card["weights"] == "raw"
    assert card["num_generated"] == 200


def test_evaluate_does_not_depend_on_the_batch_size(run, place):
    scores = []
    for size in ("7", "64"):
        out = place / f"card{size}.json"
        main(["evaluate", "--ckpt", str(run), "--num_samples", "100", "--batch_size", size, "--out", str(out)])
        scores.append(json.loads(out.read_text())["scores"]["fid"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_evaluate_folder_against_folder(place):
    images = torch.randint(0, 256, (2, 40, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for name, part in zip(("a", "b"), images, strict=True):
        for i, image in enumerate(part):
            save_png(image, place / name / str(i % 2) / f"{i}.png")
    out = place / "folders.json"
    options = ["--features", "classifier", "--metrics", "fid", "--band_draws", "2", "--out", str(out)]
    assert main(["evaluate", "--generated", str(place / "a"), "--reference", str(place / "a"), *options]) == 0
    assert json.loads(out.read_text())["scores"]["fid"] == pytest.approx(0, abs=1e-3)
    assert main(["evaluate", "--generated", str(place / "b"), "--reference", str(place / "a"), *options]) == 0
    assert json.loads(out.read_text())["scores"]["fid"] > 1e-3


def test_samples_do_not_depend_on_the_batch_size(run, place):
    for size in ("1", "5", "64"):
        assert (
            main(
                [
                    "sample",
                    "--ckpt",
                    str(run),
                    "--num=12",
                    "--seed=3",
                    f"--out={place / f's{size}'}",
                    f"--batch_size={size}",
                ]
            )
            == 0
        )
    files = sorted(path.name for path in (place / "s1").iterdir())
    assert files == [f"{i:06d}.png" for i in range(12)]
    assert len(folder_set(place / "s1")) == 12  # what evaluate --generated reads
    (place / "taken_grid.png").write_bytes(b"")
    assert main(["sample", "--ckpt", str(run), "--num=1", f"--out={place / 'taken'}"]) == 2
    assert not (place / "taken").exists()
    for name in (*files, "grid"):
        one, five, all_at_once = (
            decode_image(place / (f"{s}_grid.png" if name == "grid" else f"{s}/{name}"), ImageReadMode.GRAY).int()
            for s in ("s1", "s5", "s64")
        )
        assert (one - five).abs().max() <= 1  # a pixel on the edge of rounding may fall to either side
        assert (one - all_at_once).abs().max() <= 1


def test_an_autoencoder_is_scored_by_its_reconstructions_and_has_no_samples(place, capsys):
    config = str(CONFIGS / "autoencoder_digits.yaml")
    assert fit(place, "--trainer.max_epochs=1", "--name=ae", config=config) == 0
    capsys.readouterr()
    assert main(["evaluate", "--ckpt", str(place / "runs" / "ae"), "--split", "test"]) == 0
    assert "reconstructions" in capsys.readouterr().out
    assert main(["sample", "--ckpt", str(place / "runs" / "ae"), "--out", str(place / "none")]) == 2


def test_validate_and_test_report_the_held_out_loss(place, capsys):
    config = str(CONFIGS / "vae_digits.yaml")
    assert fit(place, "--trainer.max_epochs=1", "--name=vae", "--last.every_n_epochs=1", config=config) == 0
    for command in ("validate", "test"):
        options = [f"--ckpt_path={place / 'runs' / 'vae'}", f"--runs={place / 'runs'}", f"--data.root={place / 'data'}"]
        assert main([command, "--config", config, *TINY, *options]) == 0
        assert "elbo" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for case in CASES for name in case.configs])
def test_every_config_takes_a_step(name, place):
    """A small version of the config's model, on digits of the config's image size, at most 256 pixels, and channels.

    Inputs that the config reads from files are inverted digits.
    """
    path = CONFIGS / f"{name}.yaml"
    config = yaml.safe_load(path.read_text())
    [case] = [case for case in CASES if name in case.configs]
    data = config["data"]
    options = [
        f"--data.image_size={min(data['image_size'], 256)}",
        f"--data.channels={3 if data.get('name') in ('cifar10', 'celeba', 'stacked_mnist') else 1}",
    ]
    options += [f"--data.{key}=null" for key in ("tile", "load_size") if key in data]
    options += ["--data.inputs=inverted"] if data.get("name") in ("pairs", "domains") and "inputs" not in data else []
    tiny = {key: value if isinstance(value, str) else json.dumps(value) for key, value in case.tiny.items()}
    options += [f"--model.{key}={value}" for key, value in tiny.items()]
    options += ["--data.name=digits", "--data.batch_size=8", "--trainer.fast_dev_run=true"]
    assert fit(place, *options, config=str(path), tiny=QUIET) == 0


def test_the_likelihood_of_a_vae_goes_on_the_score_card(place, capsys):
    config, run, out = str(CONFIGS / "vae_digits.yaml"), place / "runs" / "binary", place / "likelihood.json"
    options = ["--data.binarize=dynamic", "--trainer.max_epochs=1", "--last.every_n_epochs=1", "--name=binary"]
    assert fit(place, *options, config=config) == 0
    command = ["evaluate", "--ckpt", str(run), "--split", "test", "--importance_samples", "60", "--num_samples", "100"]
    capsys.readouterr()
    assert main([*command, "--metrics", "elbo", "fid", "nll", "--out", str(out)]) == 0
    card = json.loads(out.read_text())
    assert {"fid", "elbo", "elbo_sem", "nll", "nll_sem", "bits_per_dim"} == card["scores"].keys()
    assert card["protocol"]["nll"] == "nll100_test@60 samples"
    assert card["reference"] == "digits/test-binarized"
    assert -card["scores"]["elbo"] > card["scores"]["nll"] > 0
    assert card["importance_samples"] == 60
    assert "±" in capsys.readouterr().out
    assert main([*command, "--metrics", "nll"]) == 0
    [alone] = run.glob("*/evaluation/*nll100*.json")
    assert json.loads(alone.read_text())["extractor"] is None
    for wrong, words in ((["--seed", "-1"], "seed is -1"), (["--device", "nowhere"], "device is nowhere")):
        assert main([*command, "--metrics", "nll", *wrong]) == 2
        assert words in lines_of(capsys)
    assert main([*command, "--metrics", "nll", "--importance_samples", "0"]) == 2
    assert "importance_samples is 0" in lines_of(capsys)
    assert fit(place, *options, "--model.likelihood=gaussian", config=config) == 2
    assert "bernoulli likelihood" in lines_of(capsys)


def lines_of(capsys) -> str:
    """What was printed on stderr, which must be one line without a traceback."""
    printed = capsys.readouterr().err.strip()
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, printed
    assert "Traceback" not in printed
    return errors[0]


def test_a_conditional_model_generates_the_requested_classes(place, capsys):
    config = str(CONFIGS / "conditional_gan_digits.yaml")
    assert fit(place, "--trainer.max_epochs=1", "--name=conditional", "--last.every_n_epochs=1", config=config) == 0
    run, out = place / "runs" / "conditional", place / "requested"
    assert main(["sample", "--ckpt", str(run), "--num", "6", "--labels", "[3,7]", "--out", str(out)]) == 0
    assert len(list(out.glob("0*.png"))) == 6
    assert main(["evaluate", "--ckpt", str(run), "--num_samples", "100", "--out", str(place / "requested.json")]) == 0
    card = json.loads((place / "requested.json").read_text())
    assert 0 <= card["scores"]["class_accuracy"] <= 1
    assert card["labels"] == "permuted reference labels"
    assert main(["sample", "--ckpt", str(run), "--labels", "[10]", "--out", str(place / "x")]) == 2
    assert "0 to 9" in lines_of(capsys)


def test_bad_commands_and_scoring_input(run, place, capsys, monkeypatch):
    full = place / "full"
    full.mkdir(exist_ok=True)
    (full / "mine.txt").write_text("keep me")
    ckpt = ["--ckpt", str(run)]
    cases: list[tuple[list[str], list[str]]] = [
        (["train"], ["train", "fit", "evaluate"]),
        (["evaluate"], ["--ckpt", "--generated"]),
        (["evaluate", "--ckpt", "nowhere"], ["nowhere"]),
        (["evaluate", *ckpt, "--num_samples", "0"], ["num_samples", "0"]),
        (["evaluate", *ckpt, "--num_samples", "1"], ["fid"]),
        (["evaluate", *ckpt, "--metrics", "fid", "ssim"], ["ssim"]),
        (["evaluate", *ckpt, "--features", "resnet"], ["resnet"]),
        (["evaluate", *ckpt, "--split", "all"], ["split", "all"]),
        (["evaluate", *ckpt, "--draws", "0"], ["--draws", "0"]),
        (["evaluate", *ckpt, "--draws", "2", "--reconstructions"], ["--draws"]),
        (["evaluate", *ckpt, "--band_draws", "-1"], ["--band_draws", "-1"]),
        (["evaluate", *ckpt, "--band_draws", "1"], ["--band_draws", "standard deviation"]),
        (["evaluate", "--generated", str(place), "--reference", str(place), "--draws", "2"], ["--draws", "--ckpt"]),
        (["evaluate", *ckpt, "--out", "/proc/nowhere/card.json"], ["/proc/nowhere"]),
        (["evaluate", "--generated", str(place)], ["--reference"]),
        (["evaluate", "--generated", str(full), "--reference", str(full)], [str(full)]),
        (["sample", *ckpt, "--out", str(full)], ["not empty"]),
        (["sample", *ckpt, "--out", str(place / "x"), "--num", "0"], ["--num"]),
        (["sample", *ckpt, "--out", str(place / "x"), "--labels", "3"], ["not conditional"]),
        (["sample", *ckpt, "--out", "/proc/nowhere"], ["/proc/nowhere"]),
        (["validate", "--config", DIGITS, *TINY, f"--runs={place / 'runs'}"], ["DCGAN", "evaluate"]),
    ]
    for args, words in cases:
        assert main(args) == 2, args
        line = lines_of(capsys)
        assert all(word in line for word in words), line
    assert (full / "mine.txt").read_text() == "keep me"
    assert not (place / "x").exists()


def test_unusable_checkpoints(run, place, capsys):
    good = run / "checkpoints" / "last.ckpt"
    truncated, foreign, unsafe, other = (place / f"{name}.ckpt" for name in ("truncated", "foreign", "unsafe", "other"))
    truncated.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    torch.save({"weights": torch.zeros(2)}, foreign)

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {place / 'sprung'}",)

    torch.save(torch.load(good, weights_only=True) | {"trap": Trap()}, unsafe)
    torch.save(
        torch.load(good, weights_only=True) | {"model_class": "lightning_gen.models.autoencoders.vae.VAE"}, other
    )
    for path, words in (
        (truncated, ["truncated"]),
        (foreign, ["not a checkpoint of lightning_gen"]),
        (unsafe, ["more than tensors"]),
        (other, ["VAE"]),
    ):
        for command in (["evaluate", "--ckpt", str(path)], ["sample", "--ckpt", str(path), "--out", str(place / "y")]):
            assert main(command) == 2
            assert all(word in lines_of(capsys) for word in words)
        assert fit(place, "--name=bad", f"--ckpt_path={path}") == 2
        assert all(word in lines_of(capsys) for word in words)
    assert not (place / "sprung").exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(unsafe, weights_only=True)


def test_a_checkpoint_of_another_size_is_refused_before_anything_is_touched(run, place, capsys):
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    for path in (run, run / "checkpoints" / "last.ckpt"):
        assert fit(place, f"--ckpt_path={path}", "--model.width=8") == 2
        assert "does not fit" in lines_of(capsys)
        assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_run_that_fails_before_it_writes_anything_leaves_no_folder(run, place, capsys):
    config = str(CONFIGS / "vae_digits.yaml")
    options = [f"--runs={place / 'none'}", f"--data.root={place / 'data'}", f"--ckpt_path={run}"]
    assert main(["validate", "--config", config, *TINY, *options]) == 2
    assert "VAE" in lines_of(capsys)
    assert not [*(place / "none").iterdir()]
    assert fit(place / "none", "--model.generator_lr=-1") == 2
    assert "generator_lr" in lines_of(capsys)
    assert not [*(place / "none" / "runs").iterdir()]
