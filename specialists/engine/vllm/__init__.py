"""vLLM as a backend: in a process of its own, with an interpreter of its own.

`worker.py` runs there and knows nothing of Myriad; `runner.py` is here, and all between them goes
through `process.py`: one JSON object a line.
"""
