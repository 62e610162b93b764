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

// What `dots` takes off each weight: those of 4 bits do as they are.
template <int BITS>
constexpr int OFFSET = BITS == 8 ? CENTRE : 0;

#ifdef DOT_BYTES
template <class Vector, int BITS, int ROWS, int VECTORS>
inline void dots(const Weights& weights, const int8_t* inputs, size_t ins,
                 typename Vector::Integers (&sums)[ROWS][VECTORS]) {
  for (auto& row : sums) std::fill(row, row + VECTORS, Vector::integers(0));
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
      if constexpr (BITS == 8) some[v] = Vector::lowered(some[v]);
    }
    add(some, 4 * g);
    if constexpr (BITS == 4) add(high, BLOCK / 2 + 4 * g);
  }
}
#else
// Or compilers multiply ahead of adding, more than registers hold: twice the time.
inline void settle(__m256i& sum) { asm("" : "+x"(sum)); }

// Without VNNI products are added in 16 bits: 8 times 2 · 15 · 127 stays below 2^15.
template <class Vector, int ROWS, int VECTORS>
inline void dots_of_nibbles(const Weights& weights, const int8_t* inputs, size_t ins,
                            __m256i (&sums)[ROWS][VECTORS]) {
  __m256i words[ROWS][VECTORS] = {};
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int g = i / 2, high = i % 2;
    __m256i some[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
      const __m256i both = weights.group<Vector>(v, g);
      some[v] = high ? Vector::high(both) : Vector::low(both);
    }
    for (int r = 0; r < ROWS; ++r) {
      const __m256i four = Vector::inputs(inputs + r * ins + high * BLOCK / 2 + 4 * g);
      for (int v = 0; v < VECTORS; ++v) {
        words[r][v] = _mm256_add_epi16(words[r][v], _mm256_maddubs_epi16(some[v], four));
        settle(words[r][v]);
      }
    }
  }
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v)
      sums[r][v] = _mm256_madd_epi16(words[r][v], _mm256_set1_epi16(1));
}

// Two products of bytes fit 16 bits where one of them has a sign: 2 · 128 · 127 stays below 2^15.
// Weights of 8 bits are therefore taken as signed ones, CENTRE lower, and inputs get their signs.
template <class Vector, int ROWS, int VECTORS>
inline void dots_of_bytes(const Weights& weights, const int8_t* inputs, size_t ins,
                          __m256i (&sums)[ROWS][VECTORS]) {
  for (auto& row : sums) std::fill(row, row + VECTORS, _mm256_setzero_si256());
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    __m256i some[VECTORS], sizes[VECTORS];
    for (int v = 0; v < VECTORS; ++v) {
      some[v] = lowered(weights.group<Vector>(v, g));
      sizes[v] = _mm256_abs_epi8(some[v]);
    }
    for (int r = 0; r < ROWS; ++r) {
      const __m256i four = Vector::inputs(inputs + r * ins + 4 * g);
      for (int v = 0; v < VECTORS; ++v) {
        const __m256i pairs = _mm256_maddubs_epi16(sizes[v], _mm256_sign_epi8(four, some[v]));
        sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        settle(sums[r][v]);
      }
    }
  }
}

template <class Vector, int BITS, int ROWS, int VECTORS>
inline void dots(const Weights& weights, const int8_t* inputs, size_t ins,
                 __m256i (&sums)[ROWS][VECTORS]) {
  if constexpr (BITS == 4)
    dots_of_nibbles<Vector>(weights, inputs, ins, sums);
  else
    dots_of_bytes<Vector>(weights, inputs, ins, sums);
}
#endif
