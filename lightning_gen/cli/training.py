"""fit, validate and test: Lightning's own command line, with the suite's run folders, watchers and loggers."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from rich.console import Console

from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.grids import ReconstructionGrid, SampleGrid
from lightning_gen.callbacks.interpolation import InterpolationStrip
from lightning_gen.callbacks.pictures import PictureCallback
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.cli.checks import check_likelihood
from lightning_gen.cli.runs import new_run, newest_run, run_of
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.loggers import RunCSVLogger, WandbRunLogger
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import check_fit, find_checkpoint, read_checkpoint

RUN = "LIGHTNING_GEN_RUN"
"""Environment variable by which the processes of a run know its folder."""
WATCHERS = {
    "samples": SampleGrid,
    "reconstructions": ReconstructionGrid,
    "interpolation": InterpolationStrip,
    "fidelity": Fidelity,
    "watchdog": Watchdog,
    "last": LastCheckpoint,
    "best": BestCheckpoint,
}


class SaveConfig(SaveConfigCallback):
    """Writes the run's configuration; that of a resumed run goes beside the first and never over it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose a free name, and write.

        Args:
            trainer: the trainer.
            pl_module: the model.
            stage: fit, validate or test.
        """
        folder, number = Path(trainer.default_root_dir), 1
        while (folder / self.config_filename).exists():
            number += 1
            self.config_filename = f"config_{number}.yaml"
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the loggers what the model's own hyper-parameters do not say: data, trainer, callbacks, seed.

        Args:
            trainer: the trainer.
            pl_module: the model.
            stage: fit, validate or test.
        """
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        for logger in trainer.loggers:
            logger.log_hyperparams({name: value for name, value in config.items() if name not in ("model", "config")})


class TrainingCLI(LightningCLI):
    """Lightning's command line over :class:`GenerativeModule` and :class:`ImageData`."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands and the arguments that they do not take from the user."""
        skipped = {"model", "datamodule", "train_dataloaders", "val_dataloaders", "dataloaders", "weights_only"}
        return dict.fromkeys(("fit", "validate", "test"), skipped)

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make a parser that raises what it has to complain of.

        Args:
            **kwargs: Lightning's.

        Returns:
            The parser.
        """
        return super().init_parser(**{**kwargs, "exit_on_error": False, "allow_abbrev": False})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and folder, the watchers, and the links from data to model.

        Args:
            parser: a command's parser.
        """
        parser.add_argument("--name", type=str | None, default=None, help="Experiment (default: the config's stem).")
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
        for key, watcher in WATCHERS.items():
            parser.add_lightning_class_args(watcher, key)
        parser.add_class_arguments(WandbRunLogger, "wandb", skip={"run_folder", "name"}, instantiate=False)
        for name in ("image_shape", "num_classes"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: a checkpoint that does not fit it is refused, not followed."""

    def before_instantiate_classes(self) -> None:
        """Choose the run's folder, and check the checkpoint, before anything is made."""
        config = self.config[self.subcommand]
        files = [str(path) for path in config.get("config") or []]
        self.experiment = config.name or (Path(files[-1]).stem if files else "run")
        runs = Path(config.runs)
        if config.ckpt_path == "last":
            self.run_folder = newest_run(runs, self.experiment)
            config.ckpt_path = str(self.run_folder / "checkpoints" / "last.ckpt")
        elif config.ckpt_path is not None:
            going_on = self.subcommand == "fit"
            order = ("last", "best") if going_on else ("best", "last")
            checkpoint = find_checkpoint(Path(config.ckpt_path), order)
            config.ckpt_path = str(checkpoint)
            self.run_folder = run_of(checkpoint) if going_on else new_run(runs, self.experiment)
        else:
            self.run_folder = new_run(runs, self.experiment)
        if first_process():
            os.environ[RUN] = str(config.trainer.default_root_dir or self.run_folder)
        # processes that this one starts, and none else, read it there; those of torchrun or srun write nothing
        self.run_folder = Path(os.environ.get(RUN, self.run_folder))
        config.trainer.default_root_dir = str(self.run_folder)
        if config.trainer.enable_progress_bar is False:
            del self.trainer_defaults["callbacks"]
        if not config.trainer.fast_dev_run and first_process():
            claim(self.run_folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, with the CSV and W&B loggers unless others were asked for.

        Args:
            **kwargs: further arguments of the trainer.

        Returns:
            The trainer.
        """
        asked = self._get(self.config_init, "trainer")["logger"]
        if asked is None or asked is True:
            options = self._get(self.config_init, "wandb").as_dict()
            name = f"{self.experiment}/{self.run_folder.name}"
            kwargs["logger"] = [
                RunCSVLogger(self.run_folder),
                WandbRunLogger(self.run_folder, name=name, **options),
            ]
        return super().instantiate_trainer(**kwargs)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Check the checkpoint against the model, and ask Lightning to load it without running code."""
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        check_likelihood(self.model, self.datamodule)
        if arguments.get("ckpt_path"):
            path = Path(arguments["ckpt_path"])
            check_fit(path, read_checkpoint(path), self.model)
        if subcommand in ("validate", "test") and type(self.model).validation_step is LightningModule.validation_step:
            raise InputError(f"{type(self.model).__name__} has no held-out loss; score it with evaluate.py")
        return arguments | {"weights_only": True}

    def _run_subcommand(self, subcommand: str) -> None:
        """Run, and end the W&B run whatever comes."""
        try:
            super()._run_subcommand(subcommand)
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbRunLogger):
                    logger.close()
            with suppress(OSError):
                self.run_folder.rmdir()  # a run that failed before it wrote anything leaves no folder

    def after_fit(self) -> None:
        """Print where everything is."""
        if not self.config[self.subcommand].trainer.fast_dev_run:
            summarise(self.trainer, self.run_folder)


def train(args: Sequence[str]) -> None:
    """Run fit, validate or test.

    Args:
        args: the command and its options.

    Raises:
        InputError: when an option is of no use.
    """
    torch.set_float32_matmul_precision("high")  # TensorFloat32 on the GPUs that have it
    TrainingCLI(
        GenerativeModule,
        ImageData,
        save_config_callback=SaveConfig,
        save_config_kwargs={"overwrite": True},
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        seed_everything_default=0,
        trainer_defaults={
            "callbacks": [RichProgressBar(refresh_rate=5)],
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "use_distributed_sampler": False,
        },
        parser_kwargs={"prog": "python train.py"},
        args=None if list(args) == sys.argv[1:] else list(args),
    )


def claim(folder: Path) -> None:
    """Make a run's folder.

    Args:
        folder: the folder.

    Raises:
        InputError: when it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; name another folder with --runs") from None


@rank_zero_only
def summarise(trainer: Any, run_folder: Path) -> None:
    """Print where a run is, its last sample grid, its scores and how to see it in W&B.

    Args:
        trainer: the trainer, after fit.
        run_folder: the run's folder.
    """
    console = Console()
    console.print(f"\n[bold]Run[/bold]      {run_folder}", highlight=False, soft_wrap=True)
    for callback in trainer.callbacks:
        if isinstance(callback, PictureCallback) and callback.last_path is not None:
            console.print(f"[bold]Picture[/bold]  {callback.last_path}", highlight=False, soft_wrap=True)
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            score = float(callback.best_model_score)
            best = f"{callback.best_model_path} ({callback.monitor} {score:.4g})"
            console.print(f"[bold]Best[/bold]     {best}", highlight=False, soft_wrap=True)
        if isinstance(callback, Fidelity) and callback.last_card is not None:
            console.print(callback.last_card.table())
            console.print(f"[bold]Card[/bold]     {callback.last_path}", highlight=False, soft_wrap=True)
        if isinstance(callback, Watchdog) and callback.reports:
            console.print(callback.reports[-1].line, markup=False, highlight=False, soft_wrap=True)
    for logger in trainer.loggers:
        if isinstance(logger, WandbRunLogger):
            if logger.sync_command:
                console.print(f"[bold]W&B[/bold]      {logger.sync_command}", highlight=False, soft_wrap=True)
            elif logger.url:
                console.print(f"[bold]W&B[/bold]      {logger.url}", highlight=False, soft_wrap=True)


def first_process() -> bool:
    """Whether this process is the first of the run; known from the environment before any group is joined."""
    return getattr(rank_zero_only, "rank", 0) == 0
