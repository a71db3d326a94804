"""Store measurements of a model in files, so that each is made once."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from mcp_server_embeddings.private import atomic_write

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_log = logging.getLogger(__name__)

T = TypeVar("T", bound="DataclassInstance")


def cached_measurement(path: Path, kind: type[T], measure: Callable[[], T]) -> T:
    """Read a measurement from a JSON file, or measure and try to write it there.

    Args:
        path: The file.
        kind: A dataclass.
        measure: Called if the file is missing or cannot be read.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValidationError) as error:
        _log.warning("the measurement in %s cannot be read (%s); measuring again", path, type(error).__name__)
    measured = measure()
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(asdict(measured)).encode())
    except OSError as error:
        _log.warning("the measurement cannot be written to %s (%s)", path, error.strerror)
    return measured
