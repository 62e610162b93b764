// What AVX-VNNI's product of bytes does, for the kernels' tests on processors that lack it.
#pragma once

#include <immintrin.h>

#include <cstdint>

inline __m256i products_of_bytes(__m256i to, __m256i unsigned_bytes, __m256i signed_bytes) {
  alignas(32) int32_t sums[8];
  alignas(32) uint8_t a[32];
  alignas(32) int8_t b[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(sums), to);
  _mm256_store_si256(reinterpret_cast<__m256i*>(a), unsigned_bytes);
  _mm256_store_si256(reinterpret_cast<__m256i*>(b), signed_bytes);
  for (int i = 0; i < 32; ++i) sums[i / 4] += a[i] * b[i];
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(sums));
}

#define DOT_BYTES products_of_bytes
