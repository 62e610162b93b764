// Products on a processor's matrix unit (Intel AMX), where there is one; they pay for many rows.
//
// A tile is 16 rows of 64 bytes. Inputs and weights are rounded to bfloat16, sums are floats. Weights
// are unpacked for each product, two tiles of 16 outputs at a time, which then serve all rows.
#pragma once

#include <cstring>

#include "buffer.h"
#include "linear.h"

constexpr int AT_ONCE = 32;  // rows, and outputs, that four tiles hold the sums of

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__AVX512VNNI__) && defined(__AVX512DQ__)
#define MYRIAD_TILES
#include <sys/syscall.h>
#include <unistd.h>

// Tiles are large, so that Linux wants to be asked for room to keep them when threads change.
inline bool may_tile() {
  constexpr int REQUEST_STATE = 0x1023, TILE_DATA = 18;  // of asm/prctl.h, which older systems lack
  static const bool allowed = syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
  return allowed;
}

constexpr int SIDE = AT_ONCE / 2;      // rows of a tile; outputs, of one of weights
constexpr size_t TILE = SIDE * BLOCK;  // numbers in bfloat16

// What is in memory is there for the unit: GCC's instructions do not tell that they read it.
inline void written() { asm volatile("" ::: "memory"); }

// A thread's tiles, from here to the end of the scope: 0 to 3 are sums, 4 and 5 inputs, 6 and 7 weights.
class Tiling {
 public:
  Tiling() {
    Config config{.palette = 1};
    std::fill_n(config.bytes, 8, 64);
    std::fill_n(config.rows, 8, SIDE);
    written();
    _tile_loadconfig(&config);
  }
  ~Tiling() { _tile_release(); }

 private:
  struct alignas(64) Config {
    uint8_t palette, start, none[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  };
};

inline int blocks_of(int count) { return (count + BLOCK - 1) / BLOCK; }

// Numbers that so many rows take, [rows / 16, blocks of inputs, 16, 32].
inline size_t tiled_size(int rows, int ins) { return (rows + SIDE - 1) / SIDE * TILE * blocks_of(ins); }

// The first of 16 lanes.
inline __mmask16 first_lanes(int count) { return _bzhi_u32(0xffff, std::clamp(count, 0, SIDE)); }

// 32 numbers, rounded to the nearest in bfloat16.
inline void put_rounded(__m512 low, __m512 high, uint16_t* to) {
  const auto both = _mm512_cvtne2ps_pbh(high, low);
  std::memcpy(to, &both, sizeof both);
}

// A row of inputs, put among them; zeros fill its last block.
inline void tile(const float* x, int ins, int row, uint16_t* to) {
  to += row / SIDE * TILE * blocks_of(ins) + size_t(row % SIDE) * BLOCK;
  for (int i = 0; i < ins; i += BLOCK, to += TILE) {
    const __m512 low = _mm512_maskz_loadu_ps(first_lanes(ins - i), x + i);
    const __m512 high = _mm512_maskz_loadu_ps(first_lanes(ins - i - SIDE), x + i + SIDE);
    put_rounded(low, high, to);
  }
}

// Pairs of bfloat16, of two inputs' weights for each of 16 outputs.
inline __m512i paired(__m512 first, __m512 second) {
  const __m512i half = _mm512_set1_epi32(0x8000), low = _mm512_set1_epi32(0xffff);
  const __m512i a = _mm512_add_epi32(_mm512_castps_si512(first), half);
  const __m512i b = _mm512_add_epi32(_mm512_castps_si512(second), half);
  return _mm512_ternarylogic_epi32(low, _mm512_srli_epi32(a, 16), b, 0xca);  // low ? a : b
}

// 1 + q / 2^BITS, put together of a float's bits; the first bit of q is bit AT.
template <int BITS, int AT>
inline __m512 fraction(__m512i q) {
  constexpr int UP = 23 - BITS - AT;  // to the first bits of a float's fraction
  if constexpr (UP > 0) q = _mm512_slli_epi32(q, UP);
  if constexpr (UP < 0) q = _mm512_srli_epi32(q, -UP);
  const __m512i bits = _mm512_set1_epi32(((1 << BITS) - 1) << (23 - BITS));
  const __m512i one = _mm512_castps_si512(_mm512_set1_ps(1));
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(q, bits, one, 0xea));  // q & bits | one
}

// A block of two stripes, `next` bytes apart, as a tile: [16 pairs of inputs, 16 outputs, 2].
template <int BITS>
inline void unpack_tile(const uint8_t* block, size_t next, uint16_t* to) {
  const __m512 d = _mm512_mul_ps(Wide::halves(block, next), Wide::all(1 << BITS));
  const __m512 m = _mm512_sub_ps(Wide::halves(block + SCALES / 2, next), d);
  const auto put = [&](int pair, __m512 first, __m512 second) {
    const __m512i both = paired(_mm512_fmadd_ps(first, d, m), _mm512_fmadd_ps(second, d, m));
    _mm512_store_si512(to + pair * BLOCK, both);
  };
#pragma GCC unroll 8
  for (int group = 0; group < BITS; ++group) {
    const __m512i q = Wide::weights(block + SCALES + group * 4 * LANES, next);
    put(2 * group, fraction<BITS, 0>(q), fraction<BITS, 8>(q));
    put(2 * group + 1, fraction<BITS, 16>(q), fraction<BITS, 24>(q));
    if constexpr (BITS == 4) {
      put(2 * group + 8, fraction<BITS, 4>(q), fraction<BITS, 12>(q));
      put(2 * group + 9, fraction<BITS, 20>(q), fraction<BITS, 28>(q));
    }
  }
}

// The stripes of two tiles of weights; where outputs end before these do, some of them again.
class Stripes {
 public:
  Stripes(const Linear& linear, int begin, int end) : linear_(linear) {
    for (int t = 0; t < 2; ++t) {
      const int out = begin + t * SIDE;
      first_[t] = linear.stripe(out < end ? out : begin);
      next_[t] = out + LANES < end ? bytes() : 0;
    }
  }

  int blocks() const { return linear_.blocks(); }

  template <int BITS>
  void unpack(int block, uint16_t* to) const {
    for (int t = 0; t < 2; ++t) {
      const uint8_t* from = first_[t] + size_t(block) * linear_.block_bytes();
      prefetch(from, linear_.block_bytes(), 4 * bytes());  // of the next two tiles
      prefetch(from + next_[t], linear_.block_bytes(), 4 * bytes());
      unpack_tile<BITS>(from, next_[t], to + t * TILE);
    }
  }

 private:
  size_t bytes() const { return size_t(linear_.blocks()) * linear_.block_bytes(); }

  const Linear& linear_;
  const uint8_t* first_[2];
  size_t next_[2];
};

inline void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// Adds products of one or `both` tiles of 16 rows, `second` numbers apart, to sums [32, 32]; weights are
// [blocks, 2, 16 pairs of inputs, 16 outputs, 2], and `prepare` is called before a block's are read.
template <class Prepare>
inline void add_products(int blocks, const uint16_t* weights, const uint16_t* inputs, size_t second,
                         bool both, Prepare&& prepare) {
  constexpr size_t ROW = SIDE * sizeof(float);
  for (int b = 0; b < blocks; ++b, weights += 2 * TILE, inputs += TILE) {
    prepare(b);
    written();
    _tile_loadd(6, weights, ROW);
    _tile_loadd(7, weights + TILE, ROW);
    _tile_stream_loadd(4, inputs, ROW);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!both) continue;
    _tile_stream_loadd(5, inputs + second, ROW);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// In lines of `stride`.
inline void store_sums(float* sums, size_t stride) {
  _tile_stored(0, sums, stride * sizeof(float));
  _tile_stored(1, sums + SIDE, stride * sizeof(float));
  _tile_stored(2, sums + SIDE * stride, stride * sizeof(float));
  _tile_stored(3, sums + SIDE * stride + SIDE, stride * sizeof(float));
}

// All three, of weights that are there.
inline void sum_tiles(int blocks, const uint16_t* weights, const uint16_t* inputs, bool both, float* sums,
                      size_t stride) {
  clear_sums();
  add_products(blocks, weights, inputs, blocks * TILE, both, [](int) {});
  store_sums(sums, stride);
}

template <int BITS, class Add, class Write>
void multiply_tiled(const Linear& linear, const uint16_t* inputs, int rows, int begin, int end, Add&& add,
                    Write&& write) {
  static thread_local Buffer<uint16_t> room;
  uint16_t* weights = room.need(size_t(linear.ins) * AT_ONCE);
  alignas(64) float sums[AT_ONCE * AT_ONCE];
  const Tiling tiling;
  for (int out = begin; out < end; out += AT_ONCE) {
    const Stripes stripes(linear, out, end);
    for (int row = 0; row < rows; row += AT_ONCE) {
      const uint16_t* from = inputs + size_t(row) * linear.ins;
      clear_sums();
      add_products(stripes.blocks(), weights, from, stripes.blocks() * TILE, rows - row > SIDE,
                   [&](int block) {
                     if (row == 0) stripes.unpack<BITS>(block, weights + block * 2 * TILE);
                   });
      add(row, out);
      store_sums(sums, AT_ONCE);
      for (int r = 0; r < std::min(AT_ONCE, rows - row); ++r)
        for (int o = 0; o < std::min(AT_ONCE, end - out); o += LANES)
          write(row + r, out + o, Eight::load(sums + r * AT_ONCE + o));
    }
  }
}

// As `multiply` of products.h, from tiles of inputs; `add(row, out)` may add to the sums of 32 rows and
// outputs.
template <class Add, class Write>
void multiply_tiled(const Linear& linear, const uint16_t* inputs, int rows, int begin, int end, Add&& add,
                    Write&& write) {
  if (linear.bits == 4)
    multiply_tiled<4>(linear, inputs, rows, begin, filled(end), add, write);
  else
    multiply_tiled<8>(linear, inputs, rows, begin, filled(end), add, write);
}
#else
inline bool may_tile() { return false; }
#endif
