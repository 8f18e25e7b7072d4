// Rows shared out among threads: each begins with an equal share, and one that has finished takes
// half of what the slowest has left. Cores of a shared machine differ in speed from one millisecond
// to the next. No torch in here.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace fastgan::engine {

class RowQueue {
 public:
  explicit RowQueue(int threads) : threads_(threads), ranges_(new Range[threads]) {}

  // The share of a thread; each calls it for itself before it takes rows. All rows of the last use
  // must have been taken.
  void start(int thread, int rows) {
    set(thread, static_cast<int>(int64_t{rows} * thread / threads_),
        static_cast<int>(int64_t{rows} * (thread + 1) / threads_));
  }

  // Up to `most` neighbouring rows, or none when too few are left to help anybody. `least` is what
  // must remain with somebody for it to be worth taking a part of it.
  bool take(int thread, int most, int least, int& begin, int& end) {
    for (;;) {
      if (take_front(thread, most, begin, end)) return true;
      if (!steal(thread, least)) return false;
    }
  }

 private:
  struct alignas(64) Range {
    std::atomic<uint64_t> value{0};  // begin, end
  };
  static uint64_t pack(int begin, int end) {
    return static_cast<uint64_t>(static_cast<uint32_t>(begin)) << 32 | static_cast<uint32_t>(end);
  }
  static int begin_of(uint64_t value) { return static_cast<int>(value >> 32); }
  static int end_of(uint64_t value) { return static_cast<int>(value & 0xffffffffu); }
  void set(int thread, int begin, int end) {
    ranges_[thread].value.store(pack(begin, end), std::memory_order_release);
  }

  bool take_front(int thread, int most, int& begin, int& end) {
    std::atomic<uint64_t>& range = ranges_[thread].value;
    uint64_t value = range.load(std::memory_order_acquire);
    do {
      begin = begin_of(value), end = end_of(value);
      if (begin >= end) return false;
      if (end > begin + most) end = begin + most;
    } while (!range.compare_exchange_weak(value, pack(end, end_of(value))));
    return true;
  }

  bool steal(int thread, int least) {
    for (;;) {
      int victim = -1, left = least - 1;
      uint64_t value = 0;
      for (int i = 0; i < threads_; ++i) {
        const uint64_t found = ranges_[i].value.load(std::memory_order_acquire);
        if (end_of(found) - begin_of(found) <= left) continue;
        victim = i, left = end_of(found) - begin_of(found), value = found;
      }
      if (victim < 0) return false;
      const int begin = begin_of(value), end = end_of(value), middle = end - (end - begin) / 2;
      if (!ranges_[victim].value.compare_exchange_strong(value, pack(begin, middle))) continue;
      set(thread, middle, end);
      return true;
    }
  }

  const int threads_;
  std::unique_ptr<Range[]> ranges_;
};

}  // namespace fastgan::engine
