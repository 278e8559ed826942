"""`bench inspect`, `bench explain`, `bench train`: questions about one model."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from .guard import guarded, say, writing

Model = Annotated[
    str,
    typer.Option("--model", help="Zoo name, torchvision:NAME, file.py:function or package.module:function."),
]
Data = Annotated[str | None, typer.Option("--data", help="Data set name, folder or .npz. Default: the model's own.")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", help="File or module with explainers of your own.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print tracebacks.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("explain")(explain)
    app.command("inspect")(inspect)
    app.command("train")(train)


def explain(
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE", help="Index or id of an image of the data, several with commas, or an image file."
        ),
    ] = None,
    explainer: Annotated[list[str] | None, typer.Option("--explainer", help="Explainer; repeatable.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.png", help="Where the picture goes; FILE.gif: the morphs, animated."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Explain this sentence in place of an image. Model: text:reviews.")
    ] = None,
    model: Model = "fmnist-vgg",
    data: Data = None,
    target: Annotated[
        int | None, typer.Option("--target", help="Class to explain. Default: the model's prediction.")
    ] = None,
    against: Annotated[
        int | None,
        typer.Option("--against", help="Second class: draw the maps of one image for both, and their difference."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of stochastic explainers.")] = 0,
    plugin: Plugins = None,
    verbose: Verbose = False,
) -> None:
    """Draw one picture: images, the heat map of each explainer, and for one image the counterfactuals and morphs.

    With --against, the maps of one image for two classes. With --text, print what explainers say of a sentence.
    """
    with guarded(verbose):
        import explainers
        from bench import subjects
        from models.naming import UsageError

        _load(plugin)
        if text is not None:
            from explainers.contrastive.text.telling import tell

            if image is not None or out is not None or data is not None or against is not None:
                raise UsageError("--text prints what it finds; give it without IMAGE, --out, --data and --against")
            chosen = explainers.select(explainer or ["word-contrast", "word-gradient"])
            name = "text:reviews" if model == "fmnist-vgg" else model
            print(tell(subjects.subject_of(name, None, "cpu", "float32"), text, chosen, target=target, seed=seed))
            return
        if image is None or not explainer or out is None:
            raise UsageError("give IMAGE with --explainer and --out FILE.png, or --text with a sentence")
        from explainers import pictures

        chosen = explainers.select(explainer)
        if against is not None:
            from bench import two_classes

            subject = subjects.subject_of(model, data, "cpu", "float32")
            with writing(out):
                print(two_classes.draw(subject, image, chosen, out, against=against, target=target, seed=seed))
            return
        subject = subjects.explained(model, data)
        with writing(out):
            print(pictures.draw(subject, image, chosen, out, target=target, seed=seed))


def inspect(
    model: Model = "fmnist-vgg",
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    plugin: Plugins = None,
    verbose: Verbose = False,
) -> None:
    """Look at a model before a run: layers in execution order, stages, activations, which explainers are valid on it."""
    with guarded(verbose):
        from bench import subjects
        from explainers import preflight

        _load(plugin)
        with redirect_stdout(sys.stderr):  # what a model prints is no part of the answer
            found = preflight.inspect(subjects.subject_of(model, data, "cpu", "float32"))
        if as_json:
            print(json.dumps(found.json(), indent=1))
        else:
            print(found.text())


def _load(given: list[str] | None) -> None:
    """The plug-ins; a broken one is a warning."""
    from bench import plugins

    for found in plugins.load(given or []):
        if found.error:
            say(found.notice)


def train(
    name: Annotated[str, typer.Argument(help="Member of the zoo, or an explainer that is fitted beforehand.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the weights. Default: weights.")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="M", help="What an explainer is fitted to.")] = "",
    refits: Annotated[
        bool, typer.Option("--refits", help="Also make the fits that the check refit compares an explainer with.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Train a member of the zoo again and compare it with the shipped one, or fit an explainer to a model."""
    with guarded(verbose):
        if name.startswith("text:"):
            from models.text.recipes import train as train_text

            found = train_text(name, out)
        else:
            from bench import fitting
            from models.zoo import recipes

            fits = fitting.amortised(name)
            found = fitting.fit(name, model, out, refits=refits) if fits else recipes.train(name, out)
        for key, value in found.items():
            print(f"{key}: {value}")
