"""Contents that may be large: bytes, or a file that is mapped rather than read."""

from mmap import mmap

Buffer = bytes | mmap
