// Attention of one token over the pages of its row, only as far as the row goes.
#pragma once

#include "simd.h"

constexpr int PAGE = 16;

// Keys and values of a layer, each [pages, kv_heads, PAGE, head_dim].
struct Cache {
  Half *keys, *values;
  int kv_heads, head_dim;

  size_t at(int page, int slot, int head) const {
    return ((size_t(page) * kv_heads + head) * PAGE + slot) * head_dim;
  }
};

// The sums of four vectors.
inline __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

// scores[PAGE] = keys [PAGE, dim] · q; those of slots that nobody has written mean nothing.
inline void score_page(const Half* keys, int dim, const float* q, float* scores) {
  for (int slot = 0; slot < PAGE; slot += 4, keys += 4 * dim) {
    __m256 totals[4];
    std::fill(totals, totals + 4, _mm256_setzero_ps());
    for (int d = 0; d < dim; d += LANES) {
      const __m256 query = _mm256_loadu_ps(q + d);
      for (int s = 0; s < 4; ++s)
        totals[s] = _mm256_fmadd_ps(query, load_halves(keys + s * dim + d), totals[s]);
    }
    _mm_storeu_ps(scores + slot, sums(totals[0], totals[1], totals[2], totals[3]));
  }
}

// out[dim] += weights[slots] · values [slots, dim].
inline void add_page(const Half* values, int slots, int dim, const float* weights, float* out) {
  for (int d = 0; d < dim; d += LANES) {
    __m256 total = _mm256_loadu_ps(out + d);
    for (int slot = 0; slot < slots; ++slot)
      total = _mm256_fmadd_ps(_mm256_broadcast_ss(weights + slot),
                              load_halves(values + slot * dim + d), total);
    _mm256_storeu_ps(out + d, total);
  }
}

// scores[length] = softmax(scores).
inline void softmax(float* scores, int length) {
  const int padded = (length + LANES - 1) / LANES * LANES;
  std::fill(scores + length, scores + padded, -INFINITY);
  __m256 peaks = _mm256_set1_ps(-INFINITY), totals = _mm256_setzero_ps();
  for (int at = 0; at < padded; at += LANES)
    peaks = _mm256_max_ps(_mm256_loadu_ps(scores + at), peaks);
  const __m256 peak = _mm256_set1_ps(largest(peaks));
  for (int at = 0; at < padded; at += LANES) {
    const __m256 e = exponential(_mm256_sub_ps(_mm256_loadu_ps(scores + at), peak));
    _mm256_storeu_ps(scores + at, e);
    totals = _mm256_add_ps(totals, e);
  }
  const __m256 inverse = _mm256_set1_ps(1.0f / sum(totals));
  for (int at = 0; at < padded; at += LANES)
    _mm256_storeu_ps(scores + at, _mm256_mul_ps(_mm256_loadu_ps(scores + at), inverse));
}

// out[heads, dim] = softmax(q·keys)·values over tokens [0, length) of a row, for heads that share
// one head of keys and values; q [heads, dim] is scaled already. `scores` is [heads, stride], with
// room for whole pages.
inline void attend(const Cache& cache, const int32_t* pages, int length, int kv_head, int heads,
                   const float* q, float* scores, int stride, float* out) {
  const int dim = cache.head_dim;
  const size_t bytes = PAGE * dim * sizeof(Half);
  const auto each_page = [&](const Half* from, auto&& work) {
    for (int token = 0; token < length; token += PAGE) {
      const int page = token / PAGE;
      if (token + PAGE < length) prefetch(from + cache.at(pages[page + 1], 0, kv_head), bytes, 0);
      for (int head = 0; head < heads; ++head)
        work(from + cache.at(pages[page], 0, kv_head), token, head);
    }
  };
  each_page(cache.keys, [&](const Half* keys, int token, int head) {
    score_page(keys, dim, q + head * dim, scores + size_t(head) * stride + token);
  });
  for (int head = 0; head < heads; ++head) softmax(scores + size_t(head) * stride, length);
  std::fill(out, out + heads * dim, 0.0f);
  each_page(cache.values, [&](const Half* values, int token, int head) {
    add_page(values, std::min(PAGE, length - token), dim, scores + size_t(head) * stride + token,
             out + head * dim);
  });
}
