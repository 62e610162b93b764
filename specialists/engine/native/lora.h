// Adapters of a mixed batch: y += (x·Aᵀ)·Bᵀ, each segment of rows with its own A and B.
#pragma once

#include "simd.h"

// Adds ranks [rank, rank + ranks) of the shrunk input to outputs [out, out + outs).
struct Expand {
  int32_t rank, ranks, out, outs;
  const Half* b;  // [outs / 8, ranks, 8], the adapter's scale folded in
};

struct Lora {
  int32_t ranks, parts;
  const Half* a;  // [ranks, ins]
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

// to[r] = x·a[r] for RANKS rows of A, side by side so that additions do not wait for each other.
template <int RANKS>
inline void shrink_row(const Half* a, const float* x, int ins, float* to) {
  __m256 totals[RANKS];
  for (auto& total : totals) total = _mm256_setzero_ps();
  for (int k = 0; k < ins; k += LANES) {
    const __m256 v = _mm256_loadu_ps(x + k);
    for (int r = 0; r < RANKS; ++r)
      totals[r] = _mm256_fmadd_ps(v, load_halves(a + size_t(r) * ins + k), totals[r]);
  }
  for (int r = 0; r < RANKS; ++r) to[r] = sum(totals[r]);
}

// shrunk[row, rank] = x[row]·a[rank] for the segment's rows and ranks [begin, end).
inline void shrink(const Lora& lora, int begin, int end, const Segment& segment, const float* x,
                   int ins, float* shrunk, int stride) {
  const int last = segment.begin + segment.count;
  int rank = begin;
  for (; rank + 4 <= end; rank += 4)
    for (int row = segment.begin; row < last; ++row)
      shrink_row<4>(lora.a + size_t(rank) * ins, x + size_t(row) * ins, ins,
                    shrunk + size_t(row) * stride + rank);
  for (; rank < end; ++rank)
    for (int row = segment.begin; row < last; ++row)
      shrink_row<1>(lora.a + size_t(rank) * ins, x + size_t(row) * ins, ins,
                    shrunk + size_t(row) * stride + rank);
}

// Adds the segment's share to outputs [begin, end) of y [rows, width].
inline void expand(const Lora& lora, const Segment& segment, const float* shrunk, int stride,
                   int begin, int end, float* y, int width) {
  for (const Expand* part = lora.expands; part < lora.expands + lora.parts; ++part) {
    const int first = std::max(begin, part->out), last = std::min(end, part->out + part->outs);
    for (int out = first; out < last; out += LANES) {
      const Half* b = part->b + size_t(out - part->out) * part->ranks;
      for (int row = segment.begin; row < segment.begin + segment.count; ++row) {
        const float* weights = shrunk + size_t(row) * stride + part->rank;
        float* at = y + size_t(row) * width + out;
        __m256 even = _mm256_loadu_ps(at), odd = _mm256_setzero_ps();
        int k = 0;
        for (; k + 1 < part->ranks; k += 2) {
          even = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + k), load_halves(b + k * LANES), even);
          odd = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + k + 1),
                                load_halves(b + (k + 1) * LANES), odd);
        }
        if (k < part->ranks)
          even = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + k), load_halves(b + k * LANES), even);
        _mm256_storeu_ps(at, _mm256_add_ps(even, odd));
      }
    }
  }
}
