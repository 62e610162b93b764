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

inline float sum(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

inline float largest(__m256 v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// So many floats.
struct Eight {
  static constexpr int COUNT = 8;
  __m256 values = _mm256_setzero_ps();

  static Eight halves(const Half* from) { return {load_halves(from)}; }
  static Eight load(const float* from) { return {_mm256_loadu_ps(from)}; }
  static Eight all(float value) { return {_mm256_set1_ps(value)}; }
  void store(float* to) const { _mm256_storeu_ps(to, values); }

  friend Eight operator+(Eight a, Eight b) { return {a.values + b.values}; }
  friend Eight operator-(Eight a, Eight b) { return {a.values - b.values}; }
  friend Eight operator*(Eight a, Eight b) { return {a.values * b.values}; }
  friend Eight operator/(Eight a, Eight b) { return {a.values / b.values}; }
  // a·b + c, rounded once.
  friend Eight fused(Eight a, Eight b, Eight c) { return {_mm256_fmadd_ps(a.values, b.values, c.values)}; }
  friend Eight larger(Eight a, Eight b) { return {_mm256_max_ps(a.values, b.values)}; }
  friend Eight smaller(Eight a, Eight b) { return {_mm256_min_ps(a.values, b.values)}; }
  friend Eight rounded(Eight a) {
    return {_mm256_round_ps(a.values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // a·2^n for whole numbers n, as far as 2^n is a normal number.
  friend Eight scaled(Eight a, Eight n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.values), _mm256_set1_epi32(127));
    return {a.values * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
  }
  // a where x reaches `least`, else 0.
  friend Eight where(Eight x, Eight least, Eight a) {
    return {_mm256_and_ps(a.values, _mm256_cmp_ps(x.values, least.values, _CMP_NLT_UQ))};
  }
  friend float sum(Eight a) { return sum(a.values); }
  friend float largest(Eight a) { return largest(a.values); }
};

#ifdef __AVX512F__
struct Sixteen {
  static constexpr int COUNT = 16, TOGETHER = 12;  // as many fit the registers
  __m512 values = _mm512_setzero_ps();

  static Sixteen halves(const Half* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static Sixteen load(const float* from) { return {_mm512_loadu_ps(from)}; }
  static Sixteen all(float value) { return {_mm512_set1_ps(value)}; }
  void store(float* to) const { _mm512_storeu_ps(to, values); }

  friend Sixteen operator+(Sixteen a, Sixteen b) { return {a.values + b.values}; }
  friend Sixteen operator-(Sixteen a, Sixteen b) { return {a.values - b.values}; }
  friend Sixteen operator*(Sixteen a, Sixteen b) { return {a.values * b.values}; }
  friend Sixteen operator/(Sixteen a, Sixteen b) { return {a.values / b.values}; }
  friend Sixteen fused(Sixteen a, Sixteen b, Sixteen c) {
    return {_mm512_fmadd_ps(a.values, b.values, c.values)};
  }
  friend Sixteen larger(Sixteen a, Sixteen b) { return {_mm512_max_ps(a.values, b.values)}; }
  friend Sixteen smaller(Sixteen a, Sixteen b) { return {_mm512_min_ps(a.values, b.values)}; }
  friend Sixteen rounded(Sixteen a) {
    return {_mm512_roundscale_ps(a.values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  friend Sixteen scaled(Sixteen a, Sixteen n) { return {_mm512_scalef_ps(a.values, n.values)}; }
  friend Sixteen where(Sixteen x, Sixteen least, Sixteen a) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.values, least.values, _CMP_NLT_UQ), a.values)};
  }
  friend float sum(Sixteen a) { return _mm512_reduce_add_ps(a.values); }
  friend float largest(Sixteen a) { return _mm512_reduce_max_ps(a.values); }
};
#else
struct Sixteen {
  static constexpr int COUNT = 16, TOGETHER = 6;
  Eight low, high;

  static Sixteen halves(const Half* from) { return {Eight::halves(from), Eight::halves(from + 8)}; }
  static Sixteen load(const float* from) { return {Eight::load(from), Eight::load(from + 8)}; }
  static Sixteen all(float value) { return {Eight::all(value), Eight::all(value)}; }
  void store(float* to) const { low.store(to), high.store(to + 8); }

  friend Sixteen operator+(Sixteen a, Sixteen b) { return {a.low + b.low, a.high + b.high}; }
  friend Sixteen operator-(Sixteen a, Sixteen b) { return {a.low - b.low, a.high - b.high}; }
  friend Sixteen operator*(Sixteen a, Sixteen b) { return {a.low * b.low, a.high * b.high}; }
  friend Sixteen operator/(Sixteen a, Sixteen b) { return {a.low / b.low, a.high / b.high}; }
  friend Sixteen fused(Sixteen a, Sixteen b, Sixteen c) {
    return {fused(a.low, b.low, c.low), fused(a.high, b.high, c.high)};
  }
  friend Sixteen larger(Sixteen a, Sixteen b) { return {larger(a.low, b.low), larger(a.high, b.high)}; }
  friend Sixteen smaller(Sixteen a, Sixteen b) { return {smaller(a.low, b.low), smaller(a.high, b.high)}; }
  friend Sixteen rounded(Sixteen a) { return {rounded(a.low), rounded(a.high)}; }
  friend Sixteen scaled(Sixteen a, Sixteen n) { return {scaled(a.low, n.low), scaled(a.high, n.high)}; }
  friend Sixteen where(Sixteen x, Sixteen least, Sixteen a) {
    return {where(x.low, least.low, a.low), where(x.high, least.high, a.high)};
  }
  friend float sum(Sixteen a) { return sum(a.low + a.high); }
  friend float largest(Sixteen a) { return largest(larger(a.low, a.high)); }
};
#endif

// e^x within 2 units in the last place (Cephes' polynomial); 0 below -87.3.
inline Sixteen exponential(Sixteen x) {
  const Sixteen least = Sixteen::all(-87.336544f), one = Sixteen::all(1.0f);
  const Sixteen kept = smaller(larger(x, least), Sixteen::all(88.3762626647949f));
  const Sixteen n = rounded(kept * Sixteen::all(1.44269504088896341f));
  Sixteen r = fused(n, Sixteen::all(-0.693359375f), kept);
  r = fused(n, Sixteen::all(2.12194440e-4f), r);
  Sixteen y = Sixteen::all(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                        5.0000001201e-1f})
    y = fused(y, r, Sixteen::all(c));
  return where(x, least, scaled(fused(y, r * r, r + one), n));
}

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

// The sums of four vectors.
inline __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}
