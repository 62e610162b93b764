// Threads that do one step together, and meet at barriers within it.
#pragma once

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

// Part `index` of `count` things cut into `parts`, as even as whole multiples of `grain` allow.
struct Share {
  int begin, end;
  Share(int count, int index, int parts, int grain = 1) {
    const int64_t grains = (count + grain - 1) / grain;
    begin = std::min<int64_t>(count, grains * index / parts * grain);
    end = std::min<int64_t>(count, grains * (index + 1) / parts * grain);
  }
};

// Keeps members on processors of their own while they work, where there is one for each and no more.
//
// Else, once another thread has taken one of them for a moment, two members are woken on the same one;
// there they take turns at every barrier, and as one of them always sleeps nothing moves it away: a step
// was seen to take five times as long.
class Places {
 public:
  // Called by a thread before it works together with `others`, and after that.
  void take(std::vector<std::thread>& others) {
    const int here = sched_getcpu();
    const bool known = !pthread_getaffinity_np(pthread_self(), sizeof before_, &before_);
    taken_ = known && here >= 0 && CPU_COUNT(&before_) == int(others.size()) + 1;
    if (!taken_) return;
    keep(pthread_self(), here);
    if (here == here_) return;
    here_ = here;
    int place = 0;
    for (auto& other : others) {
      while (place == here || !CPU_ISSET(place, &before_)) ++place;
      keep(other.native_handle(), place++);
    }
  }

  void leave() {
    if (taken_) pthread_setaffinity_np(pthread_self(), sizeof before_, &before_);
  }

 private:
  static void keep(pthread_t thread, int place) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(place, &only);
    pthread_setaffinity_np(thread, sizeof only, &only);
  }

  cpu_set_t before_;
  bool taken_ = false;
  int here_ = -1;
};

class Team {
 public:
  explicit Team(int size) : size_(size) {
    for (int member = 1; member < size; ++member)
      threads_.emplace_back([this, member] { serve(member); });
  }

  ~Team() {
    stopping_ = true;
    announce();
    for (auto& thread : threads_) thread.join();
  }

  int size() const { return size_; }

  // Runs `work(member)` in every thread, this one included; returns when all are done.
  void run(const std::function<void(int)>& work) {
    work_ = &work;
    if (size_ > 1) places_.take(threads_);
    announce();
    work(0);
    barrier();
    if (size_ > 1) places_.leave();
  }

  // Waits until all members have come here.
  void barrier() {
    const uint32_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    wait_beyond(round_, round);
  }

 private:
  static constexpr int SPINS = 4000;  // some ten microseconds; a barrier mostly takes less

  // Spins for a while, then leaves its core to others: maybe to a member that lost its own.
  static void wait_beyond(const std::atomic<uint32_t>& counter, uint32_t seen) {
    for (int spins = 0; spins < SPINS && counter.load(std::memory_order_acquire) == seen; ++spins)
      _mm_pause();
    counter.wait(seen, std::memory_order_acquire);
  }

  void announce() {
    steps_.fetch_add(1, std::memory_order_release);
    steps_.notify_all();
  }

  void serve(int member) {
    for (uint32_t seen = 0;;) {
      wait_beyond(steps_, seen);
      ++seen;
      if (stopping_) return;
      (*work_)(member);
      barrier();
    }
  }

  const int size_;
  std::vector<std::thread> threads_;
  Places places_;
  std::atomic<uint32_t> steps_{0}, round_{0};
  std::atomic<int> arrived_{0};
  std::atomic<bool> stopping_{false};
  const std::function<void(int)>* work_ = nullptr;
};
