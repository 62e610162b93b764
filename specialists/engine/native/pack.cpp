// An adapter as PEFT saves it, turned into what lora.h reads: each number is read where it lies in
// the file, and nothing is held in between.
#include <bit>
#include <vector>

#include "lora.h"

namespace {

enum Type : int32_t { FLOAT32, BINARY16, BFLOAT16 };

struct Matrix {
  const void* values;
  Type type;
};

// One module's LoRA, and where it goes.
struct Pair {
  Matrix a, b;  // [ranks, ins] and [outs, ranks]
  int32_t ranks, ins, outs;
  float scale;
  int8_t *packed_a, *packed_b;  // as in lora.h
  float* scales;                // [ranks]
};

constexpr float MOST = 127;

// `count` numbers from place `at` on, as floats.
void read(const Matrix& from, size_t at, int count, float* to) {
  if (from.type == FLOAT32) {
    std::copy_n(static_cast<const float*>(from.values) + at, count, to);
    return;
  }
  const uint16_t* halves = static_cast<const uint16_t*>(from.values) + at;
  for (int i = 0; i < count; ++i)
    to[i] = from.type == BINARY16 ? _cvtsh_ss(halves[i])
                                  : std::bit_cast<float>(uint32_t(halves[i]) << 16);
}

float step_of(float scale) { return scale > 0 ? scale : 1; }

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

// Eight rows of eight bytes, `stride` apart, as four columns of pairs one after another.
void turn(const int8_t* from, int stride, int8_t* to) {
  const auto row = [&](int at) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + size_t(at) * stride));
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

// A by ranks, each of one scale. What is not finite makes the scale so: the engine notices.
void pack_a(const Pair& pair, float* scales, std::vector<float>& row) {
  row.resize(pair.ins);
  for (int rank = 0; rank < pair.ranks; ++rank) {
    read(pair.a, size_t(rank) * pair.ins, pair.ins, row.data());
    Most found;
    for (int i = 0; i < pair.ins; i += LANES) found.add(_mm256_loadu_ps(row.data() + i));
    scales[rank] = largest(found.most) / MOST + sum(found.zero);
    const __m256 steps = _mm256_set1_ps(step_of(scales[rank]));
    int8_t* to = pair.packed_a + size_t(rank) * pair.ins;
    for (int i = 0; i < pair.ins; i += LANES)
      nearest(_mm256_loadu_ps(row.data() + i), steps, to + i);
  }
}

// B in stripes of 8 outputs, each rank of one scale, filled up to whole quads of ranks.
void pack_b(const Pair& pair, float* scales, std::vector<float>& row) {
  const int ranks = pair.ranks, width = filled(ranks);
  row.assign(2 * width, 0.0f);
  float *values = row.data(), *steps = values + width;
  const __m256 scale = _mm256_set1_ps(pair.scale);
  std::vector<Most> found(width / LANES);
  for (int out = 0; out < pair.outs; ++out) {
    read(pair.b, size_t(out) * ranks, ranks, values);
    for (int i = 0; i < width; i += LANES)
      found[i / LANES].add(_mm256_mul_ps(_mm256_loadu_ps(values + i), scale));
  }
  for (int i = 0; i < width; i += LANES) {
    const Most& each = found[i / LANES];
    const __m256 most = _mm256_div_ps(each.most, _mm256_set1_ps(MOST));
    _mm256_storeu_ps(steps + i, _mm256_add_ps(most, each.zero));
  }
  std::copy_n(steps, ranks, scales);
  std::transform(steps, steps + width, steps, step_of);
  std::vector<int8_t> stripe(size_t(LANES) * width);
  for (int first = 0; first < pair.outs; first += LANES) {
    for (int lane = 0; lane < LANES; ++lane) {
      read(pair.b, size_t(first + lane) * ranks, ranks, values);
      for (int i = 0; i < width; i += LANES)
        nearest(_mm256_mul_ps(_mm256_loadu_ps(values + i), scale), _mm256_loadu_ps(steps + i),
                stripe.data() + size_t(lane) * width + i);
    }
    const int whole = quads(ranks) * QUAD;
    int8_t* to = pair.packed_b + size_t(first) * whole;
    for (int rank = 0; rank < whole; rank += LANES) {
      int8_t turned[LANES * LANES];
      turn(stripe.data() + rank, width, turned);
      std::copy_n(turned, std::min(LANES, whole - rank) * LANES, to + size_t(rank) * LANES);
    }
  }
}

}  // namespace

extern "C" {

void myriad_pack(const Pair* pairs, int32_t count) {
  std::vector<float> row, scales;
  for (const Pair* pair = pairs; pair < pairs + count; ++pair) {
    scales.resize(2 * pair->ranks);
    pack_a(*pair, scales.data(), row);
    pack_b(*pair, scales.data() + pair->ranks, row);
    for (int rank = 0; rank < pair->ranks; ++rank)
      pair->scales[rank] = scales[rank] * scales[pair->ranks + rank];
  }
}
}
