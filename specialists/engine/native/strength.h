// How many threads are worth working together, while other programs want the same cores.
#pragma once

#include <algorithm>

// A member that lost its core holds up all the others at the next barrier. Beside two programs that
// compute, on two cores, a step of two members was seen to take three times as long as one member's.
// Half as many work on for a while where members wait too long for each other; then more are tried again.
// Times are in seconds.
struct Patience {
  double window = 0.2;    // of steps, before they are judged
  double most = 0.5;      // of it that a member may wait for others that lost their cores
  double shortest = 0.4, longest = 6.4;  // until more are tried again: the longer, the oftener in vain
};

class Strength {
 public:
  explicit Strength(int size, Patience patience = {})
      : size_(size), patience_(patience), active_(size), pause_(patience.shortest) {}

  // Of the step that begins now.
  int at(double now) {
    if (active_ < size_ && now >= next_) {
      active_ = std::min(2 * active_, size_);
      took_ = waited_ = 0;
    }
    return active_;
  }

  // Told of each step what it took, and how long members waited for others, all together.
  void judge(double now, double took, double waited) {
    if (active_ == 1) return;
    took_ += took;
    waited_ += waited / (active_ - 1);  // one that lost its core has so many wait for it
    if (took_ < patience_.window) return;
    const bool held_up = waited_ > patience_.most * took_;
    took_ = waited_ = 0;
    pause_ = held_up ? std::min(2 * pause_, patience_.longest) : patience_.shortest;
    next_ = now + pause_;
    if (held_up) active_ = std::max(active_ / 2, 1);
  }

 private:
  const int size_;
  const Patience patience_;
  int active_;
  double pause_, next_ = 0, took_ = 0, waited_ = 0;
};
