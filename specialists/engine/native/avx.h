// Vectors on x86: AVX2, FMA and F16C, and more where there is more.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

using Half = uint16_t;  // IEEE 754 binary16, as bits

inline float single(Half half) { return _cvtsh_ss(half); }

// So many floats.
struct Eight {
  static constexpr int COUNT = 8;
  __m256 values = _mm256_setzero_ps();

  static Eight halves(const Half* from) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
  }
  static Eight load(const float* from) { return {_mm256_loadu_ps(from)}; }
  static Eight all(float value) { return {_mm256_set1_ps(value)}; }
  // Of numbers in bfloat16.
  static Eight brains(const uint16_t* from) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16))};
  }
  void store(float* to) const { _mm256_storeu_ps(to, values); }
  void store_halves(Half* to) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
  }
  // Rounded to whole numbers of one byte each; there must be some that are near enough.
  void store_bytes(int8_t* to) const {
    const __m256i whole = _mm256_cvtps_epi32(values);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
  }

  friend Eight operator+(Eight a, Eight b) { return {a.values + b.values}; }
  friend Eight operator-(Eight a, Eight b) { return {a.values - b.values}; }
  friend Eight operator*(Eight a, Eight b) { return {a.values * b.values}; }
  friend Eight operator/(Eight a, Eight b) { return {a.values / b.values}; }
  // a·b + c, rounded once.
  friend Eight fused(Eight a, Eight b, Eight c) { return {_mm256_fmadd_ps(a.values, b.values, c.values)}; }
  friend Eight larger(Eight a, Eight b) { return {_mm256_max_ps(a.values, b.values)}; }
  friend Eight smaller(Eight a, Eight b) { return {_mm256_min_ps(a.values, b.values)}; }
  friend Eight magnitude(Eight a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.values)}; }
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
  // Those from lane `first` on, then zeros.
  friend Eight from_lane(Eight a, int first) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i there = _mm256_cmpgt_epi32(_mm256_set1_epi32(COUNT - first), lanes);
    const __m256i order = _mm256_add_epi32(lanes, _mm256_set1_epi32(first));
    return {_mm256_and_ps(_mm256_permutevar8x32_ps(a.values, order), _mm256_castsi256_ps(there))};
  }
  friend float sum(Eight a) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.values), _mm256_extractf128_ps(a.values, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  friend float largest(Eight a) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a.values), _mm256_extractf128_ps(a.values, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
};

// The sums of four vectors.
inline void store_sums(Eight a, Eight b, Eight c, Eight d, float* to) {
  const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a.values, b.values), _mm256_hadd_ps(c.values, d.values));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
}

using Bytes = __m256i;     // 32 of them
using Integers = __m256i;  // eight of 32 bits

inline Integers integers(int value) { return _mm256_set1_epi32(value); }
inline Eight floats(Integers v) { return {_mm256_cvtepi32_ps(v)}; }
inline Bytes load_block(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
// The same four bytes, again and again.
inline Bytes all_fours(int32_t four) { return _mm256_set1_epi32(four); }
inline Bytes low_nibbles(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
inline Bytes high_nibbles(Bytes v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
// Every other byte, as 16 bits.
inline Bytes even_bytes(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi16(255)); }
inline Bytes odd_bytes(Bytes v) { return _mm256_srli_epi16(v, 8); }

// Instructions that add four products of bytes, of which the first have no sign, to each of eight
// integers: with AVX-512, or without.
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define DOT_BYTES _mm256_dpbusd_epi32
#elif defined(__AVXVNNI__)
#define DOT_BYTES _mm256_dpbusd_avx_epi32
#endif

#ifdef DOT_BYTES
constexpr int CENTRE = 0;  // what weights without a sign are lowered by, to be multiplied
inline Bytes lowered(Bytes v) { return v; }
inline Integers add_products(Bytes a, Bytes b, Integers to) { return DOT_BYTES(to, a, b); }
#else
constexpr int CENTRE = 128;
inline Bytes lowered(Bytes v) { return v ^ _mm256_set1_epi8(char(CENTRE)); }
#endif

// The sums of four products each of bytes with signs.
inline Integers signed_products(Bytes a, Bytes b) {
  const __m256i sizes = _mm256_abs_epi8(a), signs = _mm256_sign_epi8(b, a);
#ifdef DOT_BYTES
  return DOT_BYTES(_mm256_setzero_si256(), sizes, signs);
#else
  return _mm256_madd_epi16(_mm256_maddubs_epi16(sizes, signs), _mm256_set1_epi16(1));
#endif
}

// Adds two products each of numbers of 16 bits.
inline Integers add_pairs(Bytes a, Bytes b, Integers to) {
  return _mm256_add_epi32(to, _mm256_madd_epi16(a, b));
}
