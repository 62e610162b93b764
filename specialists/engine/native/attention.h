// Attention of one token's head over the pages of its row, only as far as the row goes.
#pragma once

#include "simd.h"

constexpr int PAGE = 16;

// Keys and values of a layer, each [pages, PAGE, kv_heads, head_dim].
struct Cache {
  Half *keys, *values;
  int kv_heads, head_dim;

  size_t at(int page, int slot, int head) const {
    return ((size_t(page) * PAGE + slot) * kv_heads + head) * head_dim;
  }
};

// out[head_dim] = softmax(q·keys)·values over tokens [0, length) of a row; q is scaled already.
// `scores` has room for them all, rounded up to whole vectors.
inline void attend(const Cache& cache, const int32_t* pages, int length, int head, const float* q,
                   float* scores, float* out) {
  const int dim = cache.head_dim;
  const size_t step = size_t(cache.kv_heads) * dim;
  float peak = -INFINITY;
  for (int token = 0; token < length; token += PAGE) {
    const Half* keys = cache.keys + cache.at(pages[token / PAGE], 0, head);
    for (int slot = 0; slot < std::min(PAGE, length - token); ++slot, keys += step) {
      __m256 total = _mm256_setzero_ps();
      for (int d = 0; d < dim; d += LANES)
        total = _mm256_fmadd_ps(_mm256_loadu_ps(q + d), load_halves(keys + d), total);
      peak = std::max(peak, scores[token + slot] = sum(total));
    }
  }
  const int padded = (length + LANES - 1) / LANES * LANES;
  std::fill(scores + length, scores + padded, -INFINITY);
  __m256 totals = _mm256_setzero_ps();
  for (int token = 0; token < padded; token += LANES) {
    const __m256 e = exponential(_mm256_sub_ps(_mm256_loadu_ps(scores + token), _mm256_set1_ps(peak)));
    _mm256_storeu_ps(scores + token, e);
    totals = _mm256_add_ps(totals, e);
  }
  std::fill(out, out + dim, 0.0f);
  for (int token = 0; token < length; token += PAGE) {
    const Half* values = cache.values + cache.at(pages[token / PAGE], 0, head);
    const int slots = std::min(PAGE, length - token);
    for (int d = 0; d < dim; d += LANES) {
      __m256 total = _mm256_loadu_ps(out + d);
      for (int slot = 0; slot < slots; ++slot)
        total = _mm256_fmadd_ps(_mm256_broadcast_ss(scores + token + slot),
                                load_halves(values + slot * step + d), total);
      _mm256_storeu_ps(out + d, total);
    }
  }
  const __m256 inverse = _mm256_set1_ps(1.0f / sum(totals));
  for (int d = 0; d < dim; d += LANES)
    _mm256_storeu_ps(out + d, _mm256_mul_ps(_mm256_loadu_ps(out + d), inverse));
}
