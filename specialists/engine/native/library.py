"""The compiled kernels: structures as the sources have them, and functions."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path


class Linear(Structure):
    """A packed linear."""

    _fields_ = (("outs", c_int32), ("ins", c_int32), ("bits", c_int32), ("stripes", c_void_p))


class Layer(Structure):
    """One layer: norms, linears in the order of GROUPS, keys and values."""

    _fields_ = (
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("linears", Linear * 4),
        ("keys", c_void_p),
        ("values", c_void_p),
    )


class Shape(Structure):
    """A base's numbers."""

    _fields_ = (
        *((name, c_int32) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim")),
        ("inner", c_int32),
        ("vocabulary", c_int32),
        ("eps", c_float),
        ("rope_scaling", c_float),
    )


class Expand(Structure):
    """Where some ranks of an adapter go."""

    _fields_ = (
        *((name, c_int32) for name in ("rank", "ranks", "out", "outs")),
        ("b", c_int64),
    )


class Lora(Structure):
    """An adapter's share in one linear; without ranks it has none."""

    _fields_ = (
        ("ranks", c_int32),
        ("parts", c_int32),
        ("a", c_int64),
        ("scales", c_int64),
        ("expands", POINTER(Expand)),
    )


class Adapter(Structure):
    """One `Lora` for each layer and group, and what lies where these say."""

    _fields_ = (("groups", POINTER(Lora)), ("matrices", c_void_p), ("scales", c_void_p))


class Matrix(Structure):
    """Numbers as they are saved: their first byte in the file; `type` is one of pack.cpp's."""

    _fields_ = (("at", c_int64), ("type", c_int32))


class Pair(Structure):
    """One module's LoRA as it is saved, and where it goes."""

    _fields_ = (
        ("a", Matrix),
        ("b", Matrix),
        *((name, c_int32) for name in ("ranks", "ins", "outs")),
        ("scale", c_float),
        *((name, c_int64) for name in ("packed_a", "packed_b", "scales")),
    )


class Segment(Structure):
    """Tokens that share an adapter."""

    _fields_ = (("begin", c_int32), ("count", c_int32), ("adapter", POINTER(Adapter)))


class Step(Structure):
    """The tokens of a step."""

    _fields_ = (
        *((name, c_int32) for name in ("tokens", "tiled", "table_width", "segments")),
        *((name, c_int32) for name in ("samples", "exact")),
        *((name, c_void_p) for name in ("ids", "positions", "rows", "table")),
        ("segment", POINTER(Segment)),
        ("sampled", c_void_p),
        ("logits", c_void_p),
    )


class Norm(Structure):
    """A layer normalisation."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class BertLayer(Structure):
    """One layer of an encoder: linears and biases in the order of bert.cpp, norms."""

    _fields_ = (
        ("linears", Linear * 4),
        ("biases", c_void_p * 4),
        ("attention_norm", Norm),
        ("norm", Norm),
    )


class BertShape(Structure):
    """An encoder's numbers."""

    _fields_ = (
        *((name, c_int32) for name in ("layers", "hidden", "heads", "inner")),
        ("eps", c_float),
    )


class Texts(Structure):
    """What an encoder reads, and where the means of its hidden states go."""

    _fields_ = (
        *((name, c_int32) for name in ("tokens", "texts", "shown", "longest")),
        *((name, c_void_p) for name in ("ids", "begins", "layers", "means")),
    )


@cache
def load(file: Path) -> ctypes.CDLL:
    """Open a compiled library. Its functions let other threads run meanwhile."""
    library = ctypes.CDLL(str(file))
    library.myriad_llama.restype = c_void_p
    structures = (POINTER(Shape), POINTER(Layer), POINTER(Linear), POINTER(Linear))
    library.myriad_llama.argtypes = (*structures, c_void_p, c_void_p, c_int32)
    library.myriad_tiles.restype = c_int32
    library.myriad_tiles.argtypes = ()
    library.myriad_step.restype = None
    library.myriad_step.argtypes = (c_void_p, POINTER(Step))
    library.myriad_pack.restype = None
    library.myriad_pack.argtypes = (POINTER(Pair), c_int32, c_void_p, c_void_p, c_void_p)
    library.myriad_free.restype = None
    library.myriad_free.argtypes = (c_void_p,)
    library.myriad_bert.restype = c_void_p
    tables = (c_void_p, c_void_p, POINTER(Norm))
    library.myriad_bert.argtypes = (POINTER(BertShape), POINTER(BertLayer), *tables, c_int32)
    library.myriad_read.restype = None
    library.myriad_read.argtypes = (c_void_p, POINTER(Texts))
    library.myriad_free_bert.restype = None
    library.myriad_free_bert.argtypes = (c_void_p,)
    return library
