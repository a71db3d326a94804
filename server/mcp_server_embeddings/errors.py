"""The exceptions of this package, grouped by who can fix the cause.

    EmbeddingsError
    ├── CallerError             the request must change
    │   ├── InputError              a value is missing, malformed or out of range
    │   ├── TextTooLongError        a text exceeds the model's limit and ``long_text="error"``
    │   ├── AnswerTooLargeError     the answer exceeds what clients accept
    │   ├── UnknownModelError       the request names a model that is not served
    │   └── CollectionError         a collection does not exist, is another model's, or would grow too large
    ├── OperatorError           the operator of the server must act
    │   ├── ConfigurationError      an option or environment variable is wrong
    │   ├── ModelMissingError       the model is not on this machine
    │   ├── ModelLoadError          the model is on this machine but cannot be used
    │   │   ├── ModelChangedError       it was changed while it was in use
    │   │   └── ConversionError         it cannot be converted for the compiled engine
    │   ├── RemoteEngineError       the remote engine's response cannot be used
    │   │   ├── RemoteRefusalError      it refuses the request; a retry cannot succeed
    │   │   └── RemoteUnavailableError  it does not answer now; a retry may succeed
    │   ├── EncodingError           the model returned unusable vectors
    │   ├── WorkerError             the workers that encode cannot be used
    │   ├── DownloadError           a model could not be downloaded
    │   ├── StorageError            the collections cannot be read or written
    │   │   └── ConnectionLostError     the database connection was lost before anything was stored
    │   ├── ClientFileError         a client's configuration file cannot be read or written
    │   ├── NoAnswerError           a server that was started like a client would does not answer
    │   └── UnsafePlaceError        another user could control the socket of the engine process
    ├── CallCancelledError      the caller cancelled
    ├── UnreadableError         a file yields no text; the others are read
    └── UnsupportedModelError   the model has no native graph; another engine serves it

Every message says what was given, what is allowed and what to do.
"""


class EmbeddingsError(Exception):
    """Root of all errors of this package."""


class CallerError(EmbeddingsError):
    """The caller can fix it by changing the request."""


class InputError(CallerError):
    """A value is missing, malformed or out of range."""


class TextTooLongError(CallerError):
    """A text exceeds the model's token limit and the caller asked for an error."""


class AnswerTooLargeError(CallerError):
    """The answer exceeds what clients accept."""


class UnknownModelError(CallerError):
    """The request names a model that this server does not serve."""


class CollectionError(CallerError):
    """A collection does not exist, holds another model's vectors, or would grow too large."""


class OperatorError(EmbeddingsError):
    """The operator of the server can fix it."""


class ConfigurationError(OperatorError):
    """An option or environment variable is unknown or out of range."""


class ModelMissingError(OperatorError):
    """The model is not on this machine."""


class ModelLoadError(OperatorError):
    """The model is on this machine but cannot be used."""


class ModelChangedError(ModelLoadError):
    """The model's files were changed on disk, or a remote engine serves another one, while it was in use."""


class RemoteEngineError(OperatorError):
    """The remote engine's response cannot be used.

    Attributes:
        status: The HTTP status; 0 if there was no response.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RemoteRefusalError(RemoteEngineError):
    """The remote engine refuses the request; a retry cannot succeed."""


class RemoteUnavailableError(RemoteEngineError):
    """The remote engine cannot be reached, or is overloaded.

    Attributes:
        wait: Seconds after which it asks to be called again; 0 if it does not say.
    """

    def __init__(self, message: str, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(message, status)
        self.wait = wait


class EncodingError(OperatorError):
    """The model returned vectors that cannot be used, such as non-finite ones."""


class WorkerError(OperatorError):
    """The workers of a cluster that encode texts cannot be used."""


class DownloadError(OperatorError):
    """A model could not be downloaded."""


class StorageError(OperatorError):
    """The collections on disk cannot be read or written."""


class ConnectionLostError(StorageError):
    """The connection to the database was lost before anything was stored; a retry may succeed."""


class ClientFileError(OperatorError):
    """The configuration file of an MCP client cannot be read, edited or written; it is left unchanged."""


class NoAnswerError(OperatorError):
    """A server cannot be started the way a client starts it, or does not answer."""


class UnsafePlaceError(OperatorError):
    """Another user could control the socket of the engine process."""


class CallCancelledError(EmbeddingsError):
    """The caller cancelled the call; nothing failed."""
