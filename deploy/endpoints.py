"""Endpoints that the front of a machine knows by their paths."""

ANSWERING = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/tokenize",
        "/detokenize",
    }
)
"""What takes the place of an answer in an engine."""
READING = frozenset({"/v1/route", "/v1/embeddings"})
"""What else a POST changes nothing at."""
