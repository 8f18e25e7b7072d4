#include "engine/team.h"

#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fastgan::engine {
namespace {

constexpr int kSpins = 4000;                             // then the core is offered to others
constexpr std::chrono::microseconds kIdleSpinning{200};  // then a worker sleeps

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

Team::Team(int threads) : threads_(threads < 1 ? 1 : threads) {
  workers_.reserve(static_cast<size_t>(threads_) - 1);
  for (int t = 1; t < threads_; ++t) workers_.emplace_back([this, t] { worker(t); });
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    epoch_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void Team::run(const std::function<void(int)>& work) {
  if (threads_ == 1) {
    work(0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    epoch_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  work(0);
  barrier();
}

void Team::barrier() {
  if (threads_ == 1) return;
  const unsigned phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
    if (spins < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// Spins for a while, as the next frame often follows at once, then sleeps.
bool Team::wait_for_work(unsigned seen) {
  const auto start = std::chrono::steady_clock::now();
  while (epoch_.load(std::memory_order_acquire) == seen) {
    for (int i = 0; i < 64 && epoch_.load(std::memory_order_relaxed) == seen; ++i) pause();
    if (std::chrono::steady_clock::now() - start < kIdleSpinning) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
  }
  return !stop_;
}

void Team::worker(int thread) {
  for (unsigned seen = 0; wait_for_work(seen); ++seen) {
    (*work_)(thread);
    barrier();
  }
}

}  // namespace fastgan::engine
