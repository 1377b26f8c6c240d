"""Models that others define, by `package.module:factory`; their code runs."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_REMEDY = "as in mymodels:unet"


def build_model(source: str) -> nn.Module:
    """The model of a source: what the factory returns, or the module itself if it is one.

    The current folder comes first on the import path while its module is imported.

    Raises:
        InputError: where there is no such module or factory, or it makes no model.
    """
    from torch import nn

    made = _named(source)
    if not isinstance(made, nn.Module):
        if not callable(made):
            got = f"{source}, which is a {type(made).__name__}"
            raise InputError("a factory or a torch.nn.Module", got, _REMEDY)
        try:
            made = made()
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            remedy = "wrap it in a factory that needs no arguments"
            raise InputError(f"a model from {source}()", got, remedy) from error
    if not isinstance(made, nn.Module):
        raise InputError(f"a torch.nn.Module from {source}", f"a {type(made).__name__}", _REMEDY)
    return made


def _named(source: str) -> Any:
    """The object that `package.module:name` names."""
    module, colon, name = source.partition(":")
    words = [*module.split("."), *name.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise InputError("SOURCE as package.module:factory", f"'{source}'", _REMEDY)
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        remedy = "check its name and the current folder"
        raise InputError(f"a module {module} that can be imported", got, remedy) from error
    finally:
        sys.path.pop(0)
    for word in name.split("."):
        if not hasattr(found, word):
            raise _unknown(word, module, found)
        found = getattr(found, word)
    return found


def _unknown(word: str, module: str, found: Any) -> InputError:
    """Error for a name that a module lacks; of its many names only the nearest is told."""
    from pdenet.cli.errors import did_you_mean

    remedy = did_you_mean(word, [name for name in dir(found) if name[0] != "_"])
    return InputError(f"a factory in {module}", f"no '{word}' in it", remedy or _REMEDY)
