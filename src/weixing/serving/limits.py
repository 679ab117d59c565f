"""Every bound of the service, in one place. Plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Args:
    body_bytes: most bytes of a request's body.
    texts: most texts in a request.
    characters: most characters in a text.
    candidates: most candidates that a fill-mask request may ask for: [MASK]s times top_k.
    token_vectors: most tokens in a request for a vector of every token.
    requests: most requests under way at a time, whatever they are waiting for.
    queue_tokens: most tokens waiting for one model; a larger request is taken if nothing waits.
    batch_tokens: most tokens computed at a time, and most positions of a batch, padding included.
    batch_window_seconds: how long a request may wait for others to be computed with it.
    header_seconds: within which a connection must come with a request's head.
    body_seconds: within which a request's body must have come.
    answer_seconds: within which a request is answered, loading of its model included.
    send_seconds: how long a client may leave an answer unread.
    shutdown_seconds: within which requests under way are finished after a signal.
    models: most models in memory at a time.
    """

    body_bytes: int = 2 << 20
    texts: int = 2_048
    characters: int = 20_000
    candidates: int = 10_000
    token_vectors: int = 4_096
    requests: int = 512
    queue_tokens: int = 262_144
    batch_tokens: int = 4_096
    batch_window_seconds: float = 0.002
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 30.0
    send_seconds: float = 30.0
    shutdown_seconds: float = 30.0
    models: int = 4
