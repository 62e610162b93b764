// What a product does with the outputs of a stripe, or of two side by side where vectors have 512 bits.
//
// A kind of vector holds STRIPES; where these are two, `next` is how far apart they lie.
#pragma once

#include "simd.h"

struct Narrow {
  static constexpr int STRIPES = 1;
  using Floats = __m256;
  using Integers = __m256i;
  using Bytes = __m256i;

  static Bytes weights(const uint8_t* from, size_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Floats halves(const uint8_t* from, size_t) {
    return load_halves(reinterpret_cast<const Half*>(from));
  }
  static Bytes low(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Bytes high(Bytes v) { return low(_mm256_srli_epi16(v, 4)); }
  static Bytes inputs(const int8_t* four) { return _mm256_set1_epi32(load_four(four)); }
#ifdef DOT_BYTES
  static Integers none() { return _mm256_setzero_si256(); }
  static Integers add_products(Bytes a, Bytes b, Integers to) { return DOT_BYTES(to, a, b); }
#endif
  static Floats all(float value) { return _mm256_set1_ps(value); }
  static Floats floats(Integers v) { return _mm256_cvtepi32_ps(v); }
  static Floats add_product(Floats a, Floats b, Floats to) { return _mm256_fmadd_ps(a, b, to); }
  template <class Write>
  static void write(Floats v, int row, int out, Write&& write) {
    write(row, out, v);
  }
};

#if defined(__AVX512VNNI__) && defined(__AVX512DQ__)
struct Wide {
  static constexpr int STRIPES = 2;
  using Floats = __m512;
  using Integers = __m512i;
  using Bytes = __m512i;

  static Bytes weights(const uint8_t* from, size_t next) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(Narrow::weights(from, 0)),
                              Narrow::weights(from + next, 0), 1);
  }
  static Floats halves(const uint8_t* from, size_t next) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(Narrow::halves(from, 0)),
                              Narrow::halves(from + next, 0), 1);
  }
  static Bytes low(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static Bytes high(Bytes v) { return low(_mm512_srli_epi16(v, 4)); }
  static Bytes inputs(const int8_t* four) { return _mm512_set1_epi32(load_four(four)); }
  static Integers none() { return _mm512_setzero_si512(); }
  static Integers add_products(Bytes a, Bytes b, Integers to) { return _mm512_dpbusd_epi32(to, a, b); }
  static Floats all(float value) { return _mm512_set1_ps(value); }
  static Floats floats(Integers v) { return _mm512_cvtepi32_ps(v); }
  static Floats add_product(Floats a, Floats b, Floats to) { return _mm512_fmadd_ps(a, b, to); }
  template <class Write>
  static void write(Floats v, int row, int out, Write&& write) {
    write(row, out, _mm512_castps512_ps256(v));
    write(row, out + LANES, _mm512_extractf32x8_ps(v, 1));
  }
};
#else
using Wide = Narrow;
#endif
