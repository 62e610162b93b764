// Threads that do one step together, and meet at barriers within it.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "counter.h"
#include "strength.h"

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

  // Lets the others go where they like again.
  void free(std::vector<std::thread>& others) {
    if (here_ < 0) return;
    for (auto& other : others)
      pthread_setaffinity_np(other.native_handle(), sizeof before_, &before_);
    here_ = -1;
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
  explicit Team(int size, Patience patience = {})
      : size_(size), active_(size), strength_(size, patience) {
    for (int member = 1; member < size; ++member)
      threads_.emplace_back([this, member] { serve(member); });
  }

  ~Team() {
    stopping_ = true;
    active_ = size_;
    announce();
    for (auto& thread : threads_) thread.join();
  }

  // How many work now: all, unless others keep their cores from them.
  int size() const { return active_; }

  // Runs `work(member)` in every thread that works now, this one included; returns when all are done.
  void run(const std::function<void(int)>& work) {
    const double begun = seconds();
    work_ = &work;
    active_ = strength_.at(begun);
    if (active_ == 1) return work(0);
    const bool all = active_ == size_;
    if (all)
      places_.take(threads_);
    else
      places_.free(threads_);
    announce();
    work(0);
    barrier();
    if (all) places_.leave();
    const double now = seconds();
    strength_.judge(now, now - begun, waited_.exchange(0, std::memory_order_relaxed));
  }

  // Waits until all that work have come here.
  void barrier() {
    // Once all have come the next step may begin, of fewer or more.
    const int active = active_;
    if (active == 1) return;
    const uint32_t round = round_.get();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == active) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.set(round + 1);
      return;
    }
    if (spin(round_, round)) return;
    const double begun = seconds();
    round_.wait(round);
    waited_.fetch_add(seconds() - begun, std::memory_order_relaxed);
  }

 private:
  static constexpr int SPINS = 4000;  // some ten microseconds; a barrier mostly takes less

  static constexpr int ACTIVE_BITS = 12;

  static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  // Leaves the core to its other thread for a moment, where it has one.
  static void relax() {
#ifdef __aarch64__
    asm volatile("isb");
#else
    __builtin_ia32_pause();
#endif
  }

  // Whether the counter moved on in a while; who waits longer leaves its core to others, maybe to a
  // member that lost its own.
  static bool spin(const Counter& counter, uint32_t seen) {
    for (int spins = 0; spins < SPINS; ++spins) {
      if (counter.get() != seen) return true;
      relax();
    }
    return false;
  }

  // A step is told by its number and how many do it: who is none of them may be late to hear of it.
  void announce() {
    const uint32_t number = (steps_.get() >> ACTIVE_BITS) + 1;
    steps_.set(number << ACTIVE_BITS | uint32_t(active_));
  }

  void serve(int member) {
    for (uint32_t seen = 0;;) {
      if (!spin(steps_, seen)) steps_.wait(seen);
      seen = steps_.get();
      if (stopping_) return;
      if (member >= int(seen & ((1u << ACTIVE_BITS) - 1))) continue;
      (*work_)(member);
      barrier();
    }
  }

  const int size_;
  int active_;
  Strength strength_;
  std::vector<std::thread> threads_;
  Places places_;
  Counter steps_, round_;
  std::atomic<int> arrived_{0};
  std::atomic<double> waited_{0};
  std::atomic<bool> stopping_{false};
  const std::function<void(int)>* work_ = nullptr;
};
