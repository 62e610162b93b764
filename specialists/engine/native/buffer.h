// Memory that grows to what is needed and is kept.
#pragma once

#include <cstdlib>
#include <memory>

template <class T>
class Buffer {
 public:
  T* need(size_t count) {
    if (count > count_) {
      held_.reset(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64)));
      count_ = count;
    }
    return held_.get();
  }

 private:
  struct Free {
    void operator()(T* held) const { std::free(held); }
  };
  std::unique_ptr<T, Free> held_;
  size_t count_ = 0;
};
