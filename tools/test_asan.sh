#!/usr/bin/env bash
# Builds a second copy of fastgan in build/asan with AddressSanitizer and UndefinedBehaviorSanitizer
# and runs the tests of the C++ kernels on it; any report ends the run.
# Usage: tools/test_asan.sh PATH_OF_VENV_BIN [pytest arguments]
set -euo pipefail
bin=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
export CXX=${CXX:-g++}

runtime=()
for library in libasan.so libubsan.so libstdc++.so; do
  path=$("$CXX" -print-file-name="$library" 2> /dev/null || true)
  if [[ $path != /* ]]; then
    echo "test-asan: $CXX has no $library; install the sanitizer runtime of your GCC, or set CXX"
    exit 1
  fi
  runtime+=("$path")
done

# Checks of every single access again, which AddressSanitizer sees: with them GCC takes more than half an
# hour for one file of unrolled kernels, without them half a minute.
twice=null,alignment,object-size,pointer-overflow,bounds
flags="-fsanitize=address,undefined -fno-sanitize=$twice -fno-sanitize-recover=all"
CXXFLAGS="$flags" LDFLAGS="$flags" FASTGAN_REQUIRE_EXT=1 \
  "$bin/python" setup.py -q build --build-lib build/asan/lib --build-temp build/asan/objects

# Other packages bring a module named tests, too, and would be found first.
ln -sfn "$PWD/tests" build/asan/lib/tests
ln -sfn "$PWD/benchmarks" build/asan/lib/benchmarks

# The runtime must be loaded before Python; torch and Python themselves leak at exit.
export LD_PRELOAD="${runtime[*]}" PYTHONPATH="$PWD/build/asan/lib" PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export FASTGAN_REQUIRE=reference,cpp OMP_NUM_THREADS=2
(cd build && "$bin/python" -c '
import fastgan, fastgan._C
path = fastgan._C.__file__
assert "asan" in path, f"not the instrumented copy: {path}"
assert b"__asan_report_load" in open(path, "rb").read(), f"not instrumented: {path}"
')
# Append: fastgan comes from the copy, and only the tests from this tree. What compiles with
# torch.compile would start compilers under the sanitizer, and adds no code of ours.
"$bin/pytest" --import-mode=append -p no:cacheprovider -n auto --maxprocesses 8 \
  -k "not compile and not opcheck" tests/ops tests/csrc tests/engine "$@"
