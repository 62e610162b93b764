// Adapters of a mixed batch: y += (x·Aᵀ)·Bᵀ, each segment of rows with its own A and B.
//
// Of many adapters each is read once in a step and used for a row or two: what counts is their bytes.
// Matrices are therefore of 8 bits, with one scale for each rank, A's and B's in one number.
#pragma once

#include "linear.h"

// Sums of four products each, of numbers in [-127, 127].
inline __m256i dot(__m256i a, __m256i b) {
  const __m256i magnitudes = _mm256_abs_epi8(b), signed_a = _mm256_sign_epi8(a, b);
#ifdef DOT_BYTES
  return DOT_BYTES(_mm256_setzero_si256(), magnitudes, signed_a);
#else
  return _mm256_madd_epi16(_mm256_maddubs_epi16(magnitudes, signed_a), _mm256_set1_epi16(1));
#endif
}

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
inline void shrink_tile(const Lora& lora, int rank, const Quantised& x, int row, int ins,
                        float* shrunk, int stride) {
  const int8_t* a = lora.a + size_t(rank) * ins;
  const int blocks = ins / BLOCK;
  prefetch(a, size_t(RANKS) * ins, AHEAD);
  __m256 totals[RANKS][ROWS];
  for (auto& each : totals) std::fill(each, each + ROWS, _mm256_setzero_ps());
  for (int b = 0; b < blocks; ++b)
    for (int t = 0; t < ROWS; ++t) {
      const __m256i values = load_block(x.values + size_t(row + t) * ins + b * BLOCK);
      const __m256 scale = _mm256_broadcast_ss(x.scales + size_t(row + t) * blocks + b);
      for (int r = 0; r < RANKS; ++r) {
        const __m256i weights = load_block(a + size_t(r) * ins + b * BLOCK);
        totals[r][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot(weights, values)), scale, totals[r][t]);
      }
    }
  for (int t = 0; t < ROWS; ++t)
    for (int r = 0; r < RANKS; ++r)
      shrunk[size_t(row + t) * stride + rank + r] = sum(totals[r][t]) * lora.scales[rank + r];
}

// The same for ranks [begin, end) and all rows of a segment. `shrunk` is [rows, stride].
inline void shrink(const Lora& lora, int begin, int end, const Segment& segment, const Quantised& x,
                   int ins, float* shrunk, int stride) {
  const int last = segment.begin + segment.count;
  int rank = begin;
  for (; rank + 4 <= end; rank += 4) {
    int row = segment.begin;
    for (; row + 2 <= last; row += 2) shrink_tile<4, 2>(lora, rank, x, row, ins, shrunk, stride);
    if (row < last) shrink_tile<4, 1>(lora, rank, x, row, ins, shrunk, stride);
  }
  for (; rank < end; ++rank)
    for (int row = segment.begin; row < last; ++row)
      shrink_tile<1, 1>(lora, rank, x, row, ins, shrunk, stride);
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
