"""Command-line options made from records of settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from os.path import expanduser, isfile
from typing import Annotated, Any

import typer

from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.io.persona_file import names_splits
from persona_env.settings import kinds, settings_of

__all__ = ["MaxTokens", "suite_of", "taken", "with_settings"]

MaxTokens = Annotated[int | None, typer.Option(help="Bound on a line's tokens; else the simulator's own.")]


def taken(record: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of the settings that belong to a record."""
    return {name: value for name, value in settings.items() if name in settings_of(record)}


def suite_of(settings: Mapping[str, Any], max_tokens: int | None) -> EvalSuite:
    """Returns the suite of some settings; of a file that names no splits all personas are measured.

    Nothing is trained on them here, so that all are unseen.
    """
    personas = expanduser(settings.get("personas", "bundled"))
    split = {"split": "all"} if isfile(personas) and not names_splits(personas) else {}
    return EvalSuite(**{**split, **taken(EvalSuite, settings)}, max_tokens=max_tokens)


def with_settings(
    panels: Mapping[str, Sequence[type]], without: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command an option for each setting of some records; a setting that several share is one option.

    The records stand under the headings of `--help`; the command takes what was given as the mapping `settings`.
    `without` names settings that the command has no use for, or has an option of its own for.
    """
    settings = {name: s for records in panels.values() for record in records for name, s in settings_of(record).items()}
    options = {name: option for panel, records in panels.items() for name, option in _options(panel, records).items()}
    options = {name: option for name, option in options.items() if name not in without}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True).parameters

        @functools.wraps(command)
        def run(**given: Any) -> Any:
            values = {name: value for name in options if (value := given.pop(name, None)) is not None}
            parsed = {name: parse(value) for name, value in values.items() if (parse := settings[name].parse)}
            return command(settings=values | parsed, **given)

        rest = [parameter.replace(kind=parameter.KEYWORD_ONLY) for name, parameter in own.items() if name != "settings"]
        vars(run)["__signature__"] = inspect.Signature([*options.values(), *rest])
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*options.values(), *rest)}
        return run

    return decorate


def _options(panel: str, records: Sequence[type]) -> Mapping[str, inspect.Parameter]:
    """Returns a keyword parameter, as typer reads it, for each setting."""
    found: dict[str, inspect.Parameter] = {}
    for record in records:
        defaults = {item.name: item.default for item in fields(record)}
        for name, setting in settings_of(record).items():
            value = defaults[name]
            shown = ",".join(value) if isinstance(value, tuple) else value
            default = "" if shown in (MISSING, "", False) else f" (default: {shown})"
            option = typer.Option(help=setting.help + default, rich_help_panel=panel)
            annotation = Annotated[(str if setting.parse else kinds(record)[name]) | None, option]
            found[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    return found
