// A number that threads sleep until it is another one.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

// Who changes it looks for sleepers after that, and who goes to sleep says so before looking at it again:
// one of the two sees the other. With std::atomic's own waiting a step was seen to wait forever for a
// thread that had long been done: GCC 12 looks for sleepers before what was stored in release order need
// be seen. A sleep is short, so that a wake-up that is lost all the same costs a moment, not the engine.
class Counter {
 public:
  uint32_t get() const { return value_.load(std::memory_order_acquire); }

  void set(uint32_t value) {
    value_.store(value);
    if (sleepers_.load() > 0) futex(FUTEX_WAKE_PRIVATE, INT_MAX, nullptr);
  }

  void wait(uint32_t seen) {
    constexpr timespec LONGEST{.tv_sec = 0, .tv_nsec = 100'000'000};
    sleepers_.fetch_add(1);
    while (value_.load() == seen) futex(FUTEX_WAIT_PRIVATE, seen, &LONGEST);
    sleepers_.fetch_sub(1);
  }

 private:
  void futex(int what, uint32_t value, const timespec* longest) {
    syscall(SYS_futex, &value_, what, value, longest, nullptr, 0);
  }

  std::atomic<uint32_t> value_{0};
  std::atomic<int> sleepers_{0};
};
