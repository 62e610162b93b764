// What a matrix unit (Intel's AMX) does, for the kernels' tests on processors that lack it but have vectors
// of bfloat16.
#pragma once

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#define __AMX_BF16__ 1

namespace emulated {

constexpr int LINES = 16, LINE = 64;  // of a tile, and bytes of one

inline thread_local uint8_t tiles[8][LINES][LINE];

inline void load(int tile, const void* from, size_t stride) {
  for (int i = 0; i < LINES; ++i)
    std::memcpy(tiles[tile][i], static_cast<const char*>(from) + i * stride, LINE);
}

inline void store(int tile, void* to, size_t stride) {
  for (int i = 0; i < LINES; ++i) std::memcpy(static_cast<char*>(to) + i * stride, tiles[tile][i], LINE);
}

// Adds products of pairs of bfloat16: of a's lines and b's columns.
inline void add_products(int sums, int a, int b) {
  for (int i = 0; i < LINES; ++i) {
    __m512 line = _mm512_loadu_ps(tiles[sums][i]);
    for (int pair = 0; pair < LINES; ++pair) {
      const __m512i two = _mm512_loadu_si512(tiles[b][pair]);
      for (int half = 0; half < 2; ++half) {
        uint16_t bits;
        std::memcpy(&bits, tiles[a][i] + 4 * pair + 2 * half, sizeof bits);
        const __m512i one = _mm512_set1_epi32(int32_t(uint32_t(bits) << 16));
        const __m512i other = half ? _mm512_and_si512(two, _mm512_set1_epi32(int32_t(0xffff0000)))
                                   : _mm512_slli_epi32(two, 16);
        line = _mm512_fmadd_ps(_mm512_castsi512_ps(one), _mm512_castsi512_ps(other), line);
      }
    }
    _mm512_storeu_ps(tiles[sums][i], line);
  }
}

}  // namespace emulated

#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) (void)(config)
#define _tile_release() (void)0
#define _tile_zero(tile) std::memset(emulated::tiles[tile], 0, sizeof emulated::tiles[tile])
#define _tile_loadd(tile, from, stride) emulated::load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) emulated::load(tile, from, stride)
#define _tile_stored(tile, to, stride) emulated::store(tile, to, stride)
#define _tile_dpbf16ps(sums, a, b) emulated::add_products(sums, a, b)
#define syscall(...) 0L  // the system is not asked for room for tiles
