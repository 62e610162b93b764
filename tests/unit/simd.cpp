// Drives vectors from tests: told an operation, it reads its operands as they lie in memory, as often as
// there are some, and writes what comes out.
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "stripes.h"

namespace {

// Bytes in and out, each time.
struct Operation {
  size_t takes, gives;
  std::function<void(const char*, char*)> work;
};

template <class In, class Out>
Operation operation(size_t takes, size_t gives, void (*work)(const In*, Out*)) {
  return {takes * sizeof(In), gives * sizeof(Out), [work](const char* from, char* to) {
            work(reinterpret_cast<const In*>(from), reinterpret_cast<Out*>(to));
          }};
}

// Of one operand, or of those after it.
Eight operand(const float* from, int which) { return Eight::load(from + which * LANES); }

void store(Integers values, float* to) { floats(values).store(to); }

const std::map<std::string, Operation> OPERATIONS{
    {"halves", operation<Half, float>(8, 8, [](auto in, auto out) { Eight::halves(in).store(out); })},
    {"single", operation<Half, float>(1, 1, [](auto in, auto out) { *out = single(*in); })},
    {"brains", operation<uint16_t, float>(8, 8, [](auto in, auto out) { Eight::brains(in).store(out); })},
    {"store_halves", operation<float, Half>(8, 8, [](auto in, auto out) { Eight::load(in).store_halves(out); })},
    {"store_bytes", operation<float, int8_t>(8, 8, [](auto in, auto out) { Eight::load(in).store_bytes(out); })},
    {"add", operation<float, float>(16, 8, [](auto in, auto out) { (operand(in, 0) + operand(in, 1)).store(out); })},
    {"take", operation<float, float>(16, 8, [](auto in, auto out) { (operand(in, 0) - operand(in, 1)).store(out); })},
    {"times", operation<float, float>(16, 8, [](auto in, auto out) { (operand(in, 0) * operand(in, 1)).store(out); })},
    {"over", operation<float, float>(16, 8, [](auto in, auto out) { (operand(in, 0) / operand(in, 1)).store(out); })},
    {"larger", operation<float, float>(16, 8, [](auto in, auto out) { larger(operand(in, 0), operand(in, 1)).store(out); })},
    {"smaller", operation<float, float>(16, 8, [](auto in, auto out) { smaller(operand(in, 0), operand(in, 1)).store(out); })},
    {"magnitude", operation<float, float>(8, 8, [](auto in, auto out) { magnitude(operand(in, 0)).store(out); })},
    {"rounded", operation<float, float>(8, 8, [](auto in, auto out) { rounded(operand(in, 0)).store(out); })},
    {"scaled", operation<float, float>(16, 8, [](auto in, auto out) { scaled(operand(in, 0), operand(in, 1)).store(out); })},
    {"fused", operation<float, float>(24, 8, [](auto in, auto out) {
       fused(operand(in, 0), operand(in, 1), operand(in, 2)).store(out);
     })},
    {"where", operation<float, float>(24, 8, [](auto in, auto out) {
       where(operand(in, 0), operand(in, 1), operand(in, 2)).store(out);
     })},
    {"from_lane", operation<float, float>(8, 64, [](auto in, auto out) {
       for (int first = 0; first < LANES; ++first) from_lane(operand(in, 0), first).store(out + first * LANES);
     })},
    {"sum", operation<float, float>(8, 1, [](auto in, auto out) { *out = sum(operand(in, 0)); })},
    {"largest", operation<float, float>(8, 1, [](auto in, auto out) { *out = largest(operand(in, 0)); })},
    {"store_sums", operation<float, float>(32, 4, [](auto in, auto out) {
       store_sums(operand(in, 0), operand(in, 1), operand(in, 2), operand(in, 3), out);
     })},
    {"exponential", operation<float, float>(16, 16, [](auto in, auto out) {
       exponential(Sixteen::load(in)).store(out);
     })},
    {"signed_products", operation<int8_t, float>(64, 8, [](auto in, auto out) {
       store(signed_products(load_block(in), load_block(in + 32)), out);
     })},
    // What they are added to is 1.
    {"add_pairs", operation<int16_t, float>(32, 8, [](auto in, auto out) {
       store(add_pairs(load_block(in), load_block(in + 16), integers(1)), out);
     })},
    {"every_other_byte", operation<uint8_t, int16_t>(32, 32, [](auto in, auto out) {
       const Bytes even = even_bytes(load_block(in)), odd = odd_bytes(load_block(in));
       std::memcpy(out, &even, sizeof even);
       std::memcpy(out + 16, &odd, sizeof odd);
     })},
    {"nibbles", operation<uint8_t, int8_t>(32, 64, [](auto in, auto out) {
       const Bytes low = low_nibbles(load_block(in)), high = high_nibbles(load_block(in));
       std::memcpy(out, &low, sizeof low);
       std::memcpy(out + 32, &high, sizeof high);
     })},
#ifdef DOT_BYTES
    // 32 weights without a sign, then inputs; what weights were lowered by is put back.
    {"add_products", operation<uint8_t, float>(64, 8, [](auto in, auto out) {
       const Bytes inputs = load_block(in + 32), centre = all_fours(0x01010101 * (CENTRE / 2));
       const Integers half = signed_products(centre, inputs);
       const Integers found = add_products(lowered(load_block(in)), inputs, Narrow::integers(0));
       (floats(found) + floats(half) + floats(half)).store(out);
     })},
#endif
};

}  // namespace

int main(int, char** arguments) {
  const auto found = OPERATIONS.find(arguments[1]);
  if (found == OPERATIONS.end()) return 2;
  const Operation& operation = found->second;
  std::vector<char> in(operation.takes), out(operation.gives);
  while (std::fread(in.data(), operation.takes, 1, stdin) == 1) {
    operation.work(in.data(), out.data());
    std::fwrite(out.data(), operation.gives, 1, stdout);
  }
}
