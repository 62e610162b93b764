// Vectors on Arm: those of 128 bits (NEON) with products of bytes, two for each of AVX2's.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

using Half = uint16_t;  // IEEE 754 binary16, as bits

inline float single(Half half) {
  __fp16 value;
  std::memcpy(&value, &half, sizeof value);
  return value;
}

// So many floats.
struct Eight {
  static constexpr int COUNT = 8;
  float32x4_t low = vdupq_n_f32(0), high = vdupq_n_f32(0);

  static Eight halves(const Half* from) {
    const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(from));
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  static Eight load(const float* from) { return {vld1q_f32(from), vld1q_f32(from + 4)}; }
  static Eight all(float value) { return {vdupq_n_f32(value), vdupq_n_f32(value)}; }
  // Of numbers in bfloat16.
  static Eight brains(const uint16_t* from) {
    const uint16x8_t halves = vld1q_u16(from);
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
  }
  void store(float* to) const { vst1q_f32(to, low), vst1q_f32(to + 4, high); }
  void store_halves(Half* to) const {
    vst1q_u16(to, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(low), high)));
  }
  // Rounded to whole numbers of one byte each; there must be some that are near enough.
  void store_bytes(int8_t* to) const {
    const int16x8_t words = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(low)), vcvtnq_s32_f32(high));
    vst1_s8(to, vqmovn_s16(words));
  }

  friend Eight operator+(Eight a, Eight b) { return {a.low + b.low, a.high + b.high}; }
  friend Eight operator-(Eight a, Eight b) { return {a.low - b.low, a.high - b.high}; }
  friend Eight operator*(Eight a, Eight b) { return {a.low * b.low, a.high * b.high}; }
  friend Eight operator/(Eight a, Eight b) { return {a.low / b.low, a.high / b.high}; }
  // a·b + c, rounded once.
  friend Eight fused(Eight a, Eight b, Eight c) {
    return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
  }
  friend Eight larger(Eight a, Eight b) { return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)}; }
  friend Eight smaller(Eight a, Eight b) { return {vminq_f32(a.low, b.low), vminq_f32(a.high, b.high)}; }
  friend Eight magnitude(Eight a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
  friend Eight rounded(Eight a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }
  // a·2^n for whole numbers n, as far as 2^n is a normal number.
  friend Eight scaled(Eight a, Eight n) {
    const auto power = [](float32x4_t n) {
      const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
      return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
    };
    return {a.low * power(n.low), a.high * power(n.high)};
  }
  // a where x reaches `least`, else 0.
  friend Eight where(Eight x, Eight least, Eight a) {
    const auto kept = [](float32x4_t x, float32x4_t least, float32x4_t a) {
      return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), vcltq_f32(x, least)));
    };
    return {kept(x.low, least.low, a.low), kept(x.high, least.high, a.high)};
  }
  // Those from lane `first` on, then zeros.
  friend Eight from_lane(Eight a, int first) {
    float lanes[2 * COUNT];
    a.store(lanes);
    Eight().store(lanes + COUNT);
    return load(lanes + first);
  }
  friend float sum(Eight a) { return vaddvq_f32(a.low + a.high); }
  friend float largest(Eight a) { return vmaxvq_f32(vmaxq_f32(a.low, a.high)); }
};

// The sums of four vectors.
inline void store_sums(Eight a, Eight b, Eight c, Eight d, float* to) {
  const float32x4_t ab = vpaddq_f32(a.low + a.high, b.low + b.high);
  vst1q_f32(to, vpaddq_f32(ab, vpaddq_f32(c.low + c.high, d.low + d.high)));
}

// 32 of them.
struct Bytes {
  int8x16_t low, high;
};

// Eight of 32 bits.
struct Integers {
  int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
};

inline Integers integers(int value) { return {vdupq_n_s32(value), vdupq_n_s32(value)}; }
inline Eight floats(Integers v) { return {vcvtq_f32_s32(v.low), vcvtq_f32_s32(v.high)}; }
inline Bytes load_block(const void* from) {
  const auto* bytes = static_cast<const int8_t*>(from);
  return {vld1q_s8(bytes), vld1q_s8(bytes + 16)};
}
// The same four bytes, again and again.
inline Bytes all_fours(int32_t four) {
  const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
  return {all, all};
}
inline Bytes low_nibbles(Bytes v) {
  const int8x16_t mask = vdupq_n_s8(15);
  return {vandq_s8(v.low, mask), vandq_s8(v.high, mask)};
}
inline Bytes high_nibbles(Bytes v) {
  const auto shifted = [](int8x16_t v) {
    return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(v), 4));
  };
  return {shifted(v.low), shifted(v.high)};
}

// Every other byte, as 16 bits.
inline Bytes even_bytes(Bytes v) {
  const uint16x8_t mask = vdupq_n_u16(255);
  const auto even = [mask](int8x16_t v) {
    return vreinterpretq_s8_u16(vandq_u16(vreinterpretq_u16_s8(v), mask));
  };
  return {even(v.low), even(v.high)};
}
inline Bytes odd_bytes(Bytes v) {
  const auto odd = [](int8x16_t v) {
    return vreinterpretq_s8_u16(vshrq_n_u16(vreinterpretq_u16_s8(v), 8));
  };
  return {odd(v.low), odd(v.high)};
}

// Instructions add four products of bytes with signs to each of four integers. What weights without a
// sign are lowered by, to be multiplied:
#define DOT_BYTES
constexpr int CENTRE = 128;
inline Bytes lowered(Bytes v) {
  const int8x16_t centre = vdupq_n_s8(int8_t(CENTRE));
  return {veorq_s8(v.low, centre), veorq_s8(v.high, centre)};
}
inline Integers add_products(Bytes a, Bytes b, Integers to) {
  return {vdotq_s32(to.low, a.low, b.low), vdotq_s32(to.high, a.high, b.high)};
}

// The sums of four products each of bytes with signs.
inline Integers signed_products(Bytes a, Bytes b) { return add_products(a, b, {}); }

// Adds two products each of numbers of 16 bits.
inline Integers add_pairs(Bytes a, Bytes b, Integers to) {
  const auto four = [](int8x16_t some, int8x16_t others) {
    const int16x8_t a = vreinterpretq_s16_s8(some), b = vreinterpretq_s16_s8(others);
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
  };
  return {vaddq_s32(to.low, four(a.low, b.low)), vaddq_s32(to.high, four(a.high, b.high))};
}
