// Adapters of a mixed batch: y += (x·Aᵀ)·Bᵀ, each segment of rows with its own A and B.
//
// Of many adapters each is read once in a step and used for a row or two: what counts is their bytes.
// Matrices are therefore of 8 bits, with one scale for each rank, A's and B's in one number.
#pragma once

#include "products.h"
#include "ranks.h"

// Adds ranks [rank, rank + ranks) of the shrunk input to outputs [out, out + outs).
struct Expand {
  int32_t rank, ranks, out, outs;
  int64_t b;  // in the matrices, [outs / 8, quads(ranks), 2, 8, 2]: pairs of ranks, output by output
};

// Where one group of an adapter lies; adapters that were trained alike share it.
struct Lora {
  int32_t ranks, parts;
  int64_t a;       // in the matrices, [ranks, ins]
  int64_t scales;  // in the scales, [ranks]
  const Expand* expands;
};

struct Adapter {
  const Lora* groups;  // [layers, 4]; those without ranks change nothing
  const int8_t* matrices;
  const float* scales;
};

// Rows [begin, begin + count) of a batch go through one adapter.
struct Segment {
  int32_t begin, count;
  const Adapter* adapter;
};

// shrunk[row, rank] = x[row]·a[rank]·scale[rank] for a tile of both.
template <int RANKS, int ROWS>
inline void shrink_tile(const int8_t* a, const float* scales, int rank, const Quantised& x, int row,
                        int ins, float* shrunk, int stride) {
  a += size_t(rank) * ins;
  const int blocks = ins / BLOCK;
  prefetch(a, size_t(RANKS) * ins, AHEAD);
  Shrunk totals[RANKS][ROWS];
  for (int b = 0; b < blocks; b += SHRUNK_BLOCKS)
    for (int t = 0; t < ROWS; ++t) {
      const Inputs inputs(x.values + size_t(row + t) * ins + b * BLOCK,
                          x.scales + size_t(row + t) * blocks + b, blocks - b);
      for (int r = 0; r < RANKS; ++r) totals[r][t].add(a + size_t(r) * ins + b * BLOCK, inputs);
    }
  for (int t = 0; t < ROWS; ++t)
    for (int r = 0; r < RANKS; ++r)
      shrunk[size_t(row + t) * stride + rank + r] = totals[r][t].summed() * scales[rank + r];
}

// The same for ranks [begin, end) and all rows of a segment. `shrunk` is [rows, stride].
inline void shrink(const Lora& lora, int begin, int end, const Segment& segment, const Quantised& x,
                   int ins, float* shrunk, int stride) {
  const int last = segment.begin + segment.count;
  const int8_t* a = segment.adapter->matrices + lora.a;
  const float* scales = segment.adapter->scales + lora.scales;
  int rank = begin;
  for (; rank + 4 <= end; rank += 4) {
    int row = segment.begin;
    for (; row + 2 <= last; row += 2) shrink_tile<4, 2>(a, scales, rank, x, row, ins, shrunk, stride);
    if (row < last) shrink_tile<4, 1>(a, scales, rank, x, row, ins, shrunk, stride);
  }
  for (; rank < end; ++rank)
    for (int row = segment.begin; row < last; ++row)
      shrink_tile<1, 1>(a, scales, rank, x, row, ins, shrunk, stride);
}

constexpr int EXPANDED_ROWS = 4;                    // that share what is read of B
constexpr int SPREAD = QUAD * LANES;                // numbers of a quad of ranks, as `spread` has them
constexpr int LARGEST = 32767;

// Shrunk inputs [ranks] in 16 bits, each pair of ranks once for every output of a stripe:
// [quads(ranks), 2, 8, 2]. Returns their scale; what is not finite makes it so.
inline float spread(const float* shrunk, int ranks, int16_t* to) {
  float peak = 0, zero = 0;
  for (int r = 0; r < ranks; ++r) peak = std::max(peak, std::fabs(shrunk[r])), zero += shrunk[r] * 0;
  // The sum of all products must fit 32 bits.
  const float most = std::min(LARGEST, INT32_MAX / 127 / ranks), scale = peak / most;
  const float inverse = scale > 0 ? 1 / scale : 0;
  const auto whole = [&](int r) { return r < ranks ? int16_t(std::lrint(shrunk[r] * inverse)) : int16_t(0); };
  for (int r = 0; r < quads(ranks) * QUAD; r += 2, to += 2 * LANES) {
    const int16_t pair[] = {whole(r), whole(r + 1)};
    for (int lane = 0; lane < LANES; ++lane) std::copy_n(pair, 2, to + 2 * lane);
  }
  return scale + zero;
}

// Adds a part's share to outputs [begin, end) of ROWS rows of y [ROWS, width]; `room` is for as many
// rows' inputs.
template <int ROWS>
inline void expand_tile(const Expand& part, const int8_t* matrix, const float* shrunk, int stride,
                        int16_t* room, int begin, int end, float* y, int width) {
  const int count = quads(part.ranks);
  float scales[ROWS];
  for (int row = 0; row < ROWS; ++row)
    scales[row] = spread(shrunk + size_t(row) * stride, part.ranks, room + row * count * SPREAD);
  for (int out = begin; out < end; out += LANES) {
    const int8_t* b = matrix + size_t(out - part.out) * count * QUAD;
    prefetch(b, size_t(count) * SPREAD, AHEAD);
    Expanded totals[ROWS];
    for (int q = 0; q < count; ++q)
      for (int row = 0; row < ROWS; ++row)
        totals[row].add(b + q * SPREAD, room + (row * count + q) * SPREAD);
    for (int row = 0; row < ROWS; ++row) {
      float* to = y + size_t(row) * width + out;
      fused(totals[row].summed(), Eight::all(scales[row]), Eight::load(to)).store(to);
    }
  }
}

// Numbers of `room` that `expand` needs for so many ranks.
inline size_t expand_room(int ranks) { return size_t(EXPANDED_ROWS) * quads(ranks) * SPREAD; }

// Adds the segment's share to outputs [begin, end) of y [rows, width].
inline void expand(const Lora& lora, const Segment& segment, const float* shrunk, int stride,
                   int16_t* room, int begin, int end, float* y, int width) {
  const int rows = segment.begin + segment.count;
  for (const Expand* part = lora.expands; part < lora.expands + lora.parts; ++part) {
    const int first = std::max(begin, part->out), last = std::min(end, part->out + part->outs);
    if (first >= last) continue;
    const auto tile = [&](auto count, int row) {
      expand_tile<count>(*part, segment.adapter->matrices + part->b,
                         shrunk + size_t(row) * stride + part->rank, stride, room, first, last,
                         y + size_t(row) * width, width);
    };
    int row = segment.begin;
    for (; row + EXPANDED_ROWS <= rows; row += EXPANDED_ROWS)
      tile(std::integral_constant<int, EXPANDED_ROWS>(), row);
    for (; row < rows; ++row) tile(std::integral_constant<int, 1>(), row);
  }
}
