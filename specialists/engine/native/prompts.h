// The tokens of a step that go through the matrix unit: those of prompts, where there is one.
#pragma once

#include <numeric>
#include <vector>

#include "team.h"
#include "tiled_attention.h"
#include "tiled_lora.h"

#ifdef MYRIAD_TILES
class Prompts {
 public:
  explicit Prompts(const Team& team) : team_(team) {}

  // For `count` tokens from `first` on, with inputs of up to `widest`, and their segments.
  void prepare(int first, int count, int widest, const Segment* segments, int number, int groups) {
    first_ = first, count_ = count;
    tiles_ = tile_room_.need(tiled_size(count, widest));
    segments_.clear();
    std::vector<size_t> sizes;
    for (const Segment* s = segments; s < segments + number; ++s) {
      segments_.push_back({s->begin - first, s->begin - first + s->count, s->adapter, nullptr});
      sizes.push_back(segments_.back().size(groups));
    }
    uint16_t* shrunk = shrunk_room_.need(std::accumulate(sizes.begin(), sizes.end(), size_t(0)));
    for (size_t s = 0; s < sizes.size(); shrunk += sizes[s++]) segments_[s].shrunk = shrunk;
  }

  bool adapted() const { return !segments_.empty(); }

  // A token's input, as a product takes it.
  void ready(const float* input, int width, int token) { tile(input, width, token - first_, tiles_); }

  // What adapters shrink a group's inputs to; between members it needs a barrier.
  void shrink(int group, int member, int ins) const {
    const Share rows = share(member);
    for (size_t s = 0; s < segments_.size(); ++s)
      if (many() || int(s) % team_.size() == member)
        shrink_tiled(segments_[s], group, tiles_, ins, rows.begin, rows.end);
  }

  // Calls `write(token, out, outputs)` for this member's part of a product, adapters included.
  template <class Write>
  void multiply(const Linear& linear, int group, int member, Write&& write) const {
    if (count_ == 0) return;
    const Share rows = share(member);
    const Share outs(linear.outs, many() ? 0 : member, many() ? 1 : team_.size(), LANES);
    TiledShares shares(segments_, group);
    multiply_tiled(
        linear, tiles_ + size_t(rows.begin) * linear.ins, rows.end - rows.begin, outs.begin, outs.end,
        [&](int row, int out) { shares.add(rows.begin + row, out); },
        [&](int row, int out, Eight v) { write(first_ + rows.begin + row, out, v); });
  }

 private:
  static constexpr int MANY = 64;  // tokens for each member

  // Of many tokens each member multiplies its own, so that what it reads and writes stays near it; of
  // few, weights are unpacked by one member each.
  bool many() const { return count_ >= MANY * team_.size(); }
  Share share(int member) const {
    return {count_, many() ? member : 0, many() ? team_.size() : 1, AT_ONCE};
  }

  const Team& team_;
  int first_, count_;
  uint16_t* tiles_;
  std::vector<TiledSegment> segments_;
  Buffer<uint16_t> tile_room_, shrunk_room_;
};
#else
inline void attend_tiled(const Cache&, const int32_t*, int, const Queries&) {}

struct Prompts {
  explicit Prompts(const Team&) {}
  void prepare(int, int, int, const Segment*, int, int) {}
  bool adapted() const { return false; }
  void ready(const float*, int, int) {}
  void shrink(int, int, int) const {}
  template <class Write>
  void multiply(const Linear&, int, int, Write&&) const {}
};
#endif
