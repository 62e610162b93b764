// Memory that will be read soon, asked for piece by piece while products keep the processor busy and leave
// memory idle.
#pragma once

#include <cstddef>
#include <vector>

class Ahead {
 public:
  // Forgets what was wanted before.
  void clear() {
    pieces_.clear();
    next_ = lines_ = 0;
    at_ = end_ = nullptr;
  }

  void want(const void* from, size_t bytes) {
    const char* const begin = static_cast<const char*>(from);
    pieces_.push_back({begin, begin + bytes});
    lines_ += bytes / LINE + 1;
  }

  // Deals out what is wanted to so many calls of `ask`.
  void deal(size_t calls) {
    stride_ = lines_ / calls * LINE + LINE;
    begin_next();
  }

  void ask() {
    if (at_ >= end_) return;
    const char* const from = at_;
    at_ += stride_;
    for (size_t line = 0; line < stride_; line += LINE) __builtin_prefetch(from + line, 0, 2);
    if (at_ >= end_) begin_next();
  }

 private:
  static constexpr size_t LINE = 64;

  struct Piece {
    const char *begin, *end;
  };

  void begin_next() {
    if (next_ == pieces_.size()) return;
    at_ = pieces_[next_].begin, end_ = pieces_[next_].end;
    ++next_;
  }

  std::vector<Piece> pieces_;
  size_t next_ = 0, lines_ = 0, stride_ = 0;
  const char *at_ = nullptr, *end_ = nullptr;
};
