// Adapters of a mixed batch: y += (x·Aᵀ)·Bᵀ, each segment of rows with its own A and B.
//
// Of many adapters each is read once in a step and used for a row or two: what counts is their bytes.
// Matrices are therefore of 8 bits, with one scale for each rank, A's and B's in one number.
#pragma once

#include "simd.h"

// Adds ranks [rank, rank + ranks) of the shrunk input to outputs [out, out + outs).
struct Expand {
  int32_t rank, ranks, out, outs;
  const int8_t* b;  // [outs / 8, ranks, 8]
};

struct Lora {
  int32_t ranks, parts;
  const int8_t* a;      // [ranks, ins]
  const float* scales;  // [ranks]
  const Expand* expands;
};

struct Adapter {
  const Lora* groups;  // [layers, 4]; those without ranks change nothing
};

// Rows [begin, begin + count) of a batch go through one adapter.
struct Segment {
  int32_t begin, count;
  const Adapter* adapter;
};

// shrunk[row, rank] = x[row]·a[rank]·scale[rank] for a tile of both.
template <int RANKS, int ROWS>
inline void shrink_tile(const Lora& lora, int rank, const float* x, int ins, float* shrunk,
                        int stride) {
  const int8_t* a = lora.a + size_t(rank) * ins;
  prefetch(a, size_t(RANKS) * ins, AHEAD);
  __m256 totals[RANKS][ROWS];
  for (auto& row : totals) std::fill(row, row + ROWS, _mm256_setzero_ps());
  for (int k = 0; k < ins; k += LANES)
    for (int r = 0; r < RANKS; ++r) {
      const __m256 weights = load_bytes(a + size_t(r) * ins + k);
      for (int row = 0; row < ROWS; ++row)
        totals[r][row] =
            _mm256_fmadd_ps(weights, _mm256_loadu_ps(x + size_t(row) * ins + k), totals[r][row]);
    }
  for (int row = 0; row < ROWS; ++row)
    for (int r = 0; r < RANKS; ++r)
      shrunk[size_t(row) * stride + rank + r] = sum(totals[r][row]) * lora.scales[rank + r];
}

// The same for all rows of a segment. `x` is [rows, ins], `shrunk` [rows, stride].
template <int RANKS>
inline void shrink_rows(const Lora& lora, int rank, const Segment& segment, const float* x, int ins,
                        float* shrunk, int stride) {
  const int last = segment.begin + segment.count;
  int row = segment.begin;
  for (; row + 2 <= last; row += 2)
    shrink_tile<RANKS, 2>(lora, rank, x + size_t(row) * ins, ins, shrunk + size_t(row) * stride,
                          stride);
  if (row < last)
    shrink_tile<RANKS, 1>(lora, rank, x + size_t(row) * ins, ins, shrunk + size_t(row) * stride,
                          stride);
}

// The same for ranks [begin, end).
inline void shrink(const Lora& lora, int begin, int end, const Segment& segment, const float* x,
                   int ins, float* shrunk, int stride) {
  int rank = begin;
  for (; rank + 4 <= end; rank += 4) shrink_rows<4>(lora, rank, segment, x, ins, shrunk, stride);
  for (; rank < end; ++rank) shrink_rows<1>(lora, rank, segment, x, ins, shrunk, stride);
}

// Adds b·shrunk to 8 outputs of each of ROWS rows. `y` is [rows, width].
template <int ROWS>
inline void expand_tile(const int8_t* b, int ranks, const float* shrunk, int stride, float* y,
                        int width) {
  __m256 even[ROWS], odd[ROWS];
  for (int row = 0; row < ROWS; ++row) {
    even[row] = _mm256_loadu_ps(y + size_t(row) * width);
    odd[row] = _mm256_setzero_ps();
  }
  const auto add = [&](__m256* totals, int rank) {
    const __m256 weights = load_bytes(b + rank * LANES);
    for (int row = 0; row < ROWS; ++row)
      totals[row] = _mm256_fmadd_ps(_mm256_broadcast_ss(shrunk + size_t(row) * stride + rank),
                                    weights, totals[row]);
  };
  int rank = 0;
  for (; rank + 2 <= ranks; rank += 2) add(even, rank), add(odd, rank + 1);
  if (rank < ranks) add(even, rank);
  for (int row = 0; row < ROWS; ++row)
    _mm256_storeu_ps(y + size_t(row) * width, _mm256_add_ps(even[row], odd[row]));
}

// Adds the segment's share to outputs [begin, end) of y [rows, width].
inline void expand(const Lora& lora, const Segment& segment, const float* shrunk, int stride,
                   int begin, int end, float* y, int width) {
  const int rows = segment.begin + segment.count;
  for (const Expand* part = lora.expands; part < lora.expands + lora.parts; ++part) {
    const int first = std::max(begin, part->out), last = std::min(end, part->out + part->outs);
    for (int out = first; out < last; out += LANES) {
      const int8_t* b = part->b + size_t(out - part->out) * part->ranks;
      prefetch(b, size_t(part->ranks) * LANES, AHEAD);
      const auto tile = [&](auto count, int row) {
        expand_tile<count>(b, part->ranks, shrunk + size_t(row) * stride + part->rank, stride,
                           y + size_t(row) * width + out, width);
      };
      int row = segment.begin;
      for (; row + 4 <= rows; row += 4) tile(std::integral_constant<int, 4>(), row);
      for (; row < rows; ++row) tile(std::integral_constant<int, 1>(), row);
    }
  }
}
