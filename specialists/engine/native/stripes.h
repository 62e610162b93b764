// What a product does with the outputs of a stripe, or of two side by side where vectors have 512 bits.
//
// A kind of vector has STRIPES, and TILE_ROWS by TILE_VECTORS of them are as many sums as its registers
// hold beside what they are made of. Where two stripes are read, `next` is how far apart they lie.
#pragma once

#include "simd.h"

// Sums of products of unsigned weights and signed inputs, four neighbours to a 32-bit lane.
//
// Without VNNI products are added in 16 bits: 8 times 2 · 15 · 127 stays below 2^15. A weight of 8
// bits is therefore taken as two of 4.
template <int BITS>
struct Dots {
#ifdef DOT_BYTES
  __m256i total = _mm256_setzero_si256();
  void add(__m256i weights, __m256i inputs) { total = DOT_BYTES(total, weights, inputs); }
  __m256i sum() const { return total; }
#else
  __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
  void add(__m256i weights, __m256i inputs) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i first = BITS == 4 ? weights : _mm256_and_si256(weights, nibble);
    low = _mm256_add_epi16(low, _mm256_maddubs_epi16(first, inputs));
    if constexpr (BITS == 8) {
      const __m256i second = _mm256_and_si256(_mm256_srli_epi16(weights, 4), nibble);
      high = _mm256_add_epi16(high, _mm256_maddubs_epi16(second, inputs));
    }
  }
  __m256i sum() const {
    const __m256i lows = _mm256_madd_epi16(low, _mm256_set1_epi16(1));
    if constexpr (BITS == 4) return lows;
    return _mm256_add_epi32(lows, _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
  }
#endif
};

struct Narrow {
  static constexpr int STRIPES = 1, TILE_ROWS = 8, TILE_VECTORS = 1;
  using Floats = __m256;
  using Bytes = __m256i;
  template <int BITS>
  using Sums = Dots<BITS>;

  static Bytes weights(const uint8_t* from, size_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
  static Floats halves(const uint8_t* from, size_t) {
    return load_halves(reinterpret_cast<const Half*>(from));
  }
  static Bytes low(Bytes v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Bytes high(Bytes v) { return low(_mm256_srli_epi16(v, 4)); }
  static Bytes inputs(const int8_t* four) { return _mm256_set1_epi32(load_four(four)); }
  static Floats all(float value) { return _mm256_set1_ps(value); }
  static Floats floats(__m256i v) { return _mm256_cvtepi32_ps(v); }
  static Floats add_product(Floats a, Floats b, Floats to) { return _mm256_fmadd_ps(a, b, to); }
  template <class Write>
  static void write(Floats v, int row, int out, Write&& write) {
    write(row, out, v);
  }
};

#if defined(__AVX512VNNI__) && defined(__AVX512DQ__)
struct Wide {
  static constexpr int STRIPES = 2, TILE_ROWS = 4, TILE_VECTORS = 2;
  using Floats = __m512;
  using Bytes = __m512i;
  template <int BITS>
  struct Sums {
    __m512i total = _mm512_setzero_si512();
    void add(Bytes weights, Bytes inputs) { total = _mm512_dpbusd_epi32(total, weights, inputs); }
    __m512i sum() const { return total; }
  };

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
  static Floats all(float value) { return _mm512_set1_ps(value); }
  static Floats floats(__m512i v) { return _mm512_cvtepi32_ps(v); }
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
