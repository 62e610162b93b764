// Products with packed weights, the inputs quantised row by row: cut into blocks as weights are, of 32
// integers in [-127, 127] and one scale, as in llama.cpp's Q8_1.
#pragma once

#include "linear.h"

constexpr int TILE_VECTORS = 2, TILE_ROWS = 4;  // as many sums as registers hold beside the rest

// Rows of inputs, quantised. `sums` are of the quantised values, times their scale.
struct Quantised {
  int8_t* values;  // [rows, ins]
  float* scales;   // [rows, ins / BLOCK]
  float* sums;     // [rows, ins / BLOCK]
};

inline void quantise(const float* x, int ins, int row, const Quantised& to) {
  const int blocks = ins / BLOCK;
  for (int b = 0; b < blocks; ++b) {
    Eight part[BLOCK / LANES], peak, total;
    for (int i = 0; i < BLOCK / LANES; ++i) {
      part[i] = Eight::load(x + b * BLOCK + i * LANES);
      peak = larger(peak, magnitude(part[i]));
    }
    const float scale = largest(peak) / 127.0f;
    const Eight inverse = Eight::all(scale > 0 ? 1.0f / scale : 0.0f);
    int8_t* out = to.values + size_t(row) * ins + b * BLOCK;
    for (int i = 0; i < BLOCK / LANES; ++i) {
      const Eight q = rounded(part[i] * inverse);
      total = total + q;
      q.store_bytes(out + i * LANES);
    }
    to.scales[size_t(row) * blocks + b] = scale;
    to.sums[size_t(row) * blocks + b] = scale * sum(total);
  }
}

// As many stripes as VECTORS vectors hold, for ROWS rows. `pause` is called for every block.
template <class Vector, int BITS, int VECTORS, int ROWS, class Pause>
inline void multiply_tile(const Linear& linear, const uint8_t* stripe, const Quantised& x, int row,
                          typename Vector::Floats (*out)[VECTORS], Pause&& pause) {
  const int blocks = linear.blocks(), ins = linear.ins;
  const size_t next = size_t(blocks) * linear.block_bytes(), step = next * Vector::STRIPES;
  // Of the tile after it, or where one stripe is read after the other, of what lies next.
  const size_t ahead = VECTORS > 1 ? VECTORS * step : AHEAD;
  for (int r = 0; r < ROWS; ++r) std::fill(out[r], out[r] + VECTORS, Vector::all(0));
  for (int b = 0; b < blocks; ++b, stripe += linear.block_bytes()) {
    const int8_t* values = x.values + size_t(row) * ins + b * BLOCK;
    pause();
    if (row == 0)
      for (int s = 0; s < VECTORS * Vector::STRIPES; ++s)
        prefetch(stripe + s * next, linear.block_bytes(), ahead);
    typename Vector::Integers sums[ROWS][VECTORS];
    dots<Vector, BITS>({stripe + SCALES, step, next}, values, ins, sums);
    for (int v = 0; v < VECTORS; ++v) {
      const auto d = Vector::halves(stripe + v * step, next);
      auto m = Vector::halves(stripe + v * step + SCALES / 2, next);
      if constexpr (OFFSET<BITS> != 0) m = Vector::add_product(d, Vector::all(OFFSET<BITS>), m);
      for (int r = 0; r < ROWS; ++r) {
        const size_t at = size_t(row + r) * blocks + b;
        const auto scaled = d * Vector::all(x.scales[at]);
        out[r][v] = Vector::add_product(Vector::floats(sums[r][v]), scaled, out[r][v]);
        out[r][v] = Vector::add_product(m, Vector::all(x.sums[at]), out[r][v]);
      }
    }
  }
}

// Calls `write(row, out, outputs)` for rows from `row` on and every stripe of a tile at `out`.
template <class Vector, int BITS, int VECTORS, int ROWS, class Write, class Pause>
void multiply_rows(const Linear& linear, const Quantised& x, int row, int rows, int out,
                  Write&& write, Pause&& pause) {
  for (; rows - row >= ROWS; row += ROWS) {
    typename Vector::Floats tile[ROWS][VECTORS];
    multiply_tile<Vector, BITS, VECTORS, ROWS>(linear, linear.stripe(out), x, row, tile, pause);
    for (int r = 0; r < ROWS; ++r)
      for (int v = 0; v < VECTORS; ++v)
        Vector::write(tile[r][v], row + r, out + v * Vector::STRIPES * LANES, write);
  }
  if constexpr (ROWS > 1)
    multiply_rows<Vector, BITS, VECTORS, ROWS / 2>(linear, x, row, rows, out, write, pause);
}

// The same for all rows, tile by tile as long as they end before `end`; returns where the next begins.
template <class Vector, int BITS, int VECTORS, class Write, class Pause>
int multiply_stripes(const Linear& linear, const Quantised& x, int rows, int begin, int end,
                     Write&& write, Pause&& pause) {
  constexpr int WIDTH = VECTORS * Vector::STRIPES * LANES;
  for (; begin + WIDTH <= end; begin += WIDTH)
    multiply_rows<Vector, BITS, VECTORS, TILE_ROWS>(linear, x, 0, rows, begin, write, pause);
  return begin;
}

template <int BITS, class Write, class Pause>
void multiply(const Linear& linear, const Quantised& x, int rows, int begin, int end,
              Write&& write, Pause&& pause) {
  // A single row waits for its weights, which come soonest in the order in which they lie.
  if (rows > 1)
    begin = multiply_stripes<Wide, BITS, TILE_VECTORS>(linear, x, rows, begin, end, write, pause);
  multiply_stripes<Narrow, BITS, 1>(linear, x, rows, begin, filled(end), write, pause);
}

struct NoPause {
  void operator()() const {}
};

// Calls `write(row, out, outputs)` for every row and every stripe of outputs in [begin, end), and `pause`
// again and again meanwhile.
template <class Write, class Pause = NoPause>
void multiply(const Linear& linear, const Quantised& x, int rows, int begin, int end, Write&& write,
              Pause&& pause = {}) {
  if (linear.bits == 4)
    multiply<4>(linear, x, rows, begin, end, write, pause);
  else
    multiply<8>(linear, x, rows, begin, end, write, pause);
}

// How often it does, at least.
inline size_t pauses(const Linear& linear, int rows, int begin, int end) {
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  constexpr int WIDTH = TILE_VECTORS * Wide::STRIPES * LANES;
  const int widths = (end - begin + WIDTH - 1) / WIDTH;
  return std::max<size_t>(1, size_t(tiles) * widths * linear.blocks());
}
