// One step of a mixed batch through a Llama: all tokens of all rows, each with its adapter.
//
// The same computation as specialists/engine/llama.py, which is the reference; here the weights are
// packed (linear.h) and keys and values are binary16. Phases end at barriers: those that go row by
// row are shared out by rows, the products by stripes of outputs.
//
// Which product a token goes through depends on what it is, never on what else is in the step: those of
// prompts, which are many, through the matrix unit where there is one, the others through vectors.

#include <cstring>

#include "ahead.h"
#include "attention.h"
#include "buffer.h"
#include "lora.h"
#include "products.h"
#include "prompts.h"
#include "team.h"

namespace {

constexpr int NEAR = 8;  // tokens at most that attend together through vectors
constexpr int FEW = 4;   // items of work for each member of the team

enum Group { QKV, O, GATE_UP, DOWN, GROUPS };

struct Layer {
  const float *attention_norm, *mlp_norm;  // [hidden]
  Linear linears[GROUPS];
  Half *keys, *values;
};

struct Shape {
  int32_t layers, hidden, heads, kv_heads, head_dim, inner, vocabulary;
  float eps, rope_scaling;
};

// The tokens of a step, in order of their rows and segments; those from `tiled` on go by tiles, and so
// do logits from `exact` on.
struct Step {
  int32_t tokens, tiled, table_width, segments, samples, exact;
  const int32_t *ids, *positions, *rows;  // [tokens]; a row is a line of the table
  const int32_t* table;                   // [rows, table_width] numbers of pages
  const Segment* segment;                 // [segments]
  const int32_t* sampled;                 // [samples] tokens whose logits are wanted
  float* logits;                          // [samples, vocabulary]
};

// Tokens that follow each other in a row, and attend together.
struct Near {
  int begin, count;
};

class Llama {
 public:
  Llama(const Shape& shape, const Layer* layers, Linear embedding, Linear head, const float* norm,
        const float* frequencies, int threads)
      : shape_(shape),
        layers_(layers, layers + shape.layers),
        embedding_(embedding),
        head_(head),
        norm_(norm),
        frequencies_(frequencies),
        team_(threads),
        prompts_(team_),
        told_(team_),
        scores_(threads),
        ahead_(threads),
        expanding_(threads) {}

  void step(const Step& step) {
    prepare(step);
    team_.run([&](int member) { work(step, member); });
  }

 private:
  int queries() const { return shape_.heads * shape_.head_dim; }
  int keys() const { return shape_.kv_heads * shape_.head_dim; }

  void prepare(const Step& step) {
    const size_t tokens = std::max(step.tokens, step.samples);
    const int widest = std::max({shape_.hidden, queries(), shape_.inner});
    x_ = x_buffer_.need(tokens * shape_.hidden);
    input_ = input_buffer_.need(tokens * widest);
    output_ = output_buffer_.need(tokens * std::max(queries() + 2 * keys(), 2 * shape_.inner));
    angles_ = angle_buffer_.need(tokens * shape_.head_dim);
    quantised_ = {value_buffer_.need(tokens * widest), scale_buffer_.need(tokens * widest / BLOCK),
                  sum_buffer_.need(tokens * widest / BLOCK)};
    const int groups = shape_.layers * GROUPS;
    generated_ = 0, ranks_ = 0;
    for (; generated_ < step.segments && step.segment[generated_].begin < step.tiled; ++generated_)
      for (int g = 0; g < groups; ++g)
        ranks_ = std::max(ranks_, step.segment[generated_].lora(g).ranks);
    prompts_.prepare(step.tiled, step.tokens - step.tiled, widest, step.segment + generated_,
                     step.segments - generated_, groups);
    told_.prepare(step.exact, step.samples - step.exact, shape_.hidden, nullptr, 0, 0);
    shrunk_ = shrunk_buffer_.need(tokens * ranks_ + 1);
    for (auto& room : expanding_) room.need(expand_room(ranks_));
    const int shared = shape_.heads / shape_.kv_heads;
    // Lines that lie a power of two apart would share a few places in the cache.
    score_stride_ = (step.table_width + 1) / 2 * 2 * PAGE + PAGE;
    for (auto& scores : scores_) scores.need(std::max(NEAR * shared, AT_ONCE) * score_stride_);
    find_near(step);
  }

  static bool follows(const Step& step, int t) {
    return step.rows[t] == step.rows[t - 1] && step.positions[t] == step.positions[t - 1] + 1;
  }

  void find_near(const Step& step) {
    near_.clear();
    for (int t = 0; t < step.tokens; ++t)
      if (t > 0 && follows(step, t) && near_.back().count < (t < step.tiled ? NEAR : AT_ONCE))
        ++near_.back().count;
      else
        near_.push_back({t, 1});
  }

  void work(const Step& step, int member) {
    const Share rows(step.tokens, member, team_.size());
    for (int t = rows.begin; t < rows.end; ++t) begin(step, t);
    for (int number = 0; number < shape_.layers; ++number) {
      const Layer& layer = layers_[number];
      for (int t = rows.begin; t < rows.end; ++t) take(step, t, layer.attention_norm);
      product(step, number, QKV, member, output_, false);
      for (int t = rows.begin; t < rows.end; ++t) {
        if (t + 1 < rows.end) fetch_keys(step, layer, t + 1);
        place(step, layer, t);
      }
      team_.barrier();
      attention(step, layer, member);
      team_.barrier();
      for (int t = rows.begin; t < rows.end; ++t) ready(step, t, queries());
      product(step, number, O, member, x_, true);
      for (int t = rows.begin; t < rows.end; ++t) take(step, t, layer.mlp_norm);
      product(step, number, GATE_UP, member, output_, false);
      for (int t = rows.begin; t < rows.end; ++t) activate(step, t);
      product(step, number, DOWN, member, x_, true);
    }
    logits(step, member);
  }

  // Embedding and angles of a token.
  void begin(const Step& step, int t) {
    unpack_row(embedding_, step.ids[t], x_ + size_t(t) * shape_.hidden);
    const int half = shape_.head_dim / 2;
    float* angles = angles_ + size_t(t) * shape_.head_dim;
    for (int i = 0; i < half; ++i) {
      const float angle = float(step.positions[t]) * frequencies_[i];
      angles[i] = std::cos(angle) * shape_.rope_scaling;
      angles[half + i] = std::sin(angle) * shape_.rope_scaling;
    }
  }

  // The residual stream, normed (Zhang & Sennrich 2019), as a product's input.
  void take(const Step& step, int t, const float* weight) {
    const int width = shape_.hidden;
    normed(x_ + size_t(t) * width, weight, width, input_ + size_t(t) * width);
    ready(step, t, width);
  }

  void normed(const float* x, const float* weight, int width, float* to) const {
    Sixteen squares;
    for (int i = 0; i < width; i += Sixteen::COUNT) {
      const Sixteen v = Sixteen::load(x + i);
      squares = fused(v, v, squares);
    }
    const Sixteen scale = Sixteen::all(1.0f / std::sqrt(sum(squares) / width + shape_.eps));
    for (int i = 0; i < width; i += Sixteen::COUNT)
      (Sixteen::load(x + i) * scale * Sixteen::load(weight + i)).store(to + i);
  }

  // A token's input, as its product and the adapters take it.
  void ready(const Step& step, int t, int width) {
    const float* input = input_ + size_t(t) * width;
    if (t < step.tiled)
      quantise(input, width, t, quantised_);
    else
      prompts_.ready(input, width, t);
  }

  // y = or += the group's linear of the input that all members have made ready, adapters included.
  void product(const Step& step, int number, Group group, int member, float* y, bool residual) {
    const Linear& linear = layers_[number].linears[group];
    const int at = number * GROUPS + group;
    team_.barrier();
    if (ranks_ > 0 || prompts_.adapted()) {
      each_share(step, at, member, [&](const Segment& segment, int begin, int end) {
        shrink(segment.lora(at), begin, end, segment, quantised_, linear.ins, shrunk_, ranks_);
      });
      prompts_.shrink(at, member, linear.ins);
      team_.barrier();
    }
    const Share outs(linear.outs, member, team_.size(), LANES);
    const auto write = [&](int row, int out, Eight v) {
      float* to = y + size_t(row) * linear.outs + out;
      (residual ? Eight::load(to) + v : v).store(to);
    };
    Ahead& ahead = ahead_[member];
    want(step, at, member, outs, ahead);
    ahead.deal(pauses(linear, step.tiled, outs.begin, outs.end));
    multiply(linear, quantised_, step.tiled, outs.begin, outs.end, write, [&] { ahead.ask(); });
    prompts_.multiply(linear, at, member, write);
    for (int s = 0; s < generated_; ++s)
      expand(step.segment[s].lora(at), step.segment[s], shrunk_, ranks_, expanding_[member].need(0),
             outs.begin, outs.end, y, linear.outs);
    team_.barrier();
  }

  // What this member reads of adapters from a product on to the next one: B of its outputs, and then its
  // share of the next A.
  void want(const Step& step, int group, int member, const Share& outs, Ahead& ahead) const {
    ahead.clear();
    for (int s = 0; s < generated_; ++s) {
      const Segment& segment = step.segment[s];
      segment.lora(group).each_part(outs.begin, outs.end, [&](const Expand& part, int begin, int end) {
        const uint8_t* b = segment.adapter->b(part, begin);
        ahead.want(b, segment.adapter->b(part, end) - b);
      });
    }
    if (++group == shape_.layers * GROUPS) return;
    const int ins = layers_[group / GROUPS].linears[group % GROUPS].ins;
    each_share(step, group, member, [&](const Segment& segment, int begin, int end) {
      ahead.want(segment.adapter->a(segment.lora(group), begin, ins), size_t(end - begin) * ins);
    });
  }

  // All ranks of what is generated in one line, cut among the members: calls `work(segment, begin, end)`
  // for those that are this member's.
  template <class Work>
  void each_share(const Step& step, int group, int member, Work&& work) const {
    int total = 0;
    for (int s = 0; s < generated_; ++s) total += step.segment[s].lora(group).ranks;
    const Share mine(total, member, team_.size());
    for (int s = 0, at = 0; s < generated_; ++s) {
      const int ranks = step.segment[s].lora(group).ranks;
      const int begin = std::max(mine.begin - at, 0), end = std::min(mine.end - at, ranks);
      if (begin < end) work(step.segment[s], begin, end);
      at += ranks;
    }
  }

  // The page of a token.
  static int page_of(const Step& step, int t) {
    return step.table[size_t(step.rows[t]) * step.table_width + step.positions[t] / PAGE];
  }

  // Asks for the whole page of keys that a token's own will be spread over.
  void fetch_keys(const Step& step, const Layer& layer, int t) const {
    const Half* keys = layer.keys + cache(layer).at(page_of(step, t), 0);
    const int count = shape_.kv_heads * PAGE * shape_.head_dim;
    for (int at = 0; at < count; at += 64 / sizeof(Half)) __builtin_prefetch(keys + at, 1);
  }

  // Turns queries and keys to their positions (Su et al. 2021); stores keys and values.
  void place(const Step& step, const Layer& layer, int t) {
    const int dim = shape_.head_dim;
    float* qkv = output_ + size_t(t) * (queries() + 2 * keys());
    const float* angles = angles_ + size_t(t) * dim;
    const float scale = 1.0f / std::sqrt(float(dim));
    for (int head = 0; head < shape_.heads; ++head) turn(qkv + head * dim, angles, scale);
    for (int head = 0; head < shape_.kv_heads; ++head) turn(qkv + queries() + head * dim, angles, 1);
    const int page = page_of(step, t), slot = step.positions[t] % PAGE;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const size_t at = cache(layer).at(page, head);
      const float* from = qkv + queries() + head * dim;
      for (int d = 0; d < dim; d += LANES) {
        Half key[LANES];
        Eight::load(from + d).store_halves(key);
        for (int i = 0; i < LANES; ++i) layer.keys[at + (d + i) * PAGE + slot] = key[i];
        Eight::load(from + keys() + d).store_halves(layer.values + at + slot * dim + d);
      }
    }
  }

  void turn(float* head, const float* angles, float scale) const {
    const int half = shape_.head_dim / 2;
    for (int i = 0; i < half; ++i) {
      const float a = head[i], b = head[half + i];
      head[i] = (a * angles[i] - b * angles[half + i]) * scale;
      head[half + i] = (b * angles[i] + a * angles[half + i]) * scale;
    }
  }

  Cache cache(const Layer& layer) const {
    return {layer.keys, layer.values, shape_.kv_heads, shape_.head_dim};
  }

  void attention(const Step& step, const Layer& layer, int member) {
    const int shared = shape_.heads / shape_.kv_heads, dim = shape_.head_dim;
    // Heads that share keys read them together, unless that would leave members without work.
    const int parts = near_.size();
    const bool few = parts * shape_.kv_heads < FEW * team_.size();
    const int together = few ? 1 : shared, items = shape_.heads / together;
    // Later tokens of a prompt see more: heads and tokens are dealt out in turn.
    for (int item = member; item < parts * items; item += team_.size()) {
      const Near& part = near_[item / items];
      const int t = part.begin, head = item % items * together, width = queries() + 2 * keys();
      const auto way = t < step.tiled ? attend : attend_tiled;
      way(cache(layer), step.table + size_t(step.rows[t]) * step.table_width, head / shared,
          {.tokens = part.count,
           .heads = together,
           .length = step.positions[t] + 1,
           .q = output_ + size_t(t) * width + head * dim,
           .out = input_ + size_t(t) * queries() + head * dim,
           .scores = scores_[member].need(0),
           .q_stride = size_t(width),
           .out_stride = size_t(queries()),
           .score_stride = score_stride_});
    }
  }

  // silu(gate)·up (Shazeer 2020), as the input of the last product.
  void activate(const Step& step, int t) {
    const float* gate = output_ + size_t(t) * 2 * shape_.inner;
    float* to = input_ + size_t(t) * shape_.inner;
    const Sixteen one = Sixteen::all(1.0f);
    for (int i = 0; i < shape_.inner; i += Sixteen::COUNT) {
      const Sixteen g = Sixteen::load(gate + i), up = Sixteen::load(gate + shape_.inner + i);
      (g * up / (one + exponential(Sixteen() - g))).store(to + i);
    }
    ready(step, t, shape_.inner);
  }

  void logits(const Step& step, int member) {
    const Share rows(step.samples, member, team_.size());
    for (int s = rows.begin; s < rows.end; ++s) {
      float* to = input_ + size_t(s) * shape_.hidden;
      normed(x_ + size_t(step.sampled[s]) * shape_.hidden, norm_, shape_.hidden, to);
      if (s < step.exact)
        quantise(to, shape_.hidden, s, quantised_);
      else
        told_.ready(to, shape_.hidden, s);
    }
    team_.barrier();
    const Share outs(head_.outs, member, team_.size(), LANES);
    const auto write = [&](int row, int out, Eight v) {
      float lanes[LANES];
      v.store(lanes);
      const int valid = std::clamp(shape_.vocabulary - out, 0, LANES);
      std::memcpy(step.logits + size_t(row) * shape_.vocabulary + out, lanes, valid * sizeof(float));
    };
    multiply(head_, quantised_, step.exact, outs.begin, outs.end, write);
    told_.multiply(head_, 0, member, write);
  }

  const Shape shape_;
  const std::vector<Layer> layers_;
  const Linear embedding_, head_;
  const float *const norm_, *const frequencies_;
  Team team_;
  Prompts prompts_, told_;
  std::vector<Buffer<float>> scores_;
  std::vector<Near> near_;
  std::vector<Ahead> ahead_;
  std::vector<Buffer<int16_t>> expanding_;
  Buffer<float> x_buffer_, input_buffer_, output_buffer_, angle_buffer_, scale_buffer_, sum_buffer_,
      shrunk_buffer_;
  Buffer<int8_t> value_buffer_;
  float *x_, *input_, *output_, *angles_, *shrunk_;
  Quantised quantised_;
  size_t score_stride_;
  int generated_, ranks_;  // segments that do not go by tiles, and their ranks at most
};

}  // namespace

extern "C" {

int32_t myriad_tiles() { return may_tile(); }

void* myriad_llama(const Shape* shape, const Layer* layers, const Linear* embedding,
                   const Linear* head, const float* norm, const float* frequencies, int threads) {
  return new Llama(*shape, layers, *embedding, *head, norm, frequencies, threads);
}

void myriad_step(void* llama, const Step* step) { static_cast<Llama*>(llama)->step(*step); }

void myriad_free(void* llama) { delete static_cast<Llama*>(llama); }
}
