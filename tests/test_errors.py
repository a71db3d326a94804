"""The tree of errors in the docstring of ``errors.py`` is the tree of classes."""

import pkgutil
from importlib import import_module

import mcp_server_embeddings
from mcp_server_embeddings import errors


def drawn() -> dict[str, str]:
    """Parent by name, as drawn: four columns a level."""
    parents: dict[str, str] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name.endswith("Error"):
            del ancestors[line.index(name) // 4 - 1 :]
            parents[name] = ancestors[-1] if ancestors else "Exception"
            ancestors.append(name)
    return parents


def defined(error: type[Exception]) -> dict[str, str]:
    """Parent by name, of a class and all below it."""
    below = (pair for child in error.__subclasses__() for pair in defined(child).items())
    return {error.__name__: error.__bases__[0].__name__, **dict(below)}


def test_the_drawn_tree_has_every_class_under_its_parent() -> None:
    for module in pkgutil.walk_packages(mcp_server_embeddings.__path__, "mcp_server_embeddings."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    assert drawn() == defined(errors.EmbeddingsError)
