// Products with packed weights, the inputs quantised row by row.
//
// Weights are cut into stripes of 8 outputs, and these into blocks of 32 inputs. A block holds 8
// scales d and 8 minima m in binary16, then q, 4 or 8 bits each: a weight is d·q + m. Inputs are cut
// alike: 32 integers in [-127, 127] of one scale, as in llama.cpp's Q8_1.
#pragma once

#include "simd.h"

constexpr int BLOCK = 32;

struct Linear {
  int32_t outs, ins, bits;
  const uint8_t* stripes;

  int blocks() const { return ins / BLOCK; }
  int block_bytes() const { return 2 * LANES * int(sizeof(Half)) + bits * BLOCK; }
  const uint8_t* stripe(int out) const {
    return stripes + size_t(out / LANES) * blocks() * block_bytes();
  }
};

// Rows of inputs, quantised. `sums` are of the quantised values, times their scale.
struct Quantised {
  int8_t* values;  // [rows, ins]
  float* scales;   // [rows, ins / BLOCK]
  float* sums;     // [rows, ins / BLOCK]
};

inline void quantise(const float* x, int ins, int row, const Quantised& to) {
  const int blocks = ins / BLOCK;
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  for (int b = 0; b < blocks; ++b) {
    __m256 part[4], peak = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      part[i] = _mm256_loadu_ps(x + b * BLOCK + i * LANES);
      peak = _mm256_max_ps(peak, _mm256_and_ps(part[i], magnitude));
    }
    const float scale = largest(peak) / 127.0f;
    const __m256 inverse = _mm256_set1_ps(scale > 0 ? 1.0f / scale : 0.0f);
    __m256i total = _mm256_setzero_si256();
    int8_t* out = to.values + size_t(row) * ins + b * BLOCK;
    for (int i = 0; i < 4; ++i) {
      const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(part[i], inverse));
      total = _mm256_add_epi32(total, q);
      const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out + i * LANES), _mm_packs_epi16(words, words));
    }
    to.scales[size_t(row) * blocks + b] = scale;
    to.sums[size_t(row) * blocks + b] = scale * sum(_mm256_cvtepi32_ps(total));
  }
}

// Sums of products of unsigned weights and signed inputs, four neighbours to a 32-bit lane.
//
// Without VNNI products are added in 16 bits: 8 times 2 · 15 · 127 stays below 2^15. A weight of 8
// bits is therefore taken as two of 4.
template <int BITS>
struct Dots {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  __m256i total = _mm256_setzero_si256();
  void add(__m256i weights, __m256i inputs) { total = _mm256_dpbusd_epi32(total, weights, inputs); }
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

// One stripe for ROWS rows: out[row] = 8 outputs.
template <int BITS, int ROWS>
inline void multiply_tile(const Linear& linear, const uint8_t* stripe, const Quantised& x, int row,
                          __m256* out) {
  const int blocks = linear.blocks(), ins = linear.ins;
  const __m256i nibble = _mm256_set1_epi8(15);
  for (int r = 0; r < ROWS; ++r) out[r] = _mm256_setzero_ps();
  for (int b = 0; b < blocks; ++b, stripe += linear.block_bytes()) {
    const int8_t* values = x.values + size_t(row) * ins + b * BLOCK;
    const uint8_t* q = stripe + 2 * LANES * sizeof(Half);
    if constexpr (ROWS == 1) prefetch(stripe, linear.block_bytes(), AHEAD);
    Dots<BITS> dots[ROWS];
    for (int g = 0; g < BITS; ++g) {
      const __m256i weights =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + g * 4 * LANES));
      if constexpr (BITS == 8) {
        for (int r = 0; r < ROWS; ++r)
          dots[r].add(weights, broadcast_bytes(values + size_t(r) * ins + 4 * g));
      } else {
        const __m256i low = _mm256_and_si256(weights, nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(weights, 4), nibble);
        for (int r = 0; r < ROWS; ++r) {
          dots[r].add(low, broadcast_bytes(values + size_t(r) * ins + 4 * g));
          dots[r].add(high, broadcast_bytes(values + size_t(r) * ins + BLOCK / 2 + 4 * g));
        }
      }
    }
    const __m256 d = load_halves(reinterpret_cast<const Half*>(stripe));
    const __m256 m = load_halves(reinterpret_cast<const Half*>(stripe) + LANES);
    for (int r = 0; r < ROWS; ++r) {
      const size_t at = size_t(row + r) * blocks + b;
      const __m256 scaled = _mm256_mul_ps(d, _mm256_broadcast_ss(x.scales + at));
      out[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[r].sum()), scaled, out[r]);
      out[r] = _mm256_fmadd_ps(m, _mm256_broadcast_ss(x.sums + at), out[r]);
    }
  }
}

// Calls `write(row, out, outputs)` for every row and every stripe of outputs in [begin, end).
template <int BITS, class Write>
void multiply_stripes(const Linear& linear, const Quantised& x, int rows, int begin, int end,
                      Write&& write) {
  for (int out = begin; out < end; out += LANES) {
    const uint8_t* stripe = linear.stripe(out);
    __m256 tile[8];
    int row = 0;
    const auto done = [&](int count) {
      for (int r = 0; r < count; ++r) write(row + r, out, tile[r]);
      row += count;
    };
    while (rows - row >= 8) multiply_tile<BITS, 8>(linear, stripe, x, row, tile), done(8);
    if (rows - row >= 4) multiply_tile<BITS, 4>(linear, stripe, x, row, tile), done(4);
    if (rows - row >= 2) multiply_tile<BITS, 2>(linear, stripe, x, row, tile), done(2);
    if (rows - row >= 1) multiply_tile<BITS, 1>(linear, stripe, x, row, tile), done(1);
  }
}

template <class Write>
void multiply(const Linear& linear, const Quantised& x, int rows, int begin, int end,
              Write&& write) {
  if (linear.bits == 4)
    multiply_stripes<4>(linear, x, rows, begin, end, write);
  else
    multiply_stripes<8>(linear, x, rows, begin, end, write);
}

// The weights of one output, as floats: a row of an embedding.
inline void unpack_row(const Linear& linear, int out, float* to) {
  const int lane = out % LANES;
  const uint8_t* block = linear.stripe(out);
  for (int b = 0; b < linear.blocks(); ++b, block += linear.block_bytes()) {
    const Half* scales = reinterpret_cast<const Half*>(block);
    const float d = _cvtsh_ss(scales[lane]), m = _cvtsh_ss(scales[LANES + lane]);
    const uint8_t* q = block + 2 * LANES * sizeof(Half) + lane * 4;
    for (int k = 0; k < BLOCK; ++k) {
      const int group = k / 4 % (linear.bits == 4 ? 4 : 8);
      const uint8_t byte = q[group * 4 * LANES + k % 4];
      const int value = linear.bits == 8 ? byte : k < BLOCK / 2 ? byte & 15 : byte >> 4;
      to[b * BLOCK + k] = d * value + m;
    }
  }
}
