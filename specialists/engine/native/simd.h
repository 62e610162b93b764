// Vectors of eight floats and of sixteen, as the processor has them, and what is made of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#ifdef __aarch64__
#include "neon.h"
#else
#include "avx.h"
#endif

constexpr int LANES = Eight::COUNT;

// The next multiple of LANES.
inline int filled(int count) { return (count + LANES - 1) / LANES * LANES; }

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

constexpr size_t AHEAD = 4096;  // bytes; what is read once is too short for the processor to foresee

// Asks for what will be read so many bytes from here on; beyond the end it does nothing.
inline void prefetch(const void* from, size_t bytes, size_t ahead) {
  for (size_t at = 0; at < bytes; at += 64)
    __builtin_prefetch(static_cast<const char*>(from) + ahead + at, 0, 2);
}

inline int32_t load_four(const void* from) {
  int32_t bytes;
  __builtin_memcpy(&bytes, from, sizeof bytes);
  return bytes;
}
