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

// shrunk[row, rank] = x[row]·a[rank] for the segment's rows.
inline void shrink(const Lora& lora, int rank, const Segment& segment, const float* x, int ins,
                   float* shrunk, int stride) {
  const Half* a = lora.a + size_t(rank) * ins;
  for (int row = segment.begin; row < segment.begin + segment.count; row += 4) {
    const int rows = std::min(4, segment.begin + segment.count - row);
    __m256 totals[4] = {};
    for (int k = 0; k < ins; k += LANES) {
      const __m256 weights = load_halves(a + k);
      for (int r = 0; r < rows; ++r)
        totals[r] = _mm256_fmadd_ps(_mm256_loadu_ps(x + size_t(row + r) * ins + k), weights, totals[r]);
    }
    for (int r = 0; r < rows; ++r) shrunk[size_t(row + r) * stride + rank] = sum(totals[r]);
  }
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
