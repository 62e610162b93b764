# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The kernels, in Triton: adapters of mixed batches, and attention straight over the pages.

An adapter's pairs are found through its table (see `adapters.py`), so that of each only the ranks
that it has are read, whatever the others' are. Where a sum runs over many programs its parts are
added in a fixed order: what a row gets does not depend on chance, nor on who else is in the batch.
"""

import triton
import triton.language as tl

FIELDS = tl.constexpr(6)
"""Numbers in an entry of a table: see `adapters.Entry`."""


@triton.jit(do_not_specialize=["first", "tokens"])
def shrink(
    x,
    shrunk,
    starts,
    counts,
    tables,
    first,
    tokens,
    ins,
    span,
    most,
    MODULES: tl.constexpr,
    TILE: tl.constexpr,
    RANKS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """X · Aᵀ for a tile of tokens, one module, and a part of the inputs.

    x: [tokens, ins]; shrunk: float32 [parts, tokens, MODULES, most]; starts, counts, tables:
    [tiles]; first: the group's first entry in each table; span: inputs of a part.
    """
    tile, module, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    table = tl.load(tables + tile)
    if table == 0:
        return
    entry = table.to(tl.pointer_type(tl.int64)) + (first + module) * FIELDS
    a = tl.multiple_of(tl.load(entry).to(tl.pointer_type(x.dtype.element_ty)), 16)
    ranks = tl.load(entry + 2)
    token = tl.load(starts + tile) + tl.arange(0, TILE)
    inside = tl.arange(0, TILE) < tl.load(counts + tile)
    begin = part * span
    end = tl.minimum(begin + span, ins)
    for low in range(0, ranks, RANKS):
        rank = low + tl.arange(0, RANKS)
        sums = tl.zeros((TILE, RANKS), tl.float32)
        for at in range(begin, end, DEPTH):
            column = at + tl.arange(0, DEPTH)
            known = column < end
            left = tl.load(
                x + token[:, None].to(tl.int64) * ins + column[None, :],
                mask=inside[:, None] & known[None, :],
                other=0.0,
            )
            right = tl.load(
                a + rank[None, :] * ins + column[:, None],
                mask=(rank[None, :] < ranks) & known[:, None],
                other=0.0,
            )
            sums = tl.dot(left, right, sums, input_precision="ieee")
        out = ((part * tokens + token).to(tl.int64) * MODULES + module) * most
        tl.store(
            shrunk + out[:, None] + rank[None, :],
            sums,
            mask=inside[:, None] & (rank[None, :] < ranks),
        )


@triton.jit(do_not_specialize=["first", "tokens"])
def expand(
    shrunk,
    y,
    starts,
    counts,
    tables,
    first,
    tokens,
    width,
    most,
    PARTS: tl.constexpr,
    MODULES: tl.constexpr,
    TILE: tl.constexpr,
    RANKS: tl.constexpr,
    OUTS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Add (x · Aᵀ) · Bᵀ · scale to OUTS outputs of one module, for a tile of tokens.

    shrunk: as `shrink` leaves it, in PARTS parts; y: [tokens, width].
    """
    tile, block, module = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    table = tl.load(tables + tile)
    if table == 0:
        return
    entry = table.to(tl.pointer_type(tl.int64)) + (first + module) * FIELDS
    b = tl.multiple_of(tl.load(entry + 1).to(tl.pointer_type(y.dtype.element_ty)), 16)
    ranks = tl.load(entry + 2)
    outs = tl.multiple_of(tl.load(entry + 3), 16)
    if (ranks == 0) | (block * OUTS >= outs):
        return
    scale = tl.load(entry + 5).to(tl.float64, bitcast=True).to(tl.float32)
    token = tl.load(starts + tile) + tl.arange(0, TILE)
    inside = tl.arange(0, TILE) < tl.load(counts + tile)
    column = block * OUTS + tl.arange(0, OUTS)
    known = column < outs
    sums = tl.zeros((TILE, OUTS), tl.float32)
    for low in range(0, ranks, RANKS):
        rank = low + tl.arange(0, RANKS)
        held = inside[:, None] & (rank[None, :] < ranks)
        left = tl.zeros((TILE, RANKS), tl.float32)
        for part in tl.static_range(PARTS):
            at = ((part * tokens + token).to(tl.int64) * MODULES + module) * most
            left += tl.load(shrunk + at[:, None] + rank[None, :], mask=held, other=0.0)
        right = tl.load(
            b + rank[:, None] * outs + column[None, :],
            mask=(rank[:, None] < ranks) & known[None, :],
            other=0.0,
        )
        # What was summed in float32 is not rounded to bfloat16 on its way.
        sums = tl.dot(left, right.to(tl.float32), sums, input_precision=PRECISION)
    place = y + token[:, None].to(tl.int64) * width + tl.load(entry + 4) + column[None, :]
    mask = inside[:, None] & known[None, :]
    before = tl.load(place, mask=mask, other=0.0)
    tl.store(place, (before.to(tl.float32) + sums * scale).to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["width"])
def attend(
    queries,
    keys,
    values,
    out,
    starts,
    counts,
    positions,
    rows,
    table,
    scale,
    width,
    query_stride,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    TOKENS: tl.constexpr,
    GROUP: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What a tile's tokens read of their row's pages, by the query heads that share a key head.

    Sums go along as Dao et al. 2022 have them. queries: [tokens, HEADS, DIM], query_stride from
    token to token; keys, values: [pages, PAGE, KV_HEADS, DIM]; out: [tokens, HEADS, DIM]; starts,
    counts, positions, rows: [tiles]; table: [rows, width]. A tile has up to TOKENS tokens; GROUP
    and LANES are heads of a group and DIM, rounded up to powers of two.
    """
    tile, kv_head = tl.program_id(0), tl.program_id(1)
    start, position = tl.load(starts + tile), tl.load(positions + tile)
    count, row = tl.load(counts + tile), tl.load(rows + tile)
    shared: tl.constexpr = HEADS // KV_HEADS
    query = tl.arange(0, TOKENS * GROUP)
    token, head = query // GROUP, query % GROUP
    lane = tl.arange(0, LANES)
    wanted = ((token < count) & (head < shared))[:, None] & (lane[None, :] < DIM)
    place = start + token.to(tl.int64)
    own = (kv_head * shared + head)[:, None] * DIM + lane[None, :]
    asked = tl.load(queries + place[:, None] * query_stride + own, mask=wanted, other=0.0)
    highest = tl.full((TOKENS * GROUP,), float("-inf"), tl.float32)
    total = tl.zeros((TOKENS * GROUP,), tl.float32)
    read = tl.zeros((TOKENS * GROUP, LANES), tl.float32)
    end = position + count
    for begin in range(0, end, BLOCK):
        stored = begin + tl.arange(0, BLOCK)
        page = tl.load(table + row * width + stored // PAGE, mask=stored < end, other=0)
        at = ((page * PAGE + stored % PAGE) * KV_HEADS + kv_head) * DIM
        mask = (stored < end)[:, None] & (lane[None, :] < DIM)
        key = tl.load(keys + at[:, None] + lane[None, :], mask=mask, other=0.0)
        value = tl.load(values + at[:, None] + lane[None, :], mask=mask, other=0.0)
        score = tl.dot(asked, tl.trans(key), input_precision="ieee") * scale
        visible = stored[None, :] <= (position + token)[:, None]
        score = tl.where(visible & (stored < end)[None, :], score, float("-inf"))
        above = tl.maximum(highest, tl.max(score, 1))
        weight = tl.exp(score - above[:, None])
        fade = tl.exp(highest - above)
        total = total * fade + tl.sum(weight, 1)
        read = read * fade[:, None]
        read = tl.dot(weight.to(value.dtype), value, read, input_precision="ieee")
        highest = above
    answer = (read / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + place[:, None] * HEADS * DIM + own, answer, mask=wanted)


@triton.jit
def rotate(
    qkv,
    cosines,
    sines,
    stores,
    keys,
    values,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    LANES: tl.constexpr,
):
    """Rotate a token's queries in place and its keys into the cache; copy its values there.

    One head of one token each. qkv: [tokens, HEADS + 2 · KV_HEADS, 2 · HALF]; cosines, sines:
    [tokens, 2 · HALF], both halves alike; stores: [tokens] places in keys and values [places,
    KV_HEADS, 2 · HALF]; LANES is HALF rounded up to a power of two.
    """
    token, head = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, LANES)
    inside = lane < HALF
    own = qkv + (token.to(tl.int64) * (HEADS + 2 * KV_HEADS) + head) * 2 * HALF + lane
    first = tl.load(own, mask=inside, other=0.0)
    second = tl.load(own + HALF, mask=inside, other=0.0)
    if head >= HEADS + KV_HEADS:
        place = tl.load(stores + token) * KV_HEADS + head - HEADS - KV_HEADS
        tl.store(values + place * 2 * HALF + lane, first, mask=inside)
        tl.store(values + place * 2 * HALF + lane + HALF, second, mask=inside)
        return
    cosine = tl.load(cosines + token * 2 * HALF + lane, mask=inside, other=0.0).to(tl.float32)
    sine = tl.load(sines + token * 2 * HALF + lane, mask=inside, other=0.0).to(tl.float32)
    kind = first.dtype
    turned = (first * cosine - second * sine).to(kind)
    other = (second * cosine + first * sine).to(kind)
    if head < HEADS:
        tl.store(own, turned, mask=inside)
        tl.store(own + HALF, other, mask=inside)
    else:
        place = tl.load(stores + token) * KV_HEADS + head - HEADS
        tl.store(keys + place * 2 * HALF + lane, turned, mask=inside)
        tl.store(keys + place * 2 * HALF + lane + HALF, other, mask=inside)


@triton.jit
def gate(x, out, width, BLOCK: tl.constexpr):
    """SiLU of x[:, :width] times x[:, width:]; x: [tokens, 2 · width], out: [tokens, width]."""
    token, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = block * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    gates = tl.load(x + token * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    let = tl.load(x + token * 2 * width + width + column, mask=inside, other=0.0)
    opened = (gates / (1 + tl.exp(-gates))).to(let.dtype)
    tl.store(out + token * width + column, opened * let, mask=inside)
