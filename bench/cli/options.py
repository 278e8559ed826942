"""The options of `run`, `plan` and `verify`: one table, from which the commands take their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

COUNTS = ("images", "seeds")
"""What is counted from 1; 0 must not be taken for an option that was not given."""


def _counted(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise typer.BadParameter(f"{value} was given; give a whole number, at least 1")
    return value


@dataclass(frozen=True)
class Option:
    """One option: its key in the configuration, type, help, and how its value is called."""

    key: str
    kind: Any
    help: str
    metavar: str | None = None

    def parameter(self) -> inspect.Parameter:
        """The option as a parameter of a command; None (or an empty list) means that it was not given."""
        flag = "--" + self.key.replace("_", "-")
        if self.kind is bool:
            hint: Any = Annotated[bool, typer.Option(flag, help=self.help)]
            return inspect.Parameter(self.key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hint)
        check = _counted if self.key in COUNTS else None
        option = typer.Option(flag, help=self.help, metavar=self.metavar, show_default=False, callback=check)
        return inspect.Parameter(
            self.key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.kind | None, option],
        )


OPTIONS = (
    Option("suite", list[str], "Suite to run; repeatable: randomization, class-discrimination, pixel-perturbation, "
           "patch-perturbation, generative, smoke, paper-... (see bench list suites), or all.", "NAME"),
    Option("model", list[str], "Model to test; repeatable: a zoo name, torchvision:NAME, file.py:function or "
           "package.module:function. Default: those of the suite.", "MODEL"),
    Option("data", str, "Images to explain: a data set name, a folder of class sub-folders, or an .npz. Default: the "
           "model's own.", "DATA"),
    Option("explainers", str, "Comma list of names, globs (lrp-*), parameters (integrated-gradients[steps=200]), "
           "combinators (smoothgrad(saliency)). Default: the suite's own list.", "LIST"),
    Option("images", int, "Number of images. Default: as the profile says.", "N"),
    Option("seeds", int, "Number of randomised models per stage. Default: as the profile says.", "N"),
    Option("protocol", str, "recommended (default), nuzzo2020, adebayo2018 or sixt2020.", "NAME"),
    Option("profile", str, "quick (default), standard or full: how many images and seeds; see bench list suites.", "NAME"),
    Option("device", str, "auto (default), cpu, cuda, or a list such as cuda:0,cuda:1.", "DEVICE"),
    Option("precision", str, "float32 (default), bfloat16 or float64.", "TYPE"),
    Option("batch_size", int, "Images per pass; results do not depend on it. Default: chosen per explainer.", "N"),
    Option("memory", str, "What explanations may use, all workers of a device together; results do not depend on it. Default: "
           "half of what is free.", "SIZE"),
    Option("keep_maps", str, "Keep the maps that verdicts on randomisation rest on, at most so much of them, such as 200MB: "
           "bench report then says how often other choices give the same verdict. Default: keep none.", "SIZE"),
    Option("jobs", int, "Worker processes; results do not depend on it. Default: one per core, or one per GPU.", "N"),
    Option("slots", int, "Worker processes per GPU. Default: 1.", "N"),
    Option("timeout", float, "Seconds that an explainer may take for one cell; then the cell is a recorded failure. Default: no "
           "limit.", "SECONDS"),
    Option("backend", str, "loky (processes, default), threading, dask or ray.", "NAME"),
    Option("scheduler", str, "Address of a running dask or ray cluster. Default: a cluster of --jobs workers is started here.",
           "ADDRESS"),
    Option("part", str, "Run part I of N only, for several machines.", "I/N"),
    Option("out", str, "Run folder. Default: a folder below runs/ named after the configuration, so that the same "
           "command goes on where it stopped.", "RUN"),
    Option("plugin", list[str], "File or module with explainers of your own; repeatable.", "FILE|MODULE"),
    Option("features", str, "Where the features of Frechet and kernel distances come from: oracle (default), inception "
           "(torch-fidelity's, where you have its weights) or FILE.py:function.", "NAME"),
    Option("seed", int, "Base seed of every random draw. Default: 0.", "BASE"),
    Option("fail_fast", bool, "Stop at the first failed cell."),
    Option("quiet", bool, "No progress, no notes."),
    Option("verbose", bool, "Print tracebacks."),
)  # fmt: skip

CONFIG = Option("config", str, "TOML file with the same keys; the command line wins.", "FILE")


def with_options(
    *extra: Option, only: tuple[str, ...] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that gives a function of keyword arguments the options of the table as its signature.

    Args:
        extra: further options.
        only: take these of the table; default: all.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        chosen = [option for option in OPTIONS if only is None or option.key in only]
        parameters = [option.parameter() for option in (*chosen, *extra)]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return function

    return decorate
