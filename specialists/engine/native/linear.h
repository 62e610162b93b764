// Packed weights.
//
// Weights are cut into stripes of 8 outputs, and these into blocks of 32 inputs. A block holds 8
// scales d and 8 minima m in binary16, then q, 4 or 8 bits each: a weight is d·q + m.
#pragma once

#include "dots.h"
#include "stripes.h"

constexpr int SCALES = 2 * LANES * sizeof(Half);  // bytes before the weights of a block

struct Linear {
  int32_t outs, ins, bits;
  const uint8_t* stripes;

  int blocks() const { return ins / BLOCK; }
  int block_bytes() const { return SCALES + bits * BLOCK; }
  const uint8_t* stripe(int out) const {
    return stripes + size_t(out / LANES) * blocks() * block_bytes();
  }
};

// The weights of one output, as floats: a row of an embedding.
inline void unpack_row(const Linear& linear, int out, float* to) {
  const int lane = out % LANES;
  const uint8_t* block = linear.stripe(out);
  for (int b = 0; b < linear.blocks(); ++b, block += linear.block_bytes()) {
    const Half* scales = reinterpret_cast<const Half*>(block);
    const float d = single(scales[lane]), m = single(scales[LANES + lane]);
    const uint8_t* q = block + SCALES + lane * 4;
    for (int k = 0; k < BLOCK; ++k) {
      const int group = k / 4 % (linear.bits == 4 ? 4 : 8);
      const uint8_t byte = q[group * 4 * LANES + k % 4];
      const int value = linear.bits == 8 ? byte : k < BLOCK / 2 ? byte & 15 : byte >> 4;
      to[b * BLOCK + k] = d * value + m;
    }
  }
}
