"""The encoder that sends inputs to a server with OpenAI's API."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from mcp_server_embeddings.config import ENGINE_KEY, REMOTE_ENGINE, Settings
from mcp_server_embeddings.engine.catalogue import prompts_for
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput, LoadedEncoder
from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.remote.client import RemoteClient
from mcp_server_embeddings.engine.remote.probe import SAMPLE, Over, RemoteModel, identify
from mcp_server_embeddings.errors import ModelChangedError, RemoteRefusalError
from mcp_server_embeddings.vectors.scores import Vectors

_STREAMS = 4
"""Number of concurrent requests without --threads: enough that a server never waits for the next one."""

_BATCH_TOKENS = 4096
"""Estimated tokens of a request: about 30 passages, as many as text-embeddings-inference accepts by default."""

_MAX_TEXTS = 512
"""Maximum number of texts in a request, until the server rejects that many."""

_TOO_MANY_TEXTS = frozenset({400, 413, 422})
"""Statuses with which servers reject too many texts."""

_OVER_LIMIT: dict[Over, str] = {
    "cut": "silently ignores the part of a text beyond about {limit:,} tokens",
    "refused": "refuses texts of more than about {limit:,} tokens",
    "read": "reads {limit:,} tokens of a text and more",
}


class RemoteEncoder(Encoder):
    """Sends batches to a server.

    Every request also holds a text whose vector is known. So if the server now runs another model, or one of several
    replicas does, this is noticed before vectors of two models are mixed.

    Args:
        client: Sends the requests.
        model: Result of the probe.
        streams: Number of concurrent requests.
    """

    engine = REMOTE_ENGINE
    batch_tokens = _BATCH_TOKENS

    def __init__(self, client: RemoteClient, model: RemoteModel, streams: int) -> None:
        self.device = client.url
        self.streams = streams
        self.identity = ModelIdentity(
            name=client.model,
            dimensions=model.dimensions,
            max_tokens=model.limit,
            normalised=model.normalised,
            prompts=prompts_for(client.model, {}, None),
            sha256=model.digest,
        )
        finding = _OVER_LIMIT[model.over].format(limit=model.limit)
        self.note = (
            f"texts are sent to {client.url}; its model {finding}, as a probe found; longer ones are split. Tokens "
            "are estimates, since its tokenizer is not here"
        )
        self._client = client
        self._model = model
        self._max_texts = _MAX_TEXTS

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``.

        Raises:
            ModelChangedError: The model that answers is not the one at the start.
            RemoteEngineError: The server does not answer with vectors.
        """
        return self._encode_texts([self.identity.prompts.of(text.role) + text.text for text in inputs])

    def close(self) -> None:
        """Stop retrying failed requests."""
        self._client.close()

    def free(self) -> None:
        """Close the connections."""
        self._client.free()

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts in requests as large as the server accepts; a rejected request is sent again in halves."""
        size = self._max_texts
        if len(texts) > size:
            return np.concatenate([self._encode_texts(texts[at : at + size]) for at in range(0, len(texts), size)])
        try:
            return self._request(texts)
        except RemoteRefusalError as error:
            if len(texts) == 1 or error.status not in _TOO_MANY_TEXTS:
                raise
        half = (len(texts) + 1) // 2
        vectors = np.concatenate([self._encode_texts(texts[:half]), self._encode_texts(texts[half:])])
        self._max_texts = min(self._max_texts, half)
        return vectors

    def _request(self, texts: Sequence[str]) -> Vectors:
        vectors = self._client.embed([SAMPLE[0], *texts])
        if not self._model.matches(vectors[:1]):
            raise ModelChangedError(
                f"the remote engine at {self._client.url} answers with another model than before under the name "
                f"{self._client.model!r}; it is probed again: repeat the call"
            )
        return vectors[1:]


def load_remote(settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    """Connect to the server, and find out which model answers there; see ``load_encoder``."""
    streams = settings.threads or _STREAMS
    client = RemoteClient(settings.engine_url, settings.engine_model, os.environ.get(ENGINE_KEY, ""), streams)
    try:
        progress(f"asking {client.url} for its model")
        model = identify(client, settings.data_dir / "remote", progress)
    except BaseException:
        client.free()
        raise
    encoder = RemoteEncoder(client, model, streams)
    identity = encoder.identity
    return LoadedEncoder(encoder, EstimatedTokens(identity.max_tokens, identity.prompts, cautious=True))
