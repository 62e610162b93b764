// An adapter as PEFT saves it, turned into what lora.h reads: each number is read where it lies in
// the file, and nothing is held in between.
#include <cfloat>
#include <cstring>
#include <vector>

#include "lora.h"

namespace {

enum Type : int32_t { FLOAT32, BINARY16, BFLOAT16 };

struct Matrix {
  int64_t at;  // of its first byte in the file; it need not be a multiple of anything
  Type type;
};

// One module's LoRA, and where it goes.
struct Pair {
  Matrix a, b;  // [ranks, ins] and [outs, ranks]
  int32_t ranks, ins, outs;
  float scale;
  int64_t packed_a, packed_b;  // in the matrices, as in lora.h
  int64_t scales;              // in the scales, [ranks]
};

constexpr float MOST = 127;

template <Type TYPE>
constexpr int SIZE = TYPE == FLOAT32 ? 4 : 2;

// Eight numbers as floats.
template <Type TYPE>
Eight load(const char* from) {
  if constexpr (TYPE == FLOAT32) return Eight::load(reinterpret_cast<const float*>(from));
  const auto* halves = reinterpret_cast<const uint16_t*>(from);
  return TYPE == BINARY16 ? Eight::halves(halves) : Eight::brains(halves);
}

// The first `count` of eight numbers, and zeros. Beyond them a file may end, but before them lies more of
// it: its header is longer than that.
template <Type TYPE>
Eight load_first(int count, const char* from) {
  const int before = LANES - count;
  return from_lane(load<TYPE>(from - before * SIZE<TYPE>), before);
}

// Takes in values to the largest of each place, and to what is zero unless one is not finite.
struct Most {
  Eight most, zero;

  void add(Eight values) {
    most = larger(most, magnitude(values));
    zero = fused(values, Eight(), zero);
  }
};

// What values are multiples of where the largest is 127 of them. What is not finite makes the scale
// so: the engine notices.
Eight steps_of(const Most& found) { return found.most / Eight::all(MOST) + found.zero; }

// To divide by: of what is all zero anything will do.
Eight divisors(Eight steps) { return larger(steps, Eight::all(FLT_MIN)); }

// Eight numbers as two words of B.
void put_words(Eight numbers, uint32_t* to) {
  int8_t bytes[LANES];
  numbers.store_bytes(bytes);
  std::memcpy(to, bytes, sizeof bytes);
  for (uint32_t* word = to; word < to + LANES / WORD; ++word) {
    const uint32_t raised = *word ^ 0x01010101u * RAISED;
    *word = (raised & 0xff0000ff) | (raised >> 8 & 0xff00) | (raised << 8 & 0xff0000);
  }
}

// A by ranks, each of one scale.
template <Type TYPE>
void pack_a(const Pair& pair, const char* a, int8_t* to, float* scales) {
  for (int rank = 0; rank < pair.ranks; ++rank, a += size_t(pair.ins) * SIZE<TYPE>, to += pair.ins) {
    Most found;
    for (int i = 0; i < pair.ins; i += LANES) found.add(load<TYPE>(a + i * SIZE<TYPE>));
    scales[rank] = largest(found.most) / MOST + sum(found.zero);
    const Eight by = divisors(Eight::all(scales[rank]));
    for (int i = 0; i < pair.ins; i += LANES) (load<TYPE>(a + i * SIZE<TYPE>) / by).store_bytes(to + i);
  }
}

// B in stripes of 8 outputs, each rank of one scale, filled up to whole words: eight ranks at a time.
// Multiplies what is in the scales by B's.
template <Type TYPE>
void pack_b(const Pair& pair, const char* b, int8_t* to, float* scales) {
  const int count = words(pair.ranks);
  const size_t next = size_t(pair.ranks) * SIZE<TYPE>;
  const Eight scale = Eight::all(pair.scale);
  for (int rank = 0; rank < pair.ranks; rank += LANES) {
    const int some = std::min(LANES, pair.ranks - rank);
    const auto values = [&](int out) {
      const char* from = b + out * next + rank * SIZE<TYPE>;
      return (some == LANES ? load<TYPE>(from) : load_first<TYPE>(some, from)) * scale;
    };
    Most found;
    for (int out = 0; out < pair.outs; ++out) found.add(values(out));
    float each[LANES];
    const Eight steps = steps_of(found), by = divisors(steps);
    steps.store(each);
    for (int i = 0; i < some; ++i) scales[rank + i] *= each[i];
    for (int out = 0; out < pair.outs; ++out) {
      uint32_t made[LANES / WORD];
      put_words(values(out) / by, made);
      int8_t* stripe = to + (size_t(out / LANES) * count + rank / WORD) * WORDS + out % LANES * WORD;
      for (int w = 0; w < words(some); ++w) std::memcpy(stripe + w * WORDS, made + w, sizeof *made);
    }
  }
}

// Calls `work` with the type as a constant.
template <class Work>
void of_type(Type type, Work&& work) {
  switch (type) {
    case FLOAT32: return work(std::integral_constant<Type, FLOAT32>());
    case BINARY16: return work(std::integral_constant<Type, BINARY16>());
    case BFLOAT16: return work(std::integral_constant<Type, BFLOAT16>());
  }
}

}  // namespace

extern "C" {

void myriad_pack(const Pair* pairs, int32_t count, const char* file, int8_t* matrices,
                 float* scales) {
  for (const Pair* pair = pairs; pair < pairs + count; ++pair) {
    float* own = scales + pair->scales;
    of_type(pair->a.type, [&](auto type) {
      pack_a<type>(*pair, file + pair->a.at, matrices + pair->packed_a, own);
    });
    of_type(pair->b.type, [&](auto type) {
      pack_b<type>(*pair, file + pair->b.at, matrices + pair->packed_b, own);
    });
  }
}
}
