// Attention of a prompt's tokens on the matrix unit: what attention.h computes, of numbers rounded to
// bfloat16; sums and the softmax stay in floats.
//
// A row's keys and values are unpacked once for all queries that read them. A token that a query does not
// see has no share in it and changes nothing, to the last bit.
#pragma once

#include "attention.h"
#include "tiles.h"

#ifdef MYRIAD_TILES
static_assert(PAGE == SIDE && AT_ONCE == BLOCK, "two pages are two tiles of keys, and one of values");

// Keys and values of a head, as far as a row goes, as weights for `sum_tiles`.
class Unpacked {
 public:
  Unpacked(const Cache& cache, const int32_t* pages, int kv_head, int tokens)
      : dim_(cache.head_dim), blocks_(blocks_of(tokens)) {
    static thread_local Buffer<uint16_t> key_room, value_room;
    keys_ = key_room.need(tiled_size(blocks_ * BLOCK, dim_));
    values_ = value_room.need(tiled_size(blocks_ * BLOCK, dim_));
    for (int page = 0; page < 2 * blocks_; ++page) {
      const int slots = std::clamp(tokens - page * PAGE, 0, PAGE);
      const size_t at = cache.at(slots > 0 ? pages[page] : 0, kv_head);
      if (slots > 0) unpack_keys(cache.keys + at, page);
      unpack_values(cache.values + at, page, slots);
    }
  }

  int dim() const { return dim_; }

  // Of 32 tokens, [dim / 32, 2, 16 pairs of dims, 16 tokens, 2].
  uint16_t* keys(int block) const { return keys_ + block * tiled_size(BLOCK, dim_); }

  // Of 32 dims, [tokens / 32, 2, 16 pairs of tokens, 16 dims, 2].
  uint16_t* values(int block) const { return values_ + block * tiled_size(BLOCK, blocks_ * BLOCK); }

 private:
  void unpack_keys(const Half* from, int page) {
    for (int d = 0; d < blocks_of(dim_) * BLOCK; d += 2) {
      const int count = d < dim_ ? PAGE : 0;
      uint16_t* to = keys(page / 2) + (d / BLOCK * 2 + page % 2) * TILE + d % BLOCK / 2 * BLOCK;
      put_pairs(from + d * PAGE, from + (d + 1) * PAGE, count, count, to);
    }
  }

  // Nothing is known of slots that nobody has written.
  void unpack_values(const Half* from, int page, int slots) {
    for (int d = 0; d < dim_; d += SIDE) {
      uint16_t* to = values(d / BLOCK) + (page / 2 * 2 + d % BLOCK / SIDE) * TILE;
      to += page % 2 * TILE / 2;
      for (int slot = 0; slot < PAGE; slot += 2, to += BLOCK) {
        const Half* first = from + slot * dim_ + d;
        put_pairs(first, first + dim_, slot < slots ? dim_ - d : 0, slot + 1 < slots ? dim_ - d : 0, to);
      }
    }
  }

  // The first of 16 of both; zeros for the others.
  static void put_pairs(const Half* a, const Half* b, int of_a, int of_b, uint16_t* to) {
    const auto some = [](const Half* from, int count) {
      return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), from));
    };
    _mm512_store_si512(to, paired(some(a, of_a), some(b, of_b)));
  }

  int dim_, blocks_;
  uint16_t *keys_, *values_;
};

// The queries from `first` on, as many as two tiles hold.
inline void attend_together(const Unpacked& unpacked, const Queries& queries, int first) {
  static thread_local Buffer<uint16_t> query_room, share_room;
  const int dim = unpacked.dim(), rows = std::min(AT_ONCE, queries.count() - first);
  const int blocks = blocks_of(queries.seen(first + rows - 1));
  uint16_t* inputs = query_room.need(tiled_size(AT_ONCE, dim));
  uint16_t* shares = share_room.need(tiled_size(AT_ONCE, queries.score_stride));
  for (int r = 0; r < rows; ++r) tile(queries.query(first + r, dim), dim, r, inputs);
  for (int b = 0; b < blocks; ++b)
    sum_tiles(blocks_of(dim), unpacked.keys(b), inputs, rows > SIDE, queries.scores + b * BLOCK,
              queries.score_stride);
  for (int r = 0; r < rows; ++r) {
    float* scores = queries.scores + r * queries.score_stride;
    const int seen = queries.seen(first + r);
    softmax(scores, seen);
    std::fill(scores + seen, scores + blocks * BLOCK, 0.0f);
    tile(scores, blocks * BLOCK, r, shares);
  }
  alignas(64) float sums[AT_ONCE * AT_ONCE];
  for (int d = 0; d < dim; d += AT_ONCE) {
    sum_tiles(blocks, unpacked.values(d / BLOCK), shares, rows > SIDE, sums, AT_ONCE);
    for (int r = 0; r < rows; ++r)
      std::copy_n(sums + r * AT_ONCE, std::min(AT_ONCE, dim - d), queries.answer(first + r, dim) + d);
  }
}

// As `attend`; 32 lines of scores are used, with room for whole blocks of 32 tokens.
inline void attend_tiled(const Cache& cache, const int32_t* pages, int kv_head, const Queries& queries) {
  const Unpacked unpacked(cache, pages, kv_head, queries.longest());
  const Tiling tiling;
  for (int first = 0; first < queries.count(); first += AT_ONCE) attend_together(unpacked, queries, first);
}
#endif
