// Adapters of prompts' tokens on the matrix unit: as lora.h, but with inputs and what they are shrunk to
// rounded to bfloat16.
//
// An adapter's share is added while the base's sums are still in their tiles, as if the inputs went on
// with the shrunk ones and the weights with B. Rows of other adapters are zeros there, which change
// nothing, to the last bit.
#pragma once

#include "lora.h"
#include "tiles.h"

#ifdef MYRIAD_TILES
// Blocks that shrunk inputs take: each part begins with one of its own.
inline int rank_blocks(const Lora& lora) {
  int blocks = 0;
  for (int p = 0; p < lora.parts; ++p) blocks += blocks_of(lora.expands[p].ranks);
  return blocks;
}

// Calls `work(part, rank, block)` for every block of up to 32 ranks of each part.
template <class Work>
void each_block(const Lora& lora, Work&& work) {
  int block = 0;
  for (const Expand* part = lora.expands; part < lora.expands + lora.parts; ++part)
    for (int rank = 0; rank < part->ranks; rank += BLOCK) work(*part, rank, block++);
}

// Up to 32 ranks of A [ranks, ins] as weights [ins / 32, 2, 16 pairs of inputs, 16 ranks, 2].
inline void unpack_a(const int8_t* a, int ranks, int ins, uint16_t* to) {
  const __m512i lines = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places = _mm512_mullo_epi32(lines, _mm512_set1_epi32(ins));
  for (int t = 0; t < 2; ++t, a += size_t(SIDE) * ins, ranks -= SIDE) {
    const __mmask16 there = first_lanes(ranks);
    for (int i = 0; i < ins; i += 4) {
      // Four inputs of each rank, the first one in the lowest byte.
      const __m512i four = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), there, places, a + i, 1);
      const auto input = [&](int which) {
        return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(four, 24 - 8 * which), 24));
      };
      uint16_t* pairs = to + (i / BLOCK * 2 + t) * TILE + i % BLOCK * SIDE;
      _mm512_store_si512(pairs, paired(input(0), input(1)));
      _mm512_store_si512(pairs + BLOCK, paired(input(2), input(3)));
    }
  }
}

// Up to 32 ranks of B as weights [2, 16 pairs of ranks, 16 outputs, 2] of 32 outputs from `out` on; zeros
// for outputs that are not the part's.
inline void unpack_b(const Adapter& adapter, const Expand& part, int rank, int out, uint16_t* to) {
  const int some = std::min(words(part.ranks - rank), BLOCK / WORD);
  const auto word = [&](int out, int which) {
    if (out < part.out || out >= part.out + part.outs) return _mm256_set1_epi8(char(RAISED));
    return load_block(adapter.b(part, out) + (rank / WORD + which) * WORDS);
  };
  const auto number = [](__m512i both, int byte) {
    const __m512i raised = _mm512_and_si512(_mm512_srli_epi32(both, 8 * byte), _mm512_set1_epi32(255));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(raised, _mm512_set1_epi32(RAISED)));
  };
  for (int t = 0; t < 2; ++t, out += SIDE, to += TILE) {
    for (int w = 0; w < some; ++w) {
      const __m256i low = word(out, w), high = word(out + LANES, w);
      const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
      _mm512_store_si512(to + 2 * w * BLOCK, paired(number(both, 0), number(both, 2)));
      _mm512_store_si512(to + (2 * w + 1) * BLOCK, paired(number(both, 1), number(both, 3)));
    }
    std::fill(to + 2 * some * BLOCK, to + TILE, 0);
  }
}

// A segment of the tokens that go by tiles, with room for what its inputs are shrunk to:
// [rows / 16, blocks of ranks, 16, 32] from row `first` on.
struct TiledSegment {
  int begin, end;
  const Adapter* adapter;
  uint16_t* shrunk;

  int first() const { return begin / AT_ONCE * AT_ONCE; }
  size_t size(int groups) const {
    int blocks = 0;
    for (int group = 0; group < groups; ++group) blocks = std::max(blocks, rank_blocks(lora(group)));
    return tiled_size(blocks_of(end - first()) * AT_ONCE, blocks * BLOCK);
  }
  const Lora& lora(int group) const { return adapter->groups[group]; }
  uint16_t* block(const Lora& lora, int row, int block) const {
    return shrunk + ((row - first()) / SIDE * rank_blocks(lora) + block) * TILE;
  }
};

// Keeps sums [32, 32] of rows from `row` on as a block of shrunk inputs, each of the ranks by its scale.
inline void keep_shrunk(const TiledSegment& segment, const Lora& lora, int block, const float* scales,
                        int ranks, int row, const float* sums) {
  const __m512 low = _mm512_maskz_loadu_ps(first_lanes(ranks), scales);
  const __m512 high = _mm512_maskz_loadu_ps(first_lanes(ranks - SIDE), scales + SIDE);
  for (int r = 0; r < AT_ONCE; ++r) {
    const __mmask16 mine = row + r >= segment.begin && row + r < segment.end ? 0xffff : 0;
    const __m512 first = _mm512_maskz_mul_ps(mine, _mm512_load_ps(sums + r * AT_ONCE), low);
    const __m512 second = _mm512_maskz_mul_ps(mine, _mm512_load_ps(sums + r * AT_ONCE + SIDE), high);
    put_rounded(first, second, segment.block(lora, row + r / SIDE * SIDE, block) + r % SIDE * BLOCK);
  }
}

// Shrinks those of inputs [begin, end) that are the segment's; `begin` is a multiple of 32.
inline void shrink_tiled(const TiledSegment& segment, int group, const uint16_t* inputs, int ins,
                         int begin, int end) {
  static thread_local Buffer<uint16_t> room;
  const int first = std::max(begin, segment.first()), last = std::min(end, segment.end);
  if (first >= last) return;
  const Lora& lora = segment.lora(group);
  const float* scales = segment.adapter->scales + lora.scales;
  uint16_t* weights = room.need(tiled_size(AT_ONCE, ins));
  alignas(64) float sums[AT_ONCE * AT_ONCE];
  const Tiling tiling;
  each_block(lora, [&](const Expand& part, int rank, int block) {
    const int ranks = part.ranks - rank, at = part.rank + rank;
    unpack_a(segment.adapter->a(lora, at, ins), ranks, ins, weights);
    for (int row = first; row < last; row += AT_ONCE) {
      sum_tiles(ins / BLOCK, weights, inputs + size_t(row) * ins, end - row > SIDE, sums, AT_ONCE);
      keep_shrunk(segment, lora, block, scales + at, ranks, row, sums);
    }
  });
}

// What a group's adapters add to the sums of a product.
class TiledShares {
 public:
  TiledShares(const std::vector<TiledSegment>& segments, int group)
      : segments_(segments), group_(group) {}

  // To those of 32 rows from `row` on, and as many outputs from `out` on.
  void add(int row, int out) {
    for (const TiledSegment& segment : segments_)
      if (segment.begin < row + AT_ONCE && segment.end > row) add(segment, row, out);
  }

 private:
  void add(const TiledSegment& segment, int row, int out) {
    const Lora& lora = segment.lora(group_);
    uint16_t* weights = room(lora);
    const bool known = &segment == segment_ && out == out_;
    each_block(lora, [&](const Expand& part, int rank, int block) {
      if (part.out >= out + AT_ONCE || part.out + part.outs <= out) return;
      uint16_t* b = weights + block * 2 * TILE;
      if (!known) unpack_b(*segment.adapter, part, rank, out, b);
      add_products(1, b, segment.block(lora, row, block), rank_blocks(lora) * TILE, true, [](int) {});
    });
    segment_ = &segment, out_ = out;
  }

  static uint16_t* room(const Lora& lora) {
    static thread_local Buffer<uint16_t> room;
    return room.need(rank_blocks(lora) * 2 * TILE);
  }

  const std::vector<TiledSegment>& segments_;
  const int group_;
  const TiledSegment* segment_ = nullptr;
  int out_ = 0;
};
#endif
