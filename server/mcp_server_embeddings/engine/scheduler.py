"""The inference queue: runs the inputs of all calls in small batches and schedules them fairly.

Each call is a job with inputs. A free stream (an encoding thread) picks the session with the fewest tokens served and,
in that session, the job with the fewest. It takes the job's longest inputs first and fills the batch with inputs of
other jobs that need little padding. So a small call waits for at most one batch of a large one, many calls of one
session do not delay other sessions, concurrent small calls share a batch, and cancelling a call drops its inputs that
are not yet in a batch.

The encoder and the reranker share the queue and its streams; every batch is for one model.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.errors import CallCancelledError, EmbeddingsError, EncodingError
from mcp_server_embeddings.vectors.scores import Vectors

_log = logging.getLogger(__name__)

_DENSITY = 0.6
"""A batch takes another job's input only while at least this share of its padded tokens is text."""

_NO_MEMORY = re.compile(r"\balloc|bad_alloc|out of memory|not enough memory", re.IGNORECASE)
"""Matches the errors of OpenVINO ("can't alloc") and torch ("can't allocate memory", "CUDA out of memory")."""


@dataclass(frozen=True, slots=True, eq=False)
class QueuedModel:
    """A model that the streams run.

    Attributes:
        encode: Encodes one batch; called by at most one thread per stream.
        batch_tokens: Limit of a batch's number of inputs times the tokens of the longest; a single input may exceed it.
        dimensions: Length of the vector that it returns for each input.
        remedy: Advice to the user when it returns no usable vector.
    """

    encode: Callable[[Sequence[EncoderInput]], Vectors]
    batch_tokens: int
    dimensions: int
    remedy: str = "start the server with --engine reference, or with another --model"


@dataclass(eq=False)
class Job:
    """The inputs of one call in the queue.

    Attributes:
        model: The model that encodes the inputs.
        inputs: Inputs in the caller's order.
        call: Receives progress.
        pending: Rows not yet in a batch, the next one last.
        missing: Number of rows that are neither filled nor given up.
        vectors: Filled row by row; shape ``(len(inputs), d)``, NaN before.
        served: Tokens served so far, plus the lowest value of the other jobs when this one arrived.
        error: Reason if the job ended early.
        done: Set when the job has ended.
    """

    model: QueuedModel
    inputs: Sequence[EncoderInput]
    call: Call
    pending: list[int]
    missing: int
    vectors: Vectors
    served: int = 0
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The inference queue, as ``status`` reports it; its "pieces" are inputs: texts, or windows of them."""

    calls_waiting: int = 0
    pieces_waiting: int = 0
    batches_done: int = 0
    pieces_done: int = 0


class Scheduler:
    """Runs ``encode`` on ``streams`` threads, which it starts; see ``QueuedModel``.

    Args:
        encode: Method of the encoder.
        streams: Number of batches that run at once.
        batch_tokens: Attribute of the encoder.
        dimensions: Required length of each vector.
    """

    def __init__(
        self, encode: Callable[[Sequence[EncoderInput]], Vectors], streams: int, batch_tokens: int, dimensions: int
    ) -> None:
        self._model = QueuedModel(encode, batch_tokens, dimensions)
        self._jobs: list[Job] = []
        self._sessions: dict[Hashable, int] = {}  # tokens served to each session with jobs, counted like Job.served
        self._ready = threading.Condition()
        self._closed: EmbeddingsError | None = None
        self._batches_done = 0
        self._inputs_done = 0
        self._threads = [
            threading.Thread(target=self._stream, name=f"inference-{number}", daemon=True) for number in range(streams)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        inputs: Sequence[EncoderInput],
        call: Call,
        *,
        model: QueuedModel | None = None,
        deadline: float | None = None,
    ) -> Vectors:
        """Encode ``inputs`` and wait for the result.

        Args:
            inputs: One or more.
            call: Receives progress; its cancellation ends the wait.
            model: The model that encodes the inputs; by default the encoder.
            deadline: In seconds of ``time.monotonic``. Inputs are then encoded in their order, and those not in a batch
                by the deadline are left out; batches in progress are still awaited.

        Returns:
            Shape ``(len(inputs), d)``, in order; NaN for inputs left out.

        Raises:
            EncodingError: The model returned no usable vector for one of the inputs.
            CallCancelledError: The call was cancelled, or the scheduler closed.
        """
        job = self._submit(model or self._model, inputs, call, in_order=deadline is not None)
        with call.on_cancel(lambda: self._cancel(job)):
            if call.cancelled:
                self._cancel(job)
            if deadline is not None and not job.done.wait(max(0.0, deadline - time.monotonic())):
                self._give_up_pending(job)
            job.done.wait()
        if job.error is not None:
            raise job.error
        return job.vectors

    def stats(self) -> QueueStats:
        """Count waiting and encoded inputs."""
        with self._ready:
            waiting = sum(len(job.pending) for job in self._jobs)
            return QueueStats(len(self._jobs), waiting, self._batches_done, self._inputs_done)

    def close(self, reason: EmbeddingsError | None = None) -> None:
        """Stop the streams after their current batch.

        Args:
            reason: Error that waiting and later calls raise; by default ``CallCancelledError``.
        """
        with self._ready:
            self._closed = reason or CallCancelledError("the engine is shutting down")
            self._fail(list(self._jobs), self._closed)
            self._ready.notify_all()

    def join(self) -> None:
        """Wait, after ``close``, until no stream uses the encoder any more."""
        for thread in self._threads:
            thread.join()

    def _submit(self, model: QueuedModel, inputs: Sequence[EncoderInput], call: Call, *, in_order: bool) -> Job:
        pending = sorted(range(len(inputs)), key=lambda row: -row if in_order else inputs[row].tokens)
        unfilled = np.full((len(inputs), model.dimensions), np.nan, dtype=np.float32)
        job = Job(model, inputs, call, pending, len(inputs), unfilled)
        with self._ready:
            if self._closed is not None:
                raise self._closed
            job.served = min((other.served for other in self._jobs), default=0)
            self._sessions.setdefault(call.session, min(self._sessions.values(), default=0))
            self._jobs.append(job)
            self._ready.notify_all()  # the job may have batches for every stream
        return job

    def _cancel(self, job: Job) -> None:
        self._fail([job], CallCancelledError("the caller cancelled this call"))

    def _give_up_pending(self, job: Job) -> None:
        """Give up the inputs that are not yet in a batch."""
        with self._ready:
            if job.done.is_set():
                return
            job.missing -= len(job.pending)
            job.pending.clear()
            if job.missing == 0:
                self._finish(job)

    def _stream(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._run_batch(batch)
            del batch  # do not keep it in memory until the next one comes

    def _run_batch(self, batch: list[tuple[Job, int]]) -> None:
        """Encode a batch; if memory is short, in halves. An input that does not fit on its own is rejected."""
        batch = [(job, row) for job, row in batch if not job.done.is_set()]
        if not batch:
            return
        model, halved = batch[0][0].model, False
        try:
            vectors = model.encode([job.inputs[row] for job, row in batch])
            self._deliver(model, batch, vectors)
        except Exception as error:  # noqa: BLE001 - outermost frame of a thread: waiting callers raise the error
            halved = len(batch) > 1 and _is_out_of_memory(error)
            if not halved:
                self._fail([job for job, _ in batch], _error_for_caller(batch[0], error))
        except BaseException as error:  # noqa: BLE001 - it would end this thread, and raised by a caller the server
            failure = EncodingError(f"the model's runtime failed ({type(error).__name__}); {model.remedy}")
            failure.__cause__ = error
            self._fail([job for job, _ in batch], failure)
        if halved:  # not in the handler, where the traceback keeps the allocations alive
            _log.warning("out of memory in a batch of %d inputs; trying halves", len(batch))
            self._run_batch(batch[: len(batch) // 2])
            self._run_batch(batch[len(batch) // 2 :])

    def _next_batch(self) -> list[tuple[Job, int]] | None:
        with self._ready:
            while self._closed is None:
                if batch := self._take_batch():
                    self._batches_done += 1
                    self._inputs_done += len(batch)
                    return batch
                self._ready.wait()
        return None

    def _take_batch(self) -> list[tuple[Job, int]]:
        """Take the next batch; the lock is held. Empty when nothing is pending."""
        waiting = [job for job in self._jobs if job.pending]
        waiting.sort(key=lambda job: (self._sessions[job.call.session], job.served, len(job.pending)))
        batch: list[tuple[Job, int]] = []
        longest = text = 0
        for job in waiting:
            while job.pending and (not batch or job.model is batch[0][0].model):
                tokens = job.inputs[job.pending[-1]].tokens
                padded = max(longest, tokens) * (len(batch) + 1)
                fits = padded <= job.model.batch_tokens and text + tokens >= _DENSITY * padded
                if batch and not fits:
                    break
                batch.append((job, job.pending.pop()))
                longest, text = max(longest, tokens), text + tokens
                job.served += tokens
                self._sessions[job.call.session] += tokens
        return batch

    def _deliver(self, model: QueuedModel, batch: list[tuple[Job, int]], vectors: Vectors) -> None:
        """Hand each job its rows.

        Raises:
            EncodingError: The model did not return one vector of the right length for each input.
        """
        expected, remedy = (len(batch), model.dimensions), model.remedy
        if np.shape(vectors) != expected:
            raise EncodingError(f"the model returned an array of shape {np.shape(vectors)}, not {expected}; {remedy}")
        finite = np.atleast_1d(np.isfinite(vectors).all(axis=1))
        with self._ready:
            for (job, row), vector, usable in zip(batch, vectors, finite, strict=True):
                if not usable:
                    tokens = job.inputs[row].tokens
                    reason = f"the model returned a result that is not finite for a text of {tokens} tokens"
                    self._fail([job], EncodingError(f"{reason}; {remedy}"))
                if job.done.is_set():
                    continue
                job.vectors[row] = vector
                job.missing -= 1
                job.call.done += 1
                if job.missing == 0:
                    self._finish(job)

    def _fail(self, jobs: Iterable[Job], error: BaseException) -> None:
        """End the jobs that have not ended yet; their inputs that are not yet in a batch are dropped."""
        with self._ready:
            for job in jobs:
                if not job.done.is_set():
                    job.pending.clear()
                    job.error = error
                    self._finish(job)

    def _finish(self, job: Job) -> None:
        """Remove a job from the queue and wake its caller; the lock is held."""
        self._jobs.remove(job)
        if all(other.call.session != job.call.session for other in self._jobs):
            del self._sessions[job.call.session]
        job.done.set()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))


def _error_for_caller(failed: tuple[Job, int], error: Exception) -> Exception:
    """Return the error itself or, if memory is short, one that says what to do."""
    if not _is_out_of_memory(error):
        return error
    job, row = failed
    refusal = EncodingError(
        f"there is not enough memory for a text of {job.inputs[row].tokens} tokens alone; end other programs, or start "
        "the server with a smaller --model, and send the call again"
    )
    refusal.__cause__ = error
    return refusal
