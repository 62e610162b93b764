// What a product does with the outputs of a stripe, or of two side by side where vectors have 512 bits.
//
// A kind of vector holds STRIPES; where these are two, `next` is how far apart they lie.
#pragma once

#include "simd.h"

struct Narrow {
  static constexpr int STRIPES = 1;
  using Floats = Eight;
  using Integers = ::Integers;
  using Bytes = ::Bytes;

  static Bytes weights(const uint8_t* from, size_t) { return load_block(from); }
  static Floats halves(const uint8_t* from, size_t) {
    return Eight::halves(reinterpret_cast<const Half*>(from));
  }
  static Bytes low(Bytes v) { return low_nibbles(v); }
  static Bytes high(Bytes v) { return high_nibbles(v); }
  static Bytes even(Bytes v) { return even_bytes(v); }
  static Bytes odd(Bytes v) { return odd_bytes(v); }
  static Bytes inputs(const void* four) { return all_fours(load_four(four)); }
  static Integers integers(int value) { return ::integers(value); }
  static Integers add_pairs(Bytes a, Bytes b, Integers to) { return ::add_pairs(a, b, to); }
#ifdef DOT_BYTES
  static Bytes lowered(Bytes v) { return ::lowered(v); }
  static Integers add_products(Bytes a, Bytes b, Integers to) { return ::add_products(a, b, to); }
#endif
  static Floats all(float value) { return Eight::all(value); }
  static Floats floats(Integers v) { return ::floats(v); }
  static Floats add_product(Floats a, Floats b, Floats to) { return fused(a, b, to); }
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
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_block(from)),
                              load_block(from + next), 1);
  }
  static Floats halves(const uint8_t* from, size_t next) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(Narrow::halves(from, 0).values),
                              Narrow::halves(from + next, 0).values, 1);
  }
  static Bytes low(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static Bytes high(Bytes v) { return low(_mm512_srli_epi16(v, 4)); }
  static Bytes even(Bytes v) { return _mm512_and_si512(v, _mm512_set1_epi16(255)); }
  static Bytes odd(Bytes v) { return _mm512_srli_epi16(v, 8); }
  static Bytes inputs(const void* four) { return _mm512_set1_epi32(load_four(four)); }
  static Integers integers(int value) { return _mm512_set1_epi32(value); }
  static Integers add_pairs(Bytes a, Bytes b, Integers to) { return _mm512_dpwssd_epi32(to, a, b); }
  static Bytes lowered(Bytes v) { return v; }
  static Integers add_products(Bytes a, Bytes b, Integers to) { return _mm512_dpbusd_epi32(to, a, b); }
  static Floats all(float value) { return _mm512_set1_ps(value); }
  static Floats floats(Integers v) { return _mm512_cvtepi32_ps(v); }
  static Floats add_product(Floats a, Floats b, Floats to) { return _mm512_fmadd_ps(a, b, to); }
  template <class Write>
  static void write(Floats v, int row, int out, Write&& write) {
    write(row, out, Eight{_mm512_castps512_ps256(v)});
    write(row, out + LANES, Eight{_mm512_extractf32x8_ps(v, 1)});
  }
};
#else
using Wide = Narrow;
#endif
