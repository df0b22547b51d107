"""Spec strings `kind:rest?option=value&option=value`, and the registries that turn them into objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from persona_env.errors import InputError, printable, shown, shown_spec

__all__ = ["SEPARATOR", "Registry", "Spec"]

SEPARATOR = "\x1f"
"""Stands between the values of an option that was given several times."""

_REPEATABLE = ("header", "query", "stop")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed spec string.

    >>> Spec.parse("hf:some/model?dtype=bfloat16&temperature=0.7")
    Spec(kind='hf', rest='some/model', options={'dtype': 'bfloat16', 'temperature': '0.7'})
    """

    kind: str
    rest: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Returns the parts of a spec; an option without a name or value, or twice, is an `InputError`.

        Only those of which a request has several, such as `header`, may come again.
        """
        head, mark, tail = text.partition("?")
        kind, _, rest = head.partition(":")
        if not mark:
            return cls(kind, rest)
        try:
            pairs = parse_qsl(tail.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
        except ValueError:
            pairs = []
        options = dict[str, str]()
        for name, value in pairs:
            before = [options[name]] if name in options and name in _REPEATABLE else []
            options[name] = SEPARATOR.join([*before, value])
        once = [name for name, _ in pairs if name not in _REPEATABLE]
        if not options or len(set(once)) < len(once) or not all(options):
            what = f"options such as ?temperature=0.7&max_tokens=64 in {shown_spec(text)!r}"
            raise InputError(f"Expected {what}, got {shown_spec(tail)[:40]!r}: give each a name and a value, once.")
        return cls(kind, rest, options)


class Registry(Generic[T]):
    """What can be named by one kind of spec: `noun`s, ours given as `module:attribute` by name, loaded when used.

    Entry points of the group `persona_env.<noun>s` come after ours and those registered by a call. One that cannot be
    imported is an error only where it is used; the others go on.

    >>> judges = Registry[Any]("judge", {"oracle": "persona_env.world.oracle:OracleJudge"})
    >>> judges.names()
    ['oracle']
    """

    def __init__(self, noun: str, builtins: Mapping[str, str]):
        self.noun, self.group = noun, f"persona_env.{noun}s"
        self._builtins = dict(builtins)
        self._registered: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Adds an entry under a name that is none of ours, and returns it; the same name again replaces it."""
        if name in self._builtins:
            raise InputError(f"Expected a new name of a {self.noun}, got {name!r}, which is built in: choose another.")
        if not name.replace("-", "_").isidentifier():
            raise InputError(f"Expected a name such as my_{self.noun}, got {shown(name)}: use letters, digits and _.")
        self._registered[name] = entry
        return entry

    def names(self) -> list[str]:
        """Returns all names: ours, registered ones, then those of entry points."""
        return list(dict.fromkeys([*self._builtins, *self._registered, *self._entry_points()]))

    @property
    def builtins(self) -> tuple[str, ...]:
        """The names of ours."""
        return tuple(self._builtins)

    def __contains__(self, name: object) -> bool:
        return name in self._builtins or name in self._registered or name in self._entry_points()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        """Returns the entry of a name; imports it if need be."""
        if name in self._builtins:
            module, _, attribute = self._builtins[name].partition(":")
            return attrgetter(attribute)(import_module(module))
        if name in self._registered:
            return self._registered[name]
        point = self._entry_points().get(name)
        if point is None:
            known = ", ".join(self.names())
            noun = f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"
            raise InputError(f"Expected {noun} among {known}, got {shown_spec(name)!r}: use one of these.")
        try:
            return point.load()
        except Exception as error:
            why = printable(f"{type(error).__name__}: {error}")[:160]
            what = f"the {self.noun} {name!r} of the plug-in {point.value!r} to be importable"
            raise InputError(f"Expected {what}, got {why}: mend or uninstall it.") from error

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def make(self, text: str, **more: Any) -> Any:
        """Returns what a spec names: its factory called with the rest of the spec and its options.

        A factory takes the rest as its only positional argument (none, if its specs have no rest) and options as
        keywords. Options in `more` that are None are left out; one given in the spec wins over the same one there.
        What the spec names or lacks wrongly is an `InputError`.
        """
        spec = Spec.parse(text)
        factory: Any = self[spec.kind]
        given = {name: value for name, value in more.items() if value is not None} | dict(spec.options)
        takes_rest, options, takes_all = _signature(factory)
        if bool(spec.rest) != takes_rest:
            form = f"{spec.kind}:<...>" if takes_rest else spec.kind
            raise InputError(f"Expected a {self.noun} {form}, got {shown_spec(text)!r}: correct it.")
        unknown = [name for name in given if name not in options and not takes_all]
        if unknown:
            known = f"options among {', '.join(options)}" if options else "no options"
            what = f"{known} for the {self.noun} {spec.kind!r}"
            raise InputError(f"Expected {what}, got {shown(unknown[0])}: remove or rename it.")
        return factory(spec.rest, **given) if takes_rest else factory(**given)


def _signature(factory: Callable[..., Any]) -> tuple[bool, list[str], bool]:
    """Returns whether a factory takes the rest of a spec, the names of its options, and whether it takes any."""
    parameters = inspect.signature(factory).parameters.values()
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = next(iter(parameters), None)
    takes_rest = first is not None and first.default is first.empty and first.kind in (first.POSITIONAL_ONLY, keyword)
    options = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, keyword) and not (takes_rest and p is first)]
    return takes_rest, options, any(p.kind is p.VAR_KEYWORD for p in parameters)
