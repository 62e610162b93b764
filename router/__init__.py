"""Which specialist answers: the HTTP API, the encoder, the index, the policy and the decision."""
