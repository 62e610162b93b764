// The hidden states of a BERT (Devlin et al. 2019), averaged over each text's tokens.
//
// The same computation as transformers' BertModel; here the weights are packed (linear.h), and texts
// of all lengths lie end to end, without padding. Phases end at barriers, as in step.cpp.

#include <vector>

#include "attention.h"
#include "buffer.h"
#include "products.h"
#include "team.h"

namespace {

constexpr int TOGETHER = 4;  // tokens whose attention is computed side by side

enum Group { QKV, O, UP, DOWN, GROUPS };

struct Norm {
  const float *weight, *bias;  // [hidden]
};

struct BertLayer {
  Linear linears[GROUPS];
  const float* biases[GROUPS];
  Norm attention_norm, norm;
};

struct BertShape {
  int32_t layers, hidden, heads, inner;
  float eps;
};

struct Texts {
  int32_t tokens, texts, shown, longest;
  const int32_t* ids;     // [tokens]
  const int32_t* begins;  // [texts + 1]
  const int32_t* layers;  // [shown], ascending; 0 is the embeddings'
  float* means;           // [texts, shown, hidden]
};

// x·Φ(x) (Hendrycks & Gimpel 2016) = max(x, 0) - |x|·Φ(-|x|); erf within 2e-7 (Abramowitz & Stegun 1964,
// 7.1.26).
inline Sixteen gelu(Sixteen x) {
  const Sixteen zero, one = Sixteen::all(1.0f);
  const Sixteen size = larger(x, zero - x), z = size * Sixteen::all(0.70710678f);
  const Sixteen t = one / fused(z, Sixteen::all(0.3275911f), one);
  Sixteen y = Sixteen::all(1.061405429f);
  for (const float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f})
    y = fused(y, t, Sixteen::all(c));
  const Sixteen tail = y * t * exponential(zero - z * z) * Sixteen::all(0.5f);
  return larger(x, zero) - size * tail;
}

class Bert {
 public:
  Bert(const BertShape& shape, const BertLayer* layers, const float* words, const float* places,
       Norm norm, int threads)
      : shape_(shape),
        layers_(layers, layers + shape.layers),
        words_(words),
        places_(places),
        norm_(norm),
        team_(threads),
        scores_(threads) {}

  void read(const Texts& texts) {
    const size_t tokens = texts.tokens;
    const int widest = std::max(shape_.hidden, shape_.inner);
    x_ = x_buffer_.need(tokens * shape_.hidden);
    input_ = input_buffer_.need(tokens * widest);
    output_ = output_buffer_.need(tokens * std::max(3 * shape_.hidden, shape_.inner));
    quantised_ = {value_buffer_.need(tokens * widest), scale_buffer_.need(tokens * widest / BLOCK),
                  sum_buffer_.need(tokens * widest / BLOCK)};
    for (auto& scores : scores_) scores.need(TOGETHER * (texts.longest + Sixteen::COUNT));
    team_.run([&](int member) { work(texts, member); });
  }

 private:
  void work(const Texts& texts, int member) {
    const Share rows(texts.tokens, member, team_.size());
    embed(texts, member);
    int shown = 0;
    for (int number = 0; number <= shape_.layers; ++number) {
      while (shown < texts.shown && texts.layers[shown] == number) average(texts, shown++, member);
      if (number == shape_.layers || shown == texts.shown) break;
      const BertLayer& layer = layers_[number];
      for (int t = rows.begin; t < rows.end; ++t) quantise_row(x_, t, shape_.hidden);
      product(layer, QKV, texts.tokens, member, output_, false);
      attention(texts, member);
      team_.barrier();
      for (int t = rows.begin; t < rows.end; ++t) quantise_row(input_, t, shape_.hidden);
      product(layer, O, texts.tokens, member, x_, true);
      for (int t = rows.begin; t < rows.end; ++t) {
        normalise(t, layer.attention_norm);
        quantise_row(x_, t, shape_.hidden);
      }
      product(layer, UP, texts.tokens, member, output_, false);
      for (int t = rows.begin; t < rows.end; ++t) activate(t);
      product(layer, DOWN, texts.tokens, member, x_, true);
      for (int t = rows.begin; t < rows.end; ++t) normalise(t, layer.norm);
    }
  }

  void embed(const Texts& texts, int member) {
    const Share mine(texts.texts, member, team_.size());
    for (int text = mine.begin; text < mine.end; ++text)
      for (int t = texts.begins[text]; t < texts.begins[text + 1]; ++t) {
        const float* word = words_ + size_t(texts.ids[t]) * shape_.hidden;
        const float* place = places_ + size_t(t - texts.begins[text]) * shape_.hidden;
        float* to = x_ + size_t(t) * shape_.hidden;
        for (int i = 0; i < shape_.hidden; i += LANES)
          (Eight::load(word + i) + Eight::load(place + i)).store(to + i);
        normalise(t, norm_);
      }
    team_.barrier();
  }

  void average(const Texts& texts, int shown, int member) {
    team_.barrier();
    const Share mine(texts.texts, member, team_.size());
    for (int text = mine.begin; text < mine.end; ++text) {
      const int begin = texts.begins[text], end = texts.begins[text + 1];
      float* to = texts.means + (size_t(text) * texts.shown + shown) * shape_.hidden;
      const Eight share = Eight::all(1.0f / (end - begin));
      for (int i = 0; i < shape_.hidden; i += LANES) {
        Eight total;
        for (int t = begin; t < end; ++t) total = total + Eight::load(x_ + size_t(t) * shape_.hidden + i);
        (total * share).store(to + i);
      }
    }
    team_.barrier();
  }

  // Layer normalisation (Ba et al. 2016) in place.
  void normalise(int t, const Norm& norm) {
    float* x = x_ + size_t(t) * shape_.hidden;
    Eight totals, squares;
    for (int i = 0; i < shape_.hidden; i += LANES) totals = totals + Eight::load(x + i);
    const Eight mean = Eight::all(sum(totals) / shape_.hidden);
    for (int i = 0; i < shape_.hidden; i += LANES) {
      const Eight v = Eight::load(x + i) - mean;
      squares = fused(v, v, squares);
    }
    const Eight scale = Eight::all(1.0f / std::sqrt(sum(squares) / shape_.hidden + shape_.eps));
    for (int i = 0; i < shape_.hidden; i += LANES) {
      const Eight v = (Eight::load(x + i) - mean) * scale;
      fused(v, Eight::load(norm.weight + i), Eight::load(norm.bias + i)).store(x + i);
    }
  }

  void quantise_row(const float* from, int t, int width) {
    quantise(from + size_t(t) * width, width, t, quantised_);
  }

  // y = or += the linear of the input that all members have made ready.
  void product(const BertLayer& layer, Group group, int tokens, int member, float* y, bool residual) {
    const Linear& linear = layer.linears[group];
    const float* bias = layer.biases[group];
    team_.barrier();
    const Share outs(linear.outs, member, team_.size(), LANES);
    multiply(linear, quantised_, tokens, outs.begin, outs.end, [&](int row, int out, Eight v) {
      float* at = y + size_t(row) * linear.outs + out;
      const Eight more = v + Eight::load(bias + out);
      (residual ? Eight::load(at) + more : more).store(at);
    });
    team_.barrier();
  }

  void attention(const Texts& texts, int member) {
    for (int text = 0, item = 0; text < texts.texts; ++text)
      for (int t = texts.begins[text]; t < texts.begins[text + 1]; t += TOGETHER)
        for (int head = 0; head < shape_.heads; ++head)
          if (item++ % team_.size() == member)
            attend(texts.begins[text], texts.begins[text + 1], t, head, scores_[member].need(0),
                   texts.longest + Sixteen::COUNT);
  }

  // One head of a few tokens, which read keys and values together, over all tokens of their text.
  // Where the text ends among them, its last token is computed more than once.
  void attend(int begin, int end, int first, int head, float* scores, int stride) {
    const int dim = shape_.hidden / shape_.heads, width = 3 * shape_.hidden;
    const float scale = 1.0f / std::sqrt(float(dim));
    const float* start = output_ + size_t(begin) * width + head * dim;
    const float* queries[TOGETHER];
    float* to[TOGETHER];
    for (int i = 0; i < TOGETHER; ++i) {
      const size_t t = std::min(first + i, end - 1);
      queries[i] = output_ + t * width + head * dim;
      to[i] = input_ + t * shape_.hidden + head * dim;
    }
    for (int u = 0; u < end - begin; ++u) {
      const float* key = start + size_t(u) * width + shape_.hidden;
      Eight totals[TOGETHER];
      for (int d = 0; d < dim; d += LANES) {
        const Eight part = Eight::load(key + d);
        for (int i = 0; i < TOGETHER; ++i) totals[i] = fused(Eight::load(queries[i] + d), part, totals[i]);
      }
      float four[TOGETHER];
      store_sums(totals[0], totals[1], totals[2], totals[3], four);
      for (int i = 0; i < TOGETHER; ++i) scores[i * stride + u] = four[i] * scale;
    }
    for (int i = 0; i < TOGETHER; ++i) softmax(scores + i * stride, end - begin);
    for (int d = 0; d < dim; d += LANES) {
      Eight totals[TOGETHER];
      for (int u = 0; u < end - begin; ++u) {
        const Eight value = Eight::load(start + size_t(u) * width + 2 * shape_.hidden + d);
        for (int i = 0; i < TOGETHER; ++i)
          totals[i] = fused(Eight::all(scores[i * stride + u]), value, totals[i]);
      }
      for (int i = 0; i < TOGETHER; ++i) totals[i].store(to[i] + d);
    }
  }

  void activate(int t) {
    float* x = output_ + size_t(t) * shape_.inner;
    for (int i = 0; i < shape_.inner; i += Sixteen::COUNT) gelu(Sixteen::load(x + i)).store(x + i);
    quantise_row(output_, t, shape_.inner);
  }

  const BertShape shape_;
  const std::vector<BertLayer> layers_;
  const float *const words_, *const places_;
  const Norm norm_;
  Team team_;
  std::vector<Buffer<float>> scores_;
  Buffer<float> x_buffer_, input_buffer_, output_buffer_, scale_buffer_, sum_buffer_;
  Buffer<int8_t> value_buffer_;
  float *x_, *input_, *output_;
  Quantised quantised_;
};

}  // namespace

extern "C" {

void* myriad_bert(const BertShape* shape, const BertLayer* layers, const float* words,
                  const float* places, const Norm* norm, int threads) {
  return new Bert(*shape, layers, words, places, *norm, threads);
}

void myriad_read(void* bert, const Texts* texts) { static_cast<Bert*>(bert)->read(*texts); }

void myriad_free_bert(void* bert) { delete static_cast<Bert*>(bert); }
}
