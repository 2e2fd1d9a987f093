"""Names to classes, once: `register` beside the class, `get` by name with near names, modules imported on first use."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from captioners.core.errors import NotFoundError, near

T = TypeVar("T")


class Registry(Generic[T]):
    """One kind of thing that a recipe or a command names.

    `noun` is what messages call it. With `package` (and optionally `suffix`), the package's public modules whose names
    end so are imported on the first look-up, so that adding one thing is adding one file. Such modules import torch
    only inside functions.

    >>> toys: Registry[type] = Registry("toy")
    >>> toys.register("ball")(int)
    <class 'int'>
    >>> toys.get("bal")
    Traceback (most recent call last):
    captioners.core.errors.NotFoundError: no toy is named 'bal'. Did you mean 'ball'? Known: ball
    """

    def __init__(self, noun: str, package: str | None = None, suffix: str = "") -> None:
        self.noun = noun
        self._package = package
        self._suffix = suffix
        self._things: dict[str, T] = {}
        self._discovered = package is None

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files a thing under `name`; a second thing of that name is a programming error."""

        def add(thing: T) -> T:
            # Reloading a module files the same class again; only a different one is a clash.
            old = self._things.get(name)
            if old is not None and _where(old) != _where(thing):
                raise ValueError(f"two {self.noun}s are named {name!r}: {_where(old)} and {_where(thing)}; rename one")
            self._things[name] = thing
            return thing

        return add

    def get(self, name: str) -> T:
        """Return the thing of that name; raise `NotFoundError` naming the nearest and all that exist."""
        self._discover()
        try:
            return self._things[name]
        except KeyError:
            known = ", ".join(self.names()) or "none yet"
            raise NotFoundError(f"no {self.noun} is named {name!r}.{near(name, self._things)} Known: {known}") from None

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        self._discover()
        return sorted(self._things)

    def _discover(self) -> None:
        if self._discovered or self._package is None:
            return
        for module in iter_modules(import_module(self._package).__path__):
            if not module.name.startswith("_") and module.name.endswith(self._suffix):
                import_module(f"{self._package}.{module.name}")
        # Only now: a module that fails to import must fail again on the next look-up, not leave a silent gap.
        self._discovered = True


def _where(thing: object) -> str:
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', repr(thing))}"
