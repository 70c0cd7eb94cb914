"""``py:package.module:factory``: the user's own model, made by the user's own function."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from partkit.data.model import ModelSpec
from partkit.errors import UsageError
from partkit.models.checkpoint import open_weights
from partkit.models.own_code import look_in_working_folder
from partkit.models.sources.base import refuse_batch_and_seq, target, weights_path

if TYPE_CHECKING:
    from partkit.models.sources.loaded import LoadedModel

_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<factory>[^\W\d]\w*)")


class PythonFactorySource:
    """A function called without arguments; returns a module, or ``(module, args, kwargs)`` with example inputs."""

    def check(self, spec: ModelSpec) -> ModelSpec:
        """Check the form of the name; nothing is imported. Raises :class:`UsageError`."""
        if _TARGET.fullmatch(target(spec)) is None:
            raise UsageError(f"{spec.source!r} names no function", hint="write it as py:package.module:factory")
        refuse_batch_and_seq(spec)
        path = weights_path(spec)
        if path is not None:
            open_weights(path)
        return spec

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Call the factory after ``torch.manual_seed(seed)``; its weights are the user's own and stay real."""
        from partkit.models.sources.python_load import load_made

        self.check(spec)
        return load_made(spec, find_factory(target(spec)))


def find_factory(name: str) -> Callable[[], Any]:
    """The function of a ``module:factory`` name, looked for in the working folder last.

    Raises :class:`UsageError` when the module can't be imported or has no such function.
    """
    match = _TARGET.fullmatch(name)
    assert match is not None
    here = look_in_working_folder()
    try:
        module = importlib.import_module(match["module"])
    except ModuleNotFoundError as error:
        if error.name is None or not match["module"].startswith(error.name):
            raise UsageError(f"py:{name}: its module needs {error.name!r}, which isn't installed") from error
        raise UsageError(
            f"py:{name}: there is no module {error.name!r} in {here} or elsewhere on sys.path",
            hint="run from the folder that holds it, or set PYTHONPATH",
        ) from None
    except Exception as error:  # the user's code may raise anything
        raise UsageError(f"py:{name}: importing its module raised {type(error).__name__}: {error}") from error
    factory = getattr(module, match["factory"], None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]
    names = [each for each in vars(module) if callable(getattr(module, each))]
    near = difflib.get_close_matches(match["factory"], names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "define it as a function without arguments"
    raise UsageError(f"py:{name}: {module.__name__} has no function {match['factory']!r}", hint=hint)
