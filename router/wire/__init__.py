"""OpenAI's wire format: requests in, responses and events out."""
