// Vectors of eight floats, and what else the kernels need of AVX2, FMA and F16C.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

constexpr int LANES = 8;

// The next multiple of LANES.
inline int filled(int count) { return (count + LANES - 1) / LANES * LANES; }

using Half = uint16_t;  // IEEE 754 binary16, as bits

inline __m256 load_halves(const Half* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

inline void store_halves(Half* to, __m256 values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
}

// So many floats, to which products are added.
struct Eight {
  static constexpr int COUNT = 8;
  __m256 values = _mm256_setzero_ps();

  static Eight halves(const Half* from) { return {load_halves(from)}; }
  static Eight load(const float* from) { return {_mm256_loadu_ps(from)}; }
  void store(float* to) const { _mm256_storeu_ps(to, values); }
  void add_product(float by, const Eight& other) {
    values = _mm256_fmadd_ps(_mm256_set1_ps(by), other.values, values);
  }
};

#ifdef __AVX512F__
struct Sixteen {
  static constexpr int COUNT = 16, TOGETHER = 12;  // as many fit the registers
  __m512 values = _mm512_setzero_ps();

  static Sixteen halves(const Half* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Sixteen load(const float* from) { return {_mm512_loadu_ps(from)}; }
  void store(float* to) const { _mm512_storeu_ps(to, values); }
  void add_product(float by, const Sixteen& other) {
    values = _mm512_fmadd_ps(_mm512_set1_ps(by), other.values, values);
  }
};
#else
struct Sixteen {
  static constexpr int COUNT = 16, TOGETHER = 6;
  Eight low, high;

  static Sixteen halves(const Half* from) { return {Eight::halves(from), Eight::halves(from + 8)}; }
  static Sixteen load(const float* from) { return {Eight::load(from), Eight::load(from + 8)}; }
  void store(float* to) const { low.store(to), high.store(to + 8); }
  void add_product(float by, const Sixteen& other) {
    low.add_product(by, other.low), high.add_product(by, other.high);
  }
};
#endif

inline __m256i load_block(const int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Eight of them as floats.
inline __m256 load_bytes(const int8_t* from) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}

constexpr size_t AHEAD = 4096;  // bytes; what is read once is too short for the processor to foresee

// Asks for what will be read so many bytes from here on; beyond the end it does nothing.
inline void prefetch(const void* from, size_t bytes, size_t ahead) {
  for (size_t at = 0; at < bytes; at += 64)
    _mm_prefetch(static_cast<const char*>(from) + ahead + at, _MM_HINT_T1);
}

inline int32_t load_four(const int8_t* from) {
  int32_t bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return bytes;
}

// Instructions that add four products of bytes to each 32-bit lane: with AVX-512, or without.
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define DOT_BYTES _mm256_dpbusd_epi32
#elif defined(__AVXVNNI__)
#define DOT_BYTES _mm256_dpbusd_avx_epi32
#endif

inline float sum(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// The sums of four vectors.
inline __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

inline float largest(__m256 v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// e^x within 2 units in the last place (Cephes' polynomial); 0 below -87.3.
inline __m256 exponential(__m256 x) {
  const __m256 low = _mm256_set1_ps(-87.336544f);
  const __m256 vanishes = _mm256_cmp_ps(x, low, _CMP_LT_OQ);
  x = _mm256_min_ps(_mm256_max_ps(x, low), _mm256_set1_ps(88.3762626647949f));
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                      _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                        5.0000001201e-1f})
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(c));
  y = _mm256_fmadd_ps(y, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_andnot_ps(vanishes, _mm256_mul_ps(y, _mm256_castsi256_ps(exponent)));
}
