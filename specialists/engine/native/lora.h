// Adapters of a mixed batch: y += (x·Aᵀ)·Bᵀ, each segment of rows with its own A and B.
//
// Of many adapters each is read once in a step and used for a row or two: what counts is their bytes.
// Matrices are therefore of 8 bits, with one scale for each rank, A's and B's in one number.
#pragma once

#include <bit>

#include "products.h"
#include "ranks.h"

// Four ranks of an output of B are a word: the first, the third, the second, the fourth.
constexpr int WORD = 4;
constexpr int WORDS = WORD * LANES;  // bytes of a word of each output of a stripe
constexpr int RAISED = 128;          // is added to them, so that they need no sign

inline int words(int ranks) { return (ranks + WORD - 1) / WORD; }

// Adds ranks [rank, rank + ranks) of the shrunk input to outputs [out, out + outs).
struct Expand {
  int32_t rank, ranks, out, outs;
  int64_t b;  // in the matrices, [outs / 8, words(ranks), 8, 4]
};

// Where one group of an adapter lies; adapters that were trained alike share it.
struct Lora {
  int32_t ranks, parts;
  int64_t a;       // in the matrices, [ranks, ins]
  int64_t scales;  // in the scales, [ranks]
  const Expand* expands;

  // Calls `work(part, begin, end)` for every part with outputs in [begin, end), and these.
  template <class Work>
  void each_part(int begin, int end, Work&& work) const {
    for (const Expand* part = expands; part < expands + parts; ++part) {
      const int first = std::max(begin, part->out), last = std::min(end, part->out + part->outs);
      if (first < last) work(*part, first, last);
    }
  }
};

struct Adapter {
  const Lora* groups;  // [layers, 4]; those without ranks change nothing
  const int8_t* matrices;
  const float* scales;

  const int8_t* a(const Lora& lora, int rank, int ins) const {
    return matrices + lora.a + size_t(rank) * ins;
  }
  // The stripe of an output.
  const uint8_t* b(const Expand& part, int out) const {
    const size_t stripe = size_t(out - part.out) / LANES;
    return reinterpret_cast<const uint8_t*>(matrices + part.b) + stripe * words(part.ranks) * WORDS;
  }
};

// Rows [begin, begin + count) of a batch go through one adapter.
struct Segment {
  int32_t begin, count;
  const Adapter* adapter;

  const Lora& lora(int group) const { return adapter->groups[group]; }
};

// shrunk[row, rank] = x[row]·a[rank]·scale[rank] for a tile of both.
template <int RANKS, int ROWS>
inline void shrink_tile(const int8_t* a, const float* scales, int rank, const Quantised& x, int row,
                        int ins, float* shrunk, int stride) {
  a += size_t(rank) * ins;
  const int blocks = ins / BLOCK;
  prefetch(a, size_t(RANKS) * ins, AHEAD);
  Shrunk totals[RANKS][ROWS];
  for (int b = 0; b < blocks; b += SHRUNK_BLOCKS)
    for (int t = 0; t < ROWS; ++t) {
      const Inputs inputs(x.values + size_t(row + t) * ins + b * BLOCK,
                          x.scales + size_t(row + t) * blocks + b, blocks - b);
      for (int r = 0; r < RANKS; ++r) totals[r][t].add(a + size_t(r) * ins + b * BLOCK, inputs);
    }
  for (int t = 0; t < ROWS; ++t)
    for (int r = 0; r < RANKS; ++r)
      shrunk[size_t(row + t) * stride + rank + r] = totals[r][t].summed() * scales[rank + r];
}

// The same for ranks [begin, end) and all rows of a segment. `shrunk` is [rows, stride].
inline void shrink(const Lora& lora, int begin, int end, const Segment& segment, const Quantised& x,
                   int ins, float* shrunk, int stride) {
  const int last = segment.begin + segment.count;
  const int8_t* a = segment.adapter->a(lora, 0, ins);
  const float* scales = segment.adapter->scales + lora.scales;
  int rank = begin;
  for (; rank + 4 <= end; rank += 4) {
    int row = segment.begin;
    for (; row + 2 <= last; row += 2) shrink_tile<4, 2>(a, scales, rank, x, row, ins, shrunk, stride);
    if (row < last) shrink_tile<4, 1>(a, scales, rank, x, row, ins, shrunk, stride);
  }
  for (; rank < end; ++rank)
    for (int row = segment.begin; row < last; ++row)
      shrink_tile<1, 1>(a, scales, rank, x, row, ins, shrunk, stride);
}

constexpr int EXPANDED_ROWS = 4;  // that share what is read of B
constexpr int LARGEST = 32767;

// What a row's inputs of 16 bits are multiples of, and how many they are together.
struct Whole {
  float step;
  int32_t sum;
};

// Shrunk inputs in 16 bits, filled up to whole words; what is not finite makes the step so.
inline Whole whole(const float* shrunk, int ranks, int16_t* to) {
  int32_t peak = 0, sum = 0;
  for (int r = 0; r < ranks; ++r) peak = std::max(peak, std::bit_cast<int32_t>(shrunk[r]) & INT32_MAX);
  // The sum of all products must fit 32 bits.
  const float most = std::min(LARGEST, INT32_MAX / RAISED / ranks);
  const float step = std::bit_cast<float>(peak) / most, inverse = step > 0 ? 1 / step : 0;
  for (int r = 0; r < ranks; ++r) {
    // A float of this size ends with the bits of a whole number.
    constexpr float SHIFT = 3 << 22;
    const float shifted = shrunk[r] * inverse + SHIFT;
    to[r] = int16_t(std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(SHIFT));
    sum += to[r];
  }
  std::fill(to + ranks, to + words(ranks) * WORD, 0);
  return {step, sum};
}

// Adds what `count` words of each output of a vector, from `b` on, make of ROWS rows' inputs.
template <class Vector, int ROWS>
inline void expand_vector(const uint8_t* b, int count, const int16_t* inputs, const Whole* rows, float* y,
                          int width) {
  typename Vector::Integers totals[ROWS];
  for (int row = 0; row < ROWS; ++row) totals[row] = Vector::integers(-RAISED * rows[row].sum);
  for (int w = 0; w < count; ++w) {
    const auto word = Vector::weights(b + w * WORDS, size_t(count) * WORDS);
    const auto first = Vector::even(word), second = Vector::odd(word);
    for (int row = 0; row < ROWS; ++row) {
      const int16_t* four = inputs + (row * count + w) * WORD;
      totals[row] = Vector::add_pairs(first, Vector::inputs(four), totals[row]);
      totals[row] = Vector::add_pairs(second, Vector::inputs(four + 2), totals[row]);
    }
  }
  for (int row = 0; row < ROWS; ++row)
    Vector::write(Vector::floats(totals[row]), row, 0, [&](int row, int out, Eight v) {
      float* to = y + size_t(row) * width + out;
      fused(v, Eight::all(rows[row].step), Eight::load(to)).store(to);
    });
}

// Adds a part's share to outputs [begin, end) of ROWS rows of y [ROWS, width]; `room` is for as many
// rows' inputs.
template <int ROWS>
inline void expand_tile(const Adapter& adapter, const Expand& part, const float* shrunk, int stride,
                        int16_t* room, int begin, int end, float* y, int width) {
  const int count = words(part.ranks);
  Whole rows[ROWS];
  for (int row = 0; row < ROWS; ++row)
    rows[row] = whole(shrunk + size_t(row) * stride, part.ranks, room + row * count * WORD);
  const auto vectors = [&](auto vector, int out) {
    using Vector = decltype(vector);
    constexpr int WIDTH = Vector::STRIPES * LANES;
    for (; out + WIDTH <= end; out += WIDTH)
      expand_vector<Vector, ROWS>(adapter.b(part, out), count, room, rows, y + out, width);
    return out;
  };
  vectors(Narrow(), vectors(Wide(), begin));
}

// Numbers of `room` that `expand` needs for so many ranks.
inline size_t expand_room(int ranks) { return size_t(EXPANDED_ROWS) * words(ranks) * WORD; }

// Adds the segment's share to outputs [begin, end) of y [rows, width].
inline void expand(const Lora& lora, const Segment& segment, const float* shrunk, int stride,
                   int16_t* room, int begin, int end, float* y, int width) {
  const int rows = segment.begin + segment.count;
  lora.each_part(begin, end, [&](const Expand& part, int first, int last) {
    const auto tile = [&](auto count, int row) {
      expand_tile<count>(*segment.adapter, part, shrunk + size_t(row) * stride + part.rank, stride, room,
                         first, last, y + size_t(row) * width, width);
    };
    int row = segment.begin;
    for (; row + EXPANDED_ROWS <= rows; row += EXPANDED_ROWS)
      tile(std::integral_constant<int, EXPANDED_ROWS>(), row);
    for (; row < rows; ++row) tile(std::integral_constant<int, 1>(), row);
  });
}
