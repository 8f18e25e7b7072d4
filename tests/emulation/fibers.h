// The threads of one block as fibers of one operating-system thread: contexts, the scheduler, and
// what the sanitizers need to be told. host_shim.h puts the names of CUDA on top.
//
// Everything that is not the kernel is hidden from ThreadSanitizer (SHIM_HIDDEN), switches between
// fibers order nothing, and only barriers do: a race between two threads of the GPU is then a race
// between two fibers.
#pragma once

#include <driver_types.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector_types.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <vector>

#define SHIM_HIDDEN __attribute__((no_sanitize("thread"), noinline))

extern "C" {
#ifdef __SANITIZE_ADDRESS__
void __sanitizer_start_switch_fiber(void**, const void*, size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
#endif
#ifdef __SANITIZE_THREAD__
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
#endif
}

namespace shim {

constexpr size_t kStack = 64 << 10;
constexpr int kMaxThreads = 1024, kWarp = 32, kMaxWarps = kMaxThreads / kWarp;
constexpr int kMaxSharedArrays = 32;
constexpr unsigned kMaxGridYZ = 65535, kMaxGridX = 2147483647;
constexpr size_t kMaxShared = 48 << 10;  // what a launch gets without asking for more

enum class State { kReady, kAtBarrier, kAtWarp, kExited };

struct Fiber {
  ucontext_t context;
  char* stack;
  State state;
  unsigned mask;  // lanes that the warp operation it waits at names
  int site, line;
  uint3 index;
  void* tsan;
  void* fake_stack;  // AddressSanitizer's
};

// Addresses that ThreadSanitizer knows barriers by. New ones for each block, or a barrier of one
// block would seem to order it before the next block. Two in turn, or a barrier would seem to order
// those that already came to the next.
struct Keys {
  char start, barrier[2], warp[kMaxWarps][2];
};

struct Shared {
  const void* declaration;
  void* memory;
};

struct Machine {
  Fiber fibers[kMaxThreads];
  int threads = 0;
  Fiber* current = nullptr;
  ucontext_t scheduler;
  dim3 grid, block;
  uint3 block_index{};
  std::function<void()> body;
  Shared shared[kMaxSharedArrays];  // and no vector, whose functions ThreadSanitizer would see
  int shared_count = 0;
  size_t shared_bytes = 0;
  void* dynamic = nullptr;
  std::vector<void*> garbage;  // freed after the launch: no address serves two blocks
  char* stacks = nullptr;
  Keys* keys = nullptr;
  char end;
  unsigned barrier_phase = 0, warp_phase[kMaxWarps];
  uint64_t blocks = 0, launches = 0;  // so far, the present ones included
  uint64_t slots[kMaxWarps][kWarp];   // values in a shuffle
  void *main_tsan = nullptr, *main_fake_stack = nullptr;
  const void* main_stack = nullptr;
  size_t main_stack_bytes = 0;
};

inline Machine machine;

SHIM_HIDDEN inline void acquire([[maybe_unused]] void* key) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(key);
#endif
}

SHIM_HIDDEN inline void release([[maybe_unused]] void* key) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(key);
#endif
}

SHIM_HIDDEN inline void tsan_switch([[maybe_unused]] void* fiber) {
#ifdef __SANITIZE_THREAD__
  constexpr unsigned kOrdersNothing = 1;
  __tsan_switch_to_fiber(fiber, kOrdersNothing);
#endif
}

[[noreturn]] SHIM_HIDDEN inline void die(const char* why) {
  const uint3 b = machine.block_index;
  std::fprintf(stderr, "cuda-shim: %s, block (%u,%u,%u)\n", why, b.x, b.y, b.z);
  std::map<int, int> barriers, warps;
  int exited = 0;
  for (int i = 0; i < machine.threads; ++i) {
    const Fiber& f = machine.fibers[i];
    if (f.state == State::kAtBarrier) ++barriers[f.line];
    if (f.state == State::kAtWarp) ++warps[f.line];
    exited += f.state == State::kExited;
  }
  for (auto [line, n] : barriers) std::fprintf(stderr, "  line %d: %d at a barrier\n", line, n);
  for (auto [line, n] : warps) std::fprintf(stderr, "  line %d: %d at a warp operation\n", line, n);
  std::fprintf(stderr, "  %d exited\n", exited);
  std::abort();
}

SHIM_HIDDEN inline void to_scheduler() {
  Fiber* self = machine.current;
#ifdef __SANITIZE_ADDRESS__
  const bool last = self->state == State::kExited;
  __sanitizer_start_switch_fiber(last ? nullptr : &self->fake_stack, machine.main_stack,
                                 machine.main_stack_bytes);
#endif
  tsan_switch(machine.main_tsan);
  swapcontext(&self->context, &machine.scheduler);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(self->fake_stack, &machine.main_stack, &machine.main_stack_bytes);
#endif
}

SHIM_HIDDEN inline void resume(Fiber& fiber) {
  machine.current = &fiber;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&machine.main_fake_stack, fiber.stack, kStack);
#endif
  tsan_switch(fiber.tsan);
  swapcontext(&machine.scheduler, &fiber.context);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(machine.main_fake_stack, nullptr, nullptr);
#endif
}

SHIM_HIDDEN inline void entry() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &machine.main_stack, &machine.main_stack_bytes);
#endif
  acquire(&machine.keys->start);
  machine.body();
  release(&machine.end);
  machine.current->state = State::kExited;
  to_scheduler();
}

SHIM_HIDDEN inline void wait(State state, unsigned mask, int site, int line) {
  Fiber* self = machine.current;
  self->state = state;
  self->mask = mask;
  self->site = site;
  self->line = line;
  to_scheduler();
}

// Memory of the block, aligned as on the GPU, all bytes 0xff: NaN in every floating type, so that a
// read before the write shows.
SHIM_HIDDEN inline void* poisoned(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes) != 0) die("no memory for a block");
  std::memset(memory, 0xff, bytes);
  machine.garbage.push_back(memory);
  return memory;
}

SHIM_HIDDEN inline void map_stacks() {
  if (machine.stacks != nullptr) return;
  void* memory = mmap(nullptr, kMaxThreads * kStack, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) die("no memory for stacks");
  machine.stacks = static_cast<char*>(memory);
}

SHIM_HIDDEN inline void start_fibers() {
  map_stacks();
  const dim3 block = machine.block;
  for (int i = 0; i < machine.threads; ++i) {
    Fiber& f = machine.fibers[i];
    const unsigned n = i;
    f.state = State::kReady;
    f.stack = machine.stacks + i * kStack;
    f.index = {n % block.x, n / block.x % block.y, n / (block.x * block.y)};
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, entry, 0);
#ifdef __SANITIZE_THREAD__
    f.tsan = __tsan_create_fiber(0);
#endif
  }
}

// Lets the lanes of one warp go on when all that their operation names have come. True if so. Of
// several groups of lanes, the one of the lowest lane goes first.
SHIM_HIDDEN inline bool release_warp(int warp) {
  Fiber* lanes = machine.fibers + warp * kWarp;
  const int size = std::min(kWarp, machine.threads - warp * kWarp);
  const Fiber* first =
      std::find_if(lanes, lanes + size, [](Fiber& f) { return f.state == State::kAtWarp; });
  if (first == lanes + size) return false;
  const unsigned mask = first->mask;
  if (!(mask >> (first - lanes) & 1)) die("a lane is not in the mask of its own warp operation");
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (lane >= size) die("the mask of a warp operation names lanes beyond the block");
    const Fiber& f = lanes[lane];
    if (f.state == State::kExited) die("the mask of a warp operation names exited lanes");
    if (f.state != State::kAtWarp) return false;
    if (f.mask != mask || f.site != first->site) die("lanes of a warp operation do not agree");
  }
  ++machine.warp_phase[warp];
  for (int lane = 0; lane < size; ++lane) {
    if (mask >> lane & 1) lanes[lane].state = State::kReady;
  }
  return true;
}

// Lets the block go on when all its threads but the exited have come to one barrier. True if so.
SHIM_HIDDEN inline bool release_barrier() {
  const Fiber* first = nullptr;
  bool agree = true;
  for (int i = 0; i < machine.threads; ++i) {
    const Fiber& f = machine.fibers[i];
    if (f.state == State::kExited) continue;
    if (f.state != State::kAtBarrier) return false;
    if (first == nullptr) first = &f;
    agree = agree && f.site == first->site;
  }
  if (first == nullptr) return false;
  if (!agree) die("divergent __syncthreads");
  ++machine.barrier_phase;
  for (int i = 0; i < machine.threads; ++i) {
    Fiber& f = machine.fibers[i];
    if (f.state == State::kAtBarrier) f.state = State::kReady;
  }
  return true;
}

// One block, from its start to the exit of its last thread.
SHIM_HIDDEN inline void run_block(std::vector<int>& order, std::mt19937* random) {
  ++machine.blocks;
  machine.shared_count = 0;
  machine.barrier_phase = 0;
  std::fill(machine.warp_phase, machine.warp_phase + kMaxWarps, 0u);
  machine.keys = static_cast<Keys*>(poisoned(sizeof(Keys)));
  machine.dynamic = machine.shared_bytes > 0 ? poisoned(machine.shared_bytes) : nullptr;
  const size_t dynamic_bytes = machine.shared_bytes;
  start_fibers();
  release(&machine.keys->start);
  int exited = 0;
  while (exited < machine.threads) {
    bool moved = false;
    if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
    for (int i : order) {
      Fiber& f = machine.fibers[i];
      if (f.state != State::kReady) continue;
      resume(f);
      moved = true;
      exited += f.state == State::kExited;
    }
    for (int w = 0; w * kWarp < machine.threads; ++w) moved = release_warp(w) || moved;
    moved = release_barrier() || moved;
    if (!moved) die("deadlock");
  }
  machine.shared_bytes = dynamic_bytes;
#ifdef __SANITIZE_THREAD__
  for (int i = 0; i < machine.threads; ++i) __tsan_destroy_fiber(machine.fibers[i].tsan);
  munmap(machine.stacks, kMaxThreads * kStack);
  machine.stacks = nullptr;  // or stacks would seem to be written by two blocks at once
#endif
}

}  // namespace shim
