// An adapter as PEFT saves it, turned into what lora.h reads: each number is read where it lies in
// the file, and nothing is held in between.
#include <bit>
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
__m256 load(const char* from) {
  if constexpr (TYPE == FLOAT32) return _mm256_loadu_ps(reinterpret_cast<const float*>(from));
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  if constexpr (TYPE == BINARY16) return _mm256_cvtph_ps(halves);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

// The first `count` of eight numbers, and zeros.
class First {
 public:
  explicit First(int count) : before_(LANES - count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    order_ = _mm256_add_epi32(lanes, _mm256_set1_epi32(before_));
    there_ = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes));
  }

  // Beyond them a file may end, but before them lies more of it: its header is longer than that.
  template <Type TYPE>
  __m256 load(const char* from) const {
    const __m256 values = ::load<TYPE>(from - before_ * SIZE<TYPE>);
    return _mm256_and_ps(_mm256_permutevar8x32_ps(values, order_), there_);
  }

 private:
  int before_;
  __m256i order_;
  __m256 there_;
};

// The nearest multiples of a step, eight at a time; those are in [-127, 127].
void nearest(__m256 values, __m256 steps, int8_t* to) {
  const __m256i whole = _mm256_cvtps_epi32(_mm256_div_ps(values, steps));
  const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(whole),
                                         _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(halves, halves));
}

// Takes in values to the largest of each place, and to what is zero unless one is not finite.
struct Most {
  __m256 most = _mm256_setzero_ps(), zero = _mm256_setzero_ps();

  void add(__m256 values) {
    most = _mm256_max_ps(most, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values));
    zero = _mm256_fmadd_ps(values, _mm256_setzero_ps(), zero);
  }
};

// What values are multiples of where the largest is 127 of them. What is not finite makes the scale
// so: the engine notices.
__m256 steps_of(const Most& found) {
  return _mm256_add_ps(_mm256_div_ps(found.most, _mm256_set1_ps(MOST)), found.zero);
}

// To divide by: of what is all zero anything will do.
__m256 divisors(__m256 steps) {
  const __m256 positive = _mm256_cmp_ps(steps, _mm256_setzero_ps(), _CMP_GT_OQ);
  return _mm256_blendv_ps(_mm256_set1_ps(1), steps, positive);
}

// Eight rows of eight bytes as four columns of pairs one after another.
void turn(const int8_t* from, int8_t* to) {
  const auto row = [&](int at) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + at * LANES));
  };
  __m128i two[4], four[4];
  for (int i = 0; i < 4; ++i) two[i] = _mm_unpacklo_epi16(row(2 * i), row(2 * i + 1));
  for (int i = 0; i < 2; ++i) {
    four[i] = _mm_unpacklo_epi32(two[2 * i], two[2 * i + 1]);
    four[i + 2] = _mm_unpackhi_epi32(two[2 * i], two[2 * i + 1]);
  }
  const auto store = [&](int at, __m128i values) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to) + at, values);
  };
  for (int i = 0; i < 2; ++i) {
    store(2 * i, _mm_unpacklo_epi64(four[2 * i], four[2 * i + 1]));
    store(2 * i + 1, _mm_unpackhi_epi64(four[2 * i], four[2 * i + 1]));
  }
}

// A by ranks, each of one scale.
template <Type TYPE>
void pack_a(const Pair& pair, const char* a, int8_t* to, float* scales) {
  for (int rank = 0; rank < pair.ranks; ++rank, a += size_t(pair.ins) * SIZE<TYPE>, to += pair.ins) {
    Most found;
    for (int i = 0; i < pair.ins; i += LANES) found.add(load<TYPE>(a + i * SIZE<TYPE>));
    scales[rank] = largest(found.most) / MOST + sum(found.zero);
    const __m256 steps = divisors(_mm256_set1_ps(scales[rank]));
    for (int i = 0; i < pair.ins; i += LANES) nearest(load<TYPE>(a + i * SIZE<TYPE>), steps, to + i);
  }
}

// B in stripes of 8 outputs, each rank of one scale, filled up to whole quads of ranks: eight ranks at
// a time. Multiplies what is in the scales by B's.
template <Type TYPE>
void pack_b(const Pair& pair, const char* b, int8_t* to, float* scales) {
  const int whole = quads(pair.ranks) * QUAD;
  const size_t next = size_t(pair.ranks) * SIZE<TYPE>;
  const __m256 scale = _mm256_set1_ps(pair.scale);
  for (int rank = 0; rank < pair.ranks; rank += LANES) {
    const int count = std::min(LANES, pair.ranks - rank), filled = std::min(LANES, whole - rank);
    const First some(count);
    const auto values = [&](int out) {
      const char* from = b + out * next + rank * SIZE<TYPE>;
      return _mm256_mul_ps(count == LANES ? load<TYPE>(from) : some.load<TYPE>(from), scale);
    };
    Most found;
    for (int out = 0; out < pair.outs; ++out) found.add(values(out));
    float each[LANES];
    const __m256 steps = steps_of(found), by = divisors(steps);
    _mm256_storeu_ps(each, steps);
    for (int i = 0; i < count; ++i) scales[rank + i] *= each[i];
    for (int first = 0; first < pair.outs; first += LANES) {
      int8_t rows[LANES * LANES], turned[LANES * LANES];
      for (int lane = 0; lane < LANES; ++lane) nearest(values(first + lane), by, rows + lane * LANES);
      turn(rows, turned);
      std::memcpy(to + size_t(first) * whole + size_t(rank) * LANES, turned, filled * LANES);
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
