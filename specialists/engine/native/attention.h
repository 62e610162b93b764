// Attention of some tokens of a row over its pages, only as far as each of them goes.
#pragma once

#include "simd.h"

constexpr int PAGE = 16;
static_assert(PAGE == Sixteen::COUNT, "a page's scores are one vector");

// Keys and values of a layer. Keys are [pages, kv_heads, head_dim, PAGE], so that a query is compared
// with all of a page at once; values are [pages, kv_heads, PAGE, head_dim].
struct Cache {
  Half *keys, *values;
  int kv_heads, head_dim;

  size_t at(int page, int head) const { return (size_t(page) * kv_heads + head) * PAGE * head_dim; }
};

// Queries that read the same keys: of `tokens` that follow each other in a row, `heads` of each.
// The first token sees `length` tokens, each after it one more.
struct Queries {
  int tokens, heads, length;
  const float* q;  // [tokens, q_stride], scaled already
  float* out;      // [tokens, out_stride]
  float* scores;   // [tokens · heads, score_stride], room for whole pages
  size_t q_stride, out_stride, score_stride;

  int count() const { return tokens * heads; }
  int longest() const { return length + tokens - 1; }

  // Of one of them, heads first: where it lies, where its answer goes, and how much it sees.
  const float* query(int i, int dim) const { return q + i / heads * q_stride + i % heads * dim; }
  float* answer(int i, int dim) const { return out + i / heads * out_stride + i % heads * dim; }
  int seen(int i) const { return length + i / heads; }
};

// Where a few of them lie.
template <int COUNT>
struct Few {
  const float* q[COUNT];
  float *out[COUNT], *scores[COUNT];

  Few(const Queries& all, int first, int dim) {
    for (int i = 0; i < COUNT; ++i) {
      q[i] = all.query(first + i, dim);
      out[i] = all.answer(first + i, dim);
      scores[i] = all.scores + (first + i) * all.score_stride;
    }
  }

  // scores[token, token + PAGE) = q·keys; those of slots that nobody has written mean nothing.
  void score(const Half* keys, int dim, int token) const {
    Sixteen totals[COUNT];
    for (int d = 0; d < dim; ++d) {
      const Sixteen all = Sixteen::halves(keys + d * PAGE);
      for (int i = 0; i < COUNT; ++i) totals[i] = fused(Sixteen::all(q[i][d]), all, totals[i]);
    }
    for (int i = 0; i < COUNT; ++i) totals[i].store(scores[i] + token);
  }

  // out[dim] += scores[token, token + slots)·values.
  void add(const Half* values, int slots, int dim, int token) const {
    int d = 0;
    for (; d + Sixteen::COUNT <= dim; d += Sixteen::COUNT) add<Sixteen>(values, slots, dim, token, d);
    for (; d < dim; d += Eight::COUNT) add<Eight>(values, slots, dim, token, d);
  }

 private:
  template <class Vector>
  void add(const Half* values, int slots, int dim, int token, int d) const {
    Vector totals[COUNT];
    for (int i = 0; i < COUNT; ++i) totals[i] = Vector::load(out[i] + d);
    for (int slot = 0; slot < slots; ++slot) {
      const Vector all = Vector::halves(values + slot * dim + d);
      for (int i = 0; i < COUNT; ++i) {
        const Vector share = Vector::all(scores[i][token + slot]);
        totals[i] = fused(share, all, totals[i]);
      }
    }
    for (int i = 0; i < COUNT; ++i) totals[i].store(out[i] + d);
  }
};

// Calls `work` with all queries, as many at once as there are registers for.
template <int COUNT = Sixteen::TOGETHER, class Work>
void by_few(const Queries& all, int dim, Work&& work, int first = 0) {
  for (; all.count() - first >= COUNT; first += COUNT) work(Few<COUNT>(all, first, dim));
  if constexpr (COUNT > 1) by_few<COUNT - 1>(all, dim, work, first);
}

// scores[length] = softmax(scores); there is room for whole vectors.
inline void softmax(float* scores, int length) {
  const int padded = (length + Sixteen::COUNT - 1) / Sixteen::COUNT * Sixteen::COUNT;
  std::fill(scores + length, scores + padded, -INFINITY);
  Sixteen peaks = Sixteen::all(-INFINITY), total;
  for (int at = 0; at < padded; at += Sixteen::COUNT) peaks = larger(Sixteen::load(scores + at), peaks);
  const Sixteen peak = Sixteen::all(largest(peaks));
  for (int at = 0; at < padded; at += Sixteen::COUNT) {
    const Sixteen e = exponential(Sixteen::load(scores + at) - peak);
    e.store(scores + at);
    total = total + e;
  }
  const Sixteen inverse = Sixteen::all(1.0f / sum(total));
  for (int at = 0; at < padded; at += Sixteen::COUNT)
    (Sixteen::load(scores + at) * inverse).store(scores + at);
}

// out = softmax(q·keys)·values, each query over as much of its row as it sees.
inline void attend(const Cache& cache, const int32_t* pages, int kv_head, const Queries& queries) {
  const int dim = cache.head_dim, longest = queries.longest();
  const size_t bytes = PAGE * dim * sizeof(Half);
  const auto each_page = [&](const Half* from, auto&& work) {
    for (int token = 0; token < longest; token += PAGE) {
      const int page = token / PAGE;
      if (token + PAGE < longest) prefetch(from + cache.at(pages[page + 1], kv_head), bytes, 0);
      const Half* here = from + cache.at(pages[page], kv_head);
      by_few(queries, dim, [&](const auto& few) { work(few, here, token); });
    }
  };
  each_page(cache.keys, [&](const auto& few, const Half* keys, int token) {
    few.score(keys, dim, token);
  });
  for (int i = 0; i < queries.count(); ++i) {
    float* scores = queries.scores + i * queries.score_stride;
    const int seen = queries.seen(i);
    softmax(scores, seen);
    std::fill(scores + seen, scores + longest, 0.0f);
  }
  for (int token = 0; token < queries.tokens; ++token)
    std::fill_n(queries.out + token * queries.out_stride, queries.heads * dim, 0.0f);
  each_page(cache.values, [&](const auto& few, const Half* values, int token) {
    few.add(values, std::min(PAGE, longest - token), dim, token);
  });
}
