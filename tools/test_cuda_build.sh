#!/usr/bin/env bash
# Builds both extensions with the CUDA torch of an environment and tests them there. No GPU needed.
# Usage: tools/test_cuda_build.sh FOLDER_OF_THE_ENVIRONMENT [arguments for pytest]
set -euo pipefail
venv=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

# In a copy: beside .venv's own torch a fastgan/_C_cuda would be there that it cannot load. Objects
# stay, so that a second run compiles what changed.
tree=build/cuda-tree
rm -rf $tree/csrc $tree/fastgan $tree/kernels $tree/tests
mkdir -p $tree
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if test -f "$file"; then printf '%s\0' "$file"; fi
done | xargs -0 cp -p --parents -t $tree

cd $tree
export FASTGAN_REQUIRE_EXT=1 FASTGAN_CUDA=1 MAX_JOBS="${MAX_JOBS:-1}"
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-8.0;9.0+PTX}"
FASTGAN_SKIP_EXT=1 "$venv/bin/pip" install -q --no-build-isolation -e .
"$venv/bin/python" setup.py -q build_ext --inplace
FASTGAN_REQUIRE=cuda "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/cuda_build "$@"
