"""The errors this package raises, named by who can fix them.

    EmbeddingsError
    ├── CallerError             the request must change
    │   ├── InputError              a value is missing, malformed or out of range
    │   ├── TextTooLongError        a text exceeds the model's limit and ``long_text="error"``
    │   ├── AnswerTooLargeError     the answer would not fit on the wire
    │   └── CollectionError         a collection does not exist, is another model's, or would grow too large
    ├── OperatorError           whoever runs the server must act
    │   ├── ConfigurationError      an option or environment variable is wrong
    │   ├── ModelMissingError       the model is not on this machine
    │   ├── ModelLoadError          the model is here and cannot be used
    │   │   └── ModelChangedError       its files were changed while it was in use
    │   ├── EncodingError           the model is in use and gave vectors that cannot be used
    │   ├── DownloadError           a model could not be fetched
    │   └── StorageError            the collections cannot be read or written
    └── CallCancelledError      the caller no longer wants the answer

Every message says what came, what is allowed and what to do.
"""


class EmbeddingsError(Exception):
    """Root of every error this package raises on purpose."""


class CallerError(EmbeddingsError):
    """The caller can fix it by asking differently."""


class InputError(CallerError):
    """A value is missing, malformed or out of range."""


class TextTooLongError(CallerError):
    """A text exceeds the model's token limit and the caller asked for an error."""


class AnswerTooLargeError(CallerError):
    """The answer would exceed what a client accepts on the wire."""


class CollectionError(CallerError):
    """A collection does not exist, holds another model's vectors, or would grow too large."""


class OperatorError(EmbeddingsError):
    """Whoever runs the server can fix it."""


class ConfigurationError(OperatorError):
    """An option or environment variable is unknown or out of range."""


class ModelMissingError(OperatorError):
    """The model is not on this machine."""


class ModelLoadError(OperatorError):
    """The model is on this machine but cannot be used."""


class ModelChangedError(ModelLoadError):
    """The model's files were changed on disk while it was in use."""


class EncodingError(OperatorError):
    """The model is in use, and what it gave for some texts are not vectors that can be used."""


class DownloadError(OperatorError):
    """A model could not be fetched."""


class StorageError(OperatorError):
    """The collections on disk cannot be read or written."""


class CallCancelledError(EmbeddingsError):
    """The caller cancelled; nothing is wrong."""
