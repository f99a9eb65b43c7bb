"""``fit``, ``validate``, ``test`` and ``predict``: Lightning's command line, each run in a folder of its own."""

import contextlib
import functools
import shutil
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from diffshare.audits.fairness import Fairness
from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.commands.configs import with_configs, with_files
from diffshare.errors import UserError, check_seed
from diffshare.generators.base import GenerativeModule
from diffshare.generators.prediction import SamplesWriter
from diffshare.settings import dump_yaml, parse_yaml, read_yaml
from diffshare.sharer.export import export
from diffshare.signals import exit_status
from diffshare.storage import as_path, atomic_file, write_json
from diffshare.terminal import say
from diffshare.training.checkpoint import (
    Interrupted,
    KeepCheckpoint,
    read_resumable,
)
from diffshare.training.imports import HELP, installed_only
from diffshare.training.quiet import quiet
from diffshare.training.resumed import refuse_changes, refuse_elsewhere
from diffshare.training.run import (
    LAST,
    check_new,
    check_own,
    check_resumable,
    finished,
    is_released,
    note_release,
    run_folder,
    training_in,
)
from diffshare.training.settings import check_counts, check_trained
from diffshare.training.trainer import build_trainer, run_log, training_callbacks
from diffshare.training.watch import Announcement

RESULTS = {"test": "results.json", "validate": "validation.json"}


def run(verb: str, arguments: list[str]) -> int:
    """Parse, build and run one of Lightning's verbs; see :func:`diffshare.cli.main` for the exit status."""
    with quiet():
        return _run(verb, arguments)


def _run(verb: str, arguments: list[str]) -> int:
    with contextlib.ExitStack() as held:
        with _imports(arguments):
            cli = DiffshareCLI(verb, arguments, held)
        return _go(verb, cli)


def _go(verb: str, cli: "DiffshareCLI") -> int:
    try:
        cli.go()
    except UserError:
        if (
            verb == "fit"
            and cli.trainer.is_global_zero
            and cli.new
            and not (cli.run_dir / LAST).exists()
        ):
            # refused before the first step: nothing worth keeping
            shutil.rmtree(cli.run_dir, ignore_errors=True)
        raise
    except Interrupted as stopped:
        if cli.trainer.is_global_zero:
            again = f"diffshare fit --run-dir {cli.run_dir} --resume"
            say("", f"stopped; the state is in {cli.run_dir / LAST}", f"to go on: {again}")
        return exit_status(stopped.signum)
    return 0


class DiffshareCLI(LightningCLI):
    """LightningCLI in subclass mode with one verb, a run folder, and the callbacks that every run has."""

    def __init__(self, verb: str, arguments: list[str], held: contextlib.ExitStack) -> None:
        self.verb, self.arguments, self.held = verb, arguments, held
        self.run_dir = Path()
        self.resumed = self.new = False
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=self._with_run_config(arguments),
            run=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    # --- parsing -------------------------------------------------------------------------------------------------

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """This verb alone: parsers of the others would only cost start-up time."""
        return {self.verb: super().subcommands()[self.verb]}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that raises instead of printing its usage."""
        return super().init_parser(exit_on_error=False, allow_abbrev=False, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments of every run."""
        parser.add_argument(
            "--run-dir",
            type=Path | None,
            default=None,
            help="Folder of the run; a new one below lightning_logs/.",
        )
        parser.add_argument("--trust-code", action="store_true", help=HELP)
        if self.verb == "fit":
            parser.add_argument(
                "--resume", action="store_true", help="Go on with the run in --run-dir."
            )
        # used by fit alone, but every verb reads the config of a fit
        parser.add_lightning_class_args(KeepCheckpoint, "checkpoint")
        parser.add_function_arguments(export, "release", skip={"module", "folder", "overwrite"})

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed: Lightning would take 0 for true."""
        told = "Seed of the training: a number from 0 to 4294967295."
        parser.add_argument(
            "--seed_everything", type=bool | int, default=self.seed_everything_default, help=told
        )

    def _set_seed(self) -> None:
        check_seed("seed_everything", self._get(self.config, "seed_everything"))
        super()._set_seed()

    def _with_run_config(self, arguments: list[str]) -> list[str]:
        """The arguments with the verb, and with the run's own config where a run is named and no config."""
        folder, own = _value(arguments, "--run-dir"), _own_config(arguments)
        if own is not None:
            arguments = ["--config", str(own), *arguments]
        elif (
            folder
            and not _names_config(arguments)
            and (self.verb != "fit" or "--resume" in arguments)
        ):
            raise UserError(
                f"{folder} is not the folder of a run, it has no config.yaml: name one that fit has made"
            )
        return [self.verb, *with_files(with_configs(arguments), "--data.test_source")]

    def _parse_ckpt_path(self) -> None:
        """A checkpoint never changes what the command line says."""

    def before_instantiate_classes(self) -> None:
        """Find the run's folder, refuse what cannot work, and take the folder out of what is recorded."""
        config = self.config[self.verb]
        given, resume = config.pop("run_dir"), config.pop("resume", False)
        config.pop("trust_code", None)
        if resume and given is None:
            raise UserError("--resume needs --run-dir: name the folder of the run to go on with")
        self.run_dir = run_folder(given, self._name())
        self.resumed = bool(resume)
        check_counts(config.trainer, self.verb)
        if self.verb == "fit":
            if config.trainer.max_steps == 0 or config.trainer.max_epochs == 0:
                raise UserError(
                    "no steps to train: set --trainer.max_steps or --trainer.max_epochs to at least 1"
                )
            self._hold(config)
        elif config.get("ckpt_path") is None:
            if given is None:
                raise UserError(
                    f"{self.verb} needs a trained model: name its run with --run-dir or --ckpt_path FILE"
                )
            config.ckpt_path = str(check_resumable(self.run_dir))
        elif self.verb in RESULTS:
            check_own(self.run_dir, [RESULTS[self.verb]])
        if given is not None:
            refuse_elsewhere(self.run_dir, self.resolved)
        if config.get("ckpt_path") is not None and not Path(config.ckpt_path).is_file():
            raise UserError(
                f"there is no checkpoint {config.ckpt_path}: give the path of a last.ckpt"
            )

    def _hold(self, config: Namespace) -> None:
        """Hold the run's folder and refuse what cannot be begun, or gone on with, in it."""
        if self.resumed:
            check_resumable(self.run_dir)
        self.new = not self.run_dir.exists()
        began = self.held.enter_context(training_in(self.run_dir))
        if self.resumed:
            config.ckpt_path = str(check_resumable(self.run_dir))
            refuse_changes(self.run_dir, self.resolved)
            return
        check_new(self.run_dir)
        if not began:
            check_own(self.run_dir, ["config.yaml", "run.json"])

    def _name(self) -> str:
        """Name of the first config file, for the run's folder."""
        given = _value(self.arguments, "--config") or _value(self.arguments, "-c")
        return Path(given).stem if given else self.verb

    @functools.cached_property
    def resolved(self) -> dict[str, Any]:
        """The whole configuration as plain values, without the run's folder."""
        parser = self._parser(self.verb)
        config = self.config[self.verb].clone()
        config.pop("ckpt_path", None)
        text = parser.dump(config, skip_link_targets=False, skip_none=False, skip_validation=True)
        return parse_yaml(text, "the configuration", aliases=True)

    # --- building ------------------------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; the model keeps the configuration that it was built from."""
        super().instantiate_classes()
        if isinstance(self.model, GenerativeModule):
            self.model.config = self.resolved["model"]
            self.model.sampling_seed = self.seed
        elif self.verb == "predict":
            raise UserError(
                f"{type(self.model).__name__} makes no samples: predict is for generators; use test"
            )

    @property
    def seed(self) -> int:
        """``seed_everything`` of the run."""
        return int(self.config[self.verb]["seed_everything"])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with the project's precision rule, safe checkpoints, the run's log and callbacks."""
        options: dict[str, Any] = self._get(self.config_init, "trainer").clone().as_dict()
        if options["precision"] is None and self.verb == "predict":
            options["precision"] = "32-true"  # as a receiver of the release draws samples
        if options["logger"] in (None, True):
            logged = isinstance(self.model, AttributeClassifier) and self.verb == "test"
            log = logged or self.verb == "fit"
            options["logger"] = run_log(self.run_dir, resumed=self.resumed) if log else False
        return build_trainer(options, self._callbacks(options))

    def _callbacks(self, options: dict[str, Any]) -> list[Callback]:
        """What the verb adds to the user's callbacks; the order is part of the meaning."""
        if self.verb == "predict":
            return [Announcement(), SamplesWriter(self.run_dir / "samples")]
        measured = any(isinstance(c, Fairness) for c in options["callbacks"] or [])
        classifies = isinstance(self.model, AttributeClassifier)
        fairness = [Fairness()] if classifies and not measured else []
        if self.verb != "fit":
            return [Announcement(), *fairness]
        keeper: KeepCheckpoint = self._get(self.config_init, "checkpoint")
        logged = options["logger"] is not False
        training = training_callbacks(
            self.run_dir, keeper, seed=self.seed, resumed=self.resumed, logged=logged
        )
        return [Announcement(), *fairness, *training]

    # --- running -------------------------------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        """Wait for :meth:`go`: an object that is whole can say where its run lies when it is stopped."""

    def go(self) -> None:
        """Run the verb and write what it leaves."""
        if self.resumed and self._is_finished():
            return
        if self.verb == "fit" and not self.resumed and self.trainer.is_global_zero:
            with atomic_file(self.run_dir / "config.yaml") as temporary:
                temporary.write_text(dump_yaml(self.resolved), encoding="utf-8")
        arguments = self._prepare_subcommand_kwargs(self.verb)
        result = getattr(self.trainer, self.verb)(**arguments)
        if not self.trainer.is_global_zero:
            return
        if self.verb == "fit":
            self._finish_fit()
        elif self.verb == "predict":
            say(f"samples: {self.run_dir / 'samples'}")
        elif not result:
            raise UserError(
                f"there are no records to {self.verb} on: set --data.validation_share above 0"
            )
        else:
            callbacks: Any = self.trainer.callbacks  # type: ignore[attr-defined]
            measured = next((c.results for c in callbacks if isinstance(c, Fairness)), None)
            path = self.run_dir / RESULTS[self.verb]
            notes = [*getattr(self.datamodule, "notes", ()), *getattr(self.model, "notes", ())]
            write_json(path, {**(measured or result[0]), **({"notes": notes} if notes else {})})
            say(f"results: {path}")

    def _is_finished(self) -> bool:
        """Whether there is nothing left to do in a run that is resumed; says so."""
        step = finished(
            read_resumable(self.run_dir / LAST), self.trainer.max_steps, self.trainer.max_epochs
        )
        if step is None or (
            isinstance(self.model, GenerativeModule) and not is_released(self.run_dir, step)
        ):
            return False
        if self.trainer.is_global_zero:
            say(f"{self.run_dir} is finished (step {step}): nothing is left to do")
        return True

    def _finish_fit(self) -> None:
        check_trained(self.trainer)
        say(f"run:     {self.run_dir}")
        if isinstance(self.model, AttributeClassifier):
            say(f"test:    diffshare test --run-dir {self.run_dir}")
        if isinstance(self.model, GenerativeModule) and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            folder = self.run_dir / "release"
            export(
                self.model,
                folder,
                overwrite=True,
                **self._get(self.config_init, "release").as_dict(),
            )
            note_release(self.run_dir, self.trainer.global_step)
            say(f"release: {folder}")
            say(f"sample:  diffshare sample --model {folder} --count 64 --out samples")


def _names_config(arguments: list[str]) -> bool:
    return any(a.split("=")[0] in ("--config", "-c") for a in arguments)


def _own_config(arguments: list[str]) -> Path | None:
    """The config that lies in the run's folder, where it is the one that is used."""
    folder = _value(arguments, "--run-dir")
    if not folder or _names_config(arguments):
        return None
    own = as_path(folder) / "config.yaml"
    return own if own.is_file() else None


def _imports(arguments: list[str]) -> contextlib.AbstractContextManager[None]:
    """What may be imported: a config that comes with the run's folder may be of somebody else."""
    own = _own_config(arguments)
    if own is None or "--trust-code" in arguments:
        return contextlib.nullcontext()
    return installed_only(read_yaml(own, aliases=True), str(own))


def _value(arguments: list[str], name: str) -> str | None:
    """The value of the first ``name VALUE`` or ``name=VALUE``, before anything is parsed."""
    for i, argument in enumerate(arguments):
        if argument == name and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None
