"""``fit``, ``validate`` and ``test``: LightningCLI with this package's run folders, callbacks and loggers."""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback

import lightning_gen.models  # noqa: F401 (the parser knows the names of classes that are imported)
from lightning_gen.cache import cache_dir, check_writable
from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.figures import TrainingFigures
from lightning_gen.callbacks.grids import ReconstructionGrid, SampleGrid
from lightning_gen.callbacks.header import RunHeader
from lightning_gen.callbacks.interpolation import InterpolationStrip
from lightning_gen.callbacks.interruption import Interruption
from lightning_gen.callbacks.nearest import NearestTable
from lightning_gen.callbacks.progress import ProgressBar
from lightning_gen.callbacks.run_length import time_limit_left
from lightning_gen.callbacks.translations import TranslationGrid
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.cli.boundary import option_errors
from lightning_gen.cli.catalogue import MODEL
from lightning_gen.cli.checkpoint_io import with_checkpoint_io
from lightning_gen.cli.checks import check_has_inputs, check_inputs, check_likelihood, check_processes
from lightning_gen.cli.commands import COMMANDS, PROGRAM
from lightning_gen.cli.devices import declare_missing_gpus
from lightning_gen.cli.library_messages import ReleaseWarnings
from lightning_gen.cli.limits import check_training_options
from lightning_gen.cli.names import model_of
from lightning_gen.cli.parsing import model_error
from lightning_gen.cli.perceptual import set_classifier
from lightning_gen.cli.resuming import check_resumable, restoring
from lightning_gen.cli.run_summary import print_run_summary
from lightning_gen.cli.runs import (
    create_run_folder,
    latest_run_folder,
    new_run_folder,
    remove_if_empty,
    run_folder_of,
)
from lightning_gen.cli.stopping import report, requeue_slurm_job
from lightning_gen.cli.strategies import check_strategy
from lightning_gen.cli.tracking import LOGGERS_HELP, description, run_loggers
from lightning_gen.cli.unknown_options import names_of, unknown_option
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import skip_unused_hooks
from lightning_gen.loggers import WandbRunLogger
from lightning_gen.loggers.choice import LoggerName, check_loggers
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import check_fit, find_checkpoint, read_checkpoint

RUN_FOLDER_VARIABLE = "LIGHTNING_GEN_RUN"
"""The environment variable that passes the run's folder to the processes that the first one starts."""
CALLBACKS = {
    "figures": TrainingFigures,  # before the pictures and scores, whose time it does not count as training
    "samples": SampleGrid,
    "reconstructions": ReconstructionGrid,
    "translations": TranslationGrid,
    "interpolation": InterpolationStrip,
    "fidelity": Fidelity,
    "nearest": NearestTable,
    "watchdog": Watchdog,
    "best": BestCheckpoint,  # before the last, which stores the best score
    "last": LastCheckpoint,
    "interruption": Interruption,
}
"""The callbacks of every run, each under the name of its options."""
CKPT_PATH_HELP = (
    "A checkpoint or a run's folder. fit resumes the run in its folder, from its last checkpoint, otherwise its best; "
    "validate and test load the best, otherwise the last. `last` is the newest run of this name."
)

CONFIG_HELP = (
    "CONFIG is the name of a configuration of the package (lightning-gen list configs) or a YAML file; of several, "
    "later ones take precedence. A model's options: lightning-gen fit --model.help NAME (lightning-gen list models). "
    "Every setting and its value: lightning-gen fit CONFIG --print_config."
)
HELP = {name: f"{COMMANDS[name].summary.capitalize()}. {CONFIG_HELP}" for name in ("fit", "validate", "test")}
"""The description of each command."""
USAGE = "%(prog)s CONFIG ... [--OPTION VALUE] ..."
COMPILE_HELP = "fit: compile the networks of training steps by torch.compile, with CUDA graphs on a GPU."


class SaveConfig(SaveConfigCallback):
    """Writes the configuration to the run's folder, under a new name if the run is resumed."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose a file name that is free, and write the file."""
        folder, number = Path(trainer.default_root_dir), 1
        while (folder / self.config_filename).exists():
            number += 1
            self.config_filename = f"config_{number}.yaml"
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the configuration, with the model's class and size; the model logs its own hyper-parameters."""
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        for logger in trainer.loggers:
            logger.log_hyperparams(description(pl_module, config))


class TrainingCLI(LightningCLI):
    """LightningCLI over :class:`GenerativeModule` and :class:`ImageData`."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, each with the arguments of the Trainer's method that are not options."""
        skip = {"model", "datamodule", "train_dataloaders", "val_dataloaders", "dataloaders", "weights_only"}
        return dict.fromkeys(("fit", "validate", "test"), skip | {"ckpt_path"})

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Build a parser that raises its errors, and takes no abbreviated options."""
        return super().init_parser(**{**kwargs, "exit_on_error": False, "allow_abbrev": False})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run, the callbacks and the W&B logger, and link the data's properties to the model."""
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the experiment. Default: the last --config's stem."
        )
        parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs: <runs>/<name>/<time>.")
        parser.add_argument("--ckpt_path", type=str | None, default=None, help=CKPT_PATH_HELP)
        parser.add_argument("--compile", type=bool, default=False, help=COMPILE_HELP)
        parser.add_argument("--loggers", type=LoggerName, nargs="+", default=["csv", "wandb"], help=LOGGERS_HELP)
        for key, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, key)
        parser.add_class_arguments(WandbRunLogger, "wandb", skip={"run_folder", "name"}, instantiate=False)
        for name in ("image_shape", "num_classes", "input_shape"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        self.command_parser = parser  # those of all commands have the same options

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the options.

        Args:
            parser: the parser of all commands.
            args: the command line; None: that of the process.

        Raises:
            InputError: if the model's name is not the name of a model, or there is no option of a name.
        """
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            message = model_error(str(error)) or self.unknown_option(str(error), args)
            if message is None:
                raise
            raise InputError(message) from error
        check_training_options(self.config[self.config.subcommand].as_dict())

    def unknown_option(self, message: str, args: ArgsType) -> str | None:
        """Explain an error about an option that does not exist.

        Args:
            message: the parser's message.
            args: the command line; None: that of the process.

        Returns:
            One line, or None for an error about anything else.
        """
        command, *options = sys.argv[1:] if args is None else [*args]
        return unknown_option(message, command, names_of(self.command_parser), model_of(options))

    def before_instantiate_classes(self) -> None:
        """Choose and create the run's folder, and find the checkpoint, before anything else is created."""
        config = self.config[self.subcommand]
        check_strategy(config.trainer.strategy)
        check_has_inputs(config.model.class_path, config.data.inputs, config.data.name)
        if config.trainer.default_root_dir is not None:
            raise InputError("trainer.default_root_dir is the run's folder; choose it with --runs and --name")
        check_loggers(config.loggers)
        config_files = [str(path) for path in config.get("config") or []]
        self.experiment = config.name or (Path(config_files[-1]).stem if config_files else "run")
        runs = Path(config.runs)
        if config.fidelity.features is not None:
            check_writable(cache_dir())
        if config.ckpt_path == "last":
            self.run_folder = latest_run_folder(runs, self.experiment)
            config.ckpt_path = str(self.run_folder / "checkpoints" / "last.ckpt")
        elif config.ckpt_path is not None:
            resumes = self.subcommand == "fit"
            checkpoint = find_checkpoint(Path(config.ckpt_path), ("last", "best") if resumes else ("best", "last"))
            config.ckpt_path = str(checkpoint)
            self.run_folder = run_folder_of(checkpoint) if resumes else new_run_folder(runs, self.experiment)
        else:
            self.run_folder = new_run_folder(runs, self.experiment)
        if is_first_process():
            os.environ[RUN_FOLDER_VARIABLE] = str(self.run_folder)
        # only processes that this one starts inherit the variable; those of torchrun or srun do not write to the folder
        self.run_folder = Path(os.environ.get(RUN_FOLDER_VARIABLE, self.run_folder))
        # a saved configuration trains in a folder of its own, under the name of its run
        config.name = self.experiment
        if config.trainer.enable_progress_bar is False:
            self.trainer_defaults["callbacks"] = [ReleaseWarnings(), RunHeader()]
        if not config.trainer.fast_dev_run and is_first_process():
            create_run_folder(self.run_folder)

    def instantiate_classes(self) -> None:
        """Create model, data and trainer; if one cannot be created, no empty folder of a run stays."""
        try:
            super().instantiate_classes()
        except BaseException:
            remove_if_empty(self.run_folder)
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer, with the loggers of ``--loggers`` and those of the trainer's configuration."""
        config = self.config_init[self.subcommand]
        kwargs["default_root_dir"] = str(self.run_folder)
        kwargs["plugins"] = with_checkpoint_io(config.trainer.plugins)
        tags = [type(self.model).__name__, self.config[self.subcommand].data.name]
        kwargs["logger"] = run_loggers(config, self.run_folder, self.experiment, tags)
        declare_missing_gpus()
        with option_errors("trainer"):
            trainer: Any = super().instantiate_trainer(**kwargs)
        check_processes(trainer)
        trainer.callbacks.sort(key=lambda callback: not isinstance(callback, ProgressBar))  # it times the others
        skip_unused_hooks(trainer.callbacks)
        return trainer

    def after_fit(self) -> None:
        """Print the summary of the run."""
        if not self.config[self.subcommand].trainer.fast_dev_run:
            print_run_summary(self.trainer, self.run_folder)
            left = time_limit_left(self.trainer)
            if left is not None and left <= 0 and is_first_process():
                report("trainer.max_time", self.trainer, self.run_folder, self.config_filename)

    @property
    def config_filename(self) -> str:
        """The name of the configuration file that this process wrote to the run's folder."""
        trainer: Any = self.trainer
        saved = [callback for callback in trainer.callbacks if isinstance(callback, SaveConfig)]
        return saved[0].config_filename if saved else "config.yaml"

    # The methods below override private methods of LightningCLI (pytorch_lightning 2.6, cli.py), which has no public
    # hook in these places. Each comment names the reason; tests/test_cli.py fails if one is no longer called.

    # LightningCLI reads the hyper-parameters of `ckpt_path` and overwrites the configuration with them. Here the
    # configuration stays, and a checkpoint that does not fit it is an error (`check_fit` below).
    def _parse_ckpt_path(self) -> None:
        pass

    # The only place between `instantiate_classes` and the Trainer's method that all three commands share, and the only
    # one that can add arguments of that method: `weights_only=True` loads a checkpoint without running code from it.
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if not hasattr(self.model, "network"):
            raise InputError(f"{type(self.model).__name__} has no network: use a model; {MODEL.advice}")
        check_likelihood(self.model, self.datamodule)
        check_inputs(self.model, self.datamodule)
        ckpt_path = self.config[subcommand].ckpt_path
        if ckpt_path:
            checkpoint = read_checkpoint(Path(ckpt_path))
            check_fit(Path(ckpt_path), checkpoint, self.model)
            if subcommand == "fit":
                check_resumable(Path(ckpt_path), checkpoint, self.trainer)
        if subcommand == "fit":
            set_classifier(self.model, self.datamodule)
            self.model.compile_training = self.config[subcommand].compile
        if subcommand in ("validate", "test") and type(self.model).validation_step is LightningModule.validation_step:
            raise InputError(f"{type(self.model).__name__} has no validation loss; use lightning-gen evaluate")
        return kwargs | {"ckpt_path": ckpt_path, "weights_only": True}

    # `after_fit` is not called after an error, and the W&B run has to be closed in any case.
    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with restoring(self.config[subcommand].ckpt_path):
                super()._run_subcommand(subcommand)
        except SystemExit as error:
            self._exit(error)
        finally:
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbRunLogger):
                    logger.close()
            remove_if_empty(self.run_folder)

    def _exit(self, error: SystemExit) -> None:
        """Exit as shells report a process that a signal ended; a process that the launcher started exits with 0."""
        trainer: Any = self.trainer
        stops = [callback.signal for callback in trainer.callbacks if isinstance(callback, Interruption)]
        number = stops[0] if stops else None
        if number is None and isinstance(error.__context__, KeyboardInterrupt):
            number = signal.SIGINT
        if number is None:
            raise error
        if not is_first_process():
            raise SystemExit(0)
        if not isinstance(error.__context__, KeyboardInterrupt):
            print_run_summary(trainer, self.run_folder)
        report(number.name, trainer, self.run_folder, self.config_filename)
        requeue_slurm_job(number)
        raise SystemExit(128 + number)


def train(command: str, options: Sequence[str]) -> None:
    """Run fit, validate or test.

    Args:
        command: the command.
        options: its options.

    Raises:
        InputError: if an option is invalid.
    """
    args = [command, *options]
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
            "callbacks": [ReleaseWarnings(), RunHeader(), ProgressBar()],
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "use_distributed_sampler": False,
        },
        parser_kwargs={"prog": PROGRAM} | {name: {"usage": USAGE, "description": text} for name, text in HELP.items()},
        args=None if args == sys.argv[1:] else args,
    )


fit, validate, test = (partial(train, command) for command in TrainingCLI.subcommands())


def is_first_process() -> bool:
    """Whether this is the run's first process. It is read from the environment: there is no process group yet."""
    return getattr(rank_zero_only, "rank", 0) == 0
