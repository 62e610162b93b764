// Sums of products of a block's unsigned weights and signed inputs, as integers.
#pragma once

#include "stripes.h"

constexpr int BLOCK = 32;

// A block of each of some stripes: `step` bytes from vector to vector, `next` from stripe to stripe of
// one. Byte 4 · LANES · g + 4 · o + i is the weight of output o and input 4 · g + i; of 4 bits it holds
// two, the higher one of an input half a block further on.
struct Weights {
  const uint8_t* bytes;
  size_t step, next;

  template <class Vector>
  typename Vector::Bytes group(int vector, int group) const {
    return Vector::weights(bytes + vector * step + group * 4 * LANES, next);
  }
};

#ifdef DOT_BYTES
template <class Vector, int BITS, int ROWS, int VECTORS>
inline void dots(const Weights& weights, const int8_t* inputs, size_t ins,
                 typename Vector::Integers (&sums)[ROWS][VECTORS]) {
  for (auto& row : sums) std::fill(row, row + VECTORS, Vector::none());
  const auto add = [&](const auto& some, int at) {
    for (int r = 0; r < ROWS; ++r) {
      const auto four = Vector::inputs(inputs + r * ins + at);
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = Vector::add_products(some[v], four, sums[r][v]);
    }
  };
  for (int g = 0; g < BITS; ++g) {
    typename Vector::Bytes some[VECTORS], high[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
      some[v] = weights.group<Vector>(v, g);
      if constexpr (BITS == 4) high[v] = Vector::high(some[v]), some[v] = Vector::low(some[v]);
    }
    add(some, 4 * g);
    if constexpr (BITS == 4) add(high, BLOCK / 2 + 4 * g);
  }
}
#else
// Without VNNI products are added in 16 bits: 8 times 2 · 15 · 127 stays below 2^15. Weights of 8 bits
// are therefore read twice, the lower half of their bits and the HIGHER.
template <class Vector, int BITS, bool HIGHER, int ROWS, int VECTORS>
inline void add_half(const Weights& weights, const int8_t* inputs, size_t ins,
                     __m256i (&sums)[ROWS][VECTORS]) {
  __m256i words[ROWS][VECTORS] = {};
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int g = BITS == 4 ? i / 2 : i;
    const bool high = BITS == 4 ? i % 2 : HIGHER;
    __m256i some[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
      const __m256i both = weights.group<Vector>(v, g);
      some[v] = high ? Vector::high(both) : Vector::low(both);
    }
    const int8_t* from = inputs + 4 * g + (BITS == 4 && high ? BLOCK / 2 : 0);
    for (int r = 0; r < ROWS; ++r) {
      const __m256i four = Vector::inputs(from + r * ins);
      for (int v = 0; v < VECTORS; ++v) {
        words[r][v] = _mm256_add_epi16(words[r][v], _mm256_maddubs_epi16(some[v], four));
        // Or compilers multiply ahead of adding, more than registers hold: twice the time.
        asm("" : "+x"(words[r][v]));
      }
    }
  }
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v) {
      const __m256i wide = _mm256_madd_epi16(words[r][v], _mm256_set1_epi16(HIGHER ? 16 : 1));
      sums[r][v] = HIGHER ? _mm256_add_epi32(sums[r][v], wide) : wide;
    }
}

template <class Vector, int BITS, int ROWS, int VECTORS>
inline void dots(const Weights& weights, const int8_t* inputs, size_t ins,
                 __m256i (&sums)[ROWS][VECTORS]) {
  add_half<Vector, BITS, false>(weights, inputs, ins, sums);
  if constexpr (BITS == 8) add_half<Vector, BITS, true>(weights, inputs, ins, sums);
}
#endif
