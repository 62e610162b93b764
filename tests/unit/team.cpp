// Drives the team from tests: `judge` says how many work, told what steps took; `work` counts who did;
// `miss` returns when a sleeper has seen what it was not woken for.
#include <cstdio>
#include <cstring>
#include <set>

#include "team.h"

namespace {

// Lines of when a step begins, what it takes, and how long members waited; prints how many do it.
void judge(int size) {
  Strength strength(size);
  for (double now, took, waited; std::scanf("%lf %lf %lf", &now, &took, &waited) == 3;) {
    const int active = strength.at(now);
    std::printf("%d\n", active);
    strength.judge(now + took, took, waited);
  }
}

// Steps of ever other strength; prints those that were seen, and in how many steps somebody was missing.
void work(int size, int steps) {
  Team team(size, {.window = 0, .most = -1, .shortest = 1e-5, .longest = 2e-5});
  std::set<int> seen;
  int wrong = 0;
  for (int step = 0; step < steps; ++step) {
    std::atomic<int> came{0}, members{0}, short_of{0};
    team.run([&](int member) {
      ++came;
      members += member;
      team.barrier();
      const int active = team.size();
      if (came != active || members != active * (active - 1) / 2) ++short_of;
      team.barrier();
      if (member == 0) seen.insert(active);
    });
    wrong += short_of > 0;
  }
  for (const int active : seen) std::printf("%d ", active);
  std::printf("\n%d\n", wrong);
}

void miss() {
  Counter counter;
  auto* const numbers = reinterpret_cast<std::atomic<uint32_t>*>(&counter);  // its value, and its sleepers
  std::thread sleeper([&] { counter.wait(0); });
  while (numbers[1] == 0) std::this_thread::yield();
  numbers[0] = 1;
  sleeper.join();
}

}  // namespace

int main(int, char** words) {
  if (!std::strcmp(words[1], "judge")) judge(std::atoi(words[2]));
  else if (!std::strcmp(words[1], "work")) work(std::atoi(words[2]), std::atoi(words[3]));
  else miss();
}
