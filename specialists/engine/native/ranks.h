// What shrinking does with vectors: of 512 bits where there are any.
#pragma once

#include "simd.h"

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
  float summed() const { return _mm512_reduce_add_ps(total); }
};
#else
constexpr int SHRUNK_BLOCKS = 1;

struct Inputs {
  Bytes values;
  Eight scales;

  Inputs(const int8_t* from, const float* scale, int)
      : values(load_block(from)), scales(Eight::all(*scale)) {}
};

struct Shrunk {
  Eight total;
  void add(const int8_t* a, const Inputs& x) {
    total = fused(floats(signed_products(x.values, load_block(a))), x.scales, total);
  }
  float summed() const { return sum(total); }
};
#endif
