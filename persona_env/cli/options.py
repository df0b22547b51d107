"""Command-line options made from records of settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from persona_env.settings import kinds, settings_of

__all__ = ["JudgeSpec", "with_settings"]

JudgeSpec = Annotated[
    str, typer.Option("--judge", help="The judge: oracle, match, hf:, openai:, recorded: or ensemble:.")
]


def with_settings(panels: Mapping[str, Sequence[type]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command an option for each setting of some records; a setting that several share is one option.

    The records stand under the headings of `--help`; the command takes what was given as the mapping `settings`.
    """
    settings = {name: s for records in panels.values() for record in records for name, s in settings_of(record).items()}
    options = {name: option for panel, records in panels.items() for name, option in _options(panel, records).items()}

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
