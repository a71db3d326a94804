"""Encoders by name: those of this package, and those that other packages register.

A package registers an encoder by an entry point to a function with the signature of ``load_encoder``::

    [project.entry-points."mcp_server_embeddings.encoders"]
    acme = "acme_embeddings:load"

``--engine acme`` then serves with it.
"""

from collections.abc import Callable
from functools import partial

from mcp_server_embeddings.config import REMOTE_ENGINE, Settings, encoder_entry_points
from mcp_server_embeddings.engine.encoder import LoadedEncoder
from mcp_server_embeddings.engine.loading import load_compiled, load_reference

Load = Callable[[Settings, Callable[[str], None]], LoadedEncoder]


def _load_remote(settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    # Imported here because importing the HTTP client takes as long as starting a model.
    from mcp_server_embeddings.engine.remote.encoder import load_remote

    return load_remote(settings, progress)


_BUILT_IN: dict[str, Load] = {
    "auto": partial(load_compiled, or_reference=True),
    "compiled": load_compiled,
    "reference": load_reference,
    REMOTE_ENGINE: _load_remote,
}


def load_encoder(settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    """Load the encoder that ``settings.engine`` names. May take seconds.

    Args:
        settings: The user's settings.
        progress: Called with a description of each stage for the user.

    Raises:
        OperatorError: The model is missing, corrupt, or not available with these settings.

    Example:
        >>> loaded = load_encoder(Settings(engine="reference"), print)
        >>> loaded.encoder.identity.dimensions
        384
    """
    load = _BUILT_IN.get(settings.engine) or encoder_entry_points()[settings.engine].load()
    return load(settings, progress)
