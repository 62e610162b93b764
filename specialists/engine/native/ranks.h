// What shrinking and expanding do with vectors: of 512 bits where there are any.
#pragma once

#include "simd.h"

constexpr int QUAD = 4;  // ranks that are expanded at once

inline int quads(int ranks) { return (ranks + QUAD - 1) / QUAD; }

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
constexpr int SHRUNK_BLOCKS = 2;  // blocks of inputs that are shrunk at once

// Inputs of one row. Products are of unsigned and signed numbers, therefore 128 is added to weights,
// and what that adds is taken off first.
struct Inputs {
  __m512i values, bias;
  __m512 scales;
  __mmask64 there;

  Inputs(const int8_t* from, const float* scale, int blocks)
      : there(blocks < SHRUNK_BLOCKS ? ~0u : ~0ull) {
    values = _mm512_maskz_loadu_epi8(there, from);
    const __m512i added = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(-128), values);
    bias = _mm512_sub_epi32(_mm512_setzero_si512(), added);
    scales = _mm512_set1_ps(scale[0]);
    if (blocks >= SHRUNK_BLOCKS) scales = _mm512_mask_mov_ps(scales, 0xff00, _mm512_set1_ps(scale[1]));
  }
};

struct Shrunk {
  __m512 total = _mm512_setzero_ps();
  void add(const int8_t* a, const Inputs& x) {
    const __m512i weights = _mm512_maskz_loadu_epi8(x.there, a) ^ _mm512_set1_epi8(-128);
    const __m512i dots = _mm512_dpbusd_epi32(x.bias, weights, x.values);
    total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), x.scales, total);
  }
  float sum() const { return _mm512_reduce_add_ps(total); }
};

// Products of 8 outputs' weights with inputs of 16 bits, a quad of ranks at a time.
struct Expanded {
  __m512i total = _mm512_setzero_si512();
  void add(const int8_t* b, const int16_t* inputs) {
    const __m512i weights = _mm512_cvtepi8_epi16(load_block(b));
    total = _mm512_dpwssd_epi32(total, weights, _mm512_loadu_si512(inputs));
  }
  __m256 sum() const {
    const __m256i low = _mm512_castsi512_si256(total), high = _mm512_extracti64x4_epi64(total, 1);
    return _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
  }
};
#else
constexpr int SHRUNK_BLOCKS = 1;

struct Inputs {
  __m256i values, magnitudes;
  __m256 scales;

  Inputs(const int8_t* from, const float* scale, int) {
    values = load_block(from);
    magnitudes = _mm256_abs_epi8(values);
    scales = _mm256_broadcast_ss(scale);
  }
};

struct Shrunk {
  __m256 total = _mm256_setzero_ps();
  void add(const int8_t* a, const Inputs& x) {
    const __m256i weights = _mm256_sign_epi8(load_block(a), x.values);
#ifdef DOT_BYTES
    const __m256i dots = DOT_BYTES(_mm256_setzero_si256(), x.magnitudes, weights);
#else
    const __m256i pairs = _mm256_maddubs_epi16(x.magnitudes, weights);
    const __m256i dots = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
    total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), x.scales, total);
  }
  float sum() const { return ::sum(total); }
};

struct Expanded {
  __m256i total = _mm256_setzero_si256();
  void add(const int8_t* b, const int16_t* inputs) {
    for (int half = 0; half < 2; ++half) {
      const auto* weights = reinterpret_cast<const __m128i*>(b) + half;
      const auto* values = reinterpret_cast<const __m256i*>(inputs) + half;
      const __m256i products = _mm256_madd_epi16(
          _mm256_cvtepi8_epi16(_mm_loadu_si128(weights)), _mm256_loadu_si256(values));
      total = _mm256_add_epi32(total, products);
    }
  }
  __m256 sum() const { return _mm256_cvtepi32_ps(total); }
};
#endif
