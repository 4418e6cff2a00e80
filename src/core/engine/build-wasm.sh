#!/bin/sh
# Builds the three WebAssembly engines from native/ with clang 19 and lld 19 (Debian: apt-get install clang-19 lld-19) and records their hashes.
# With --check, builds to a temporary folder and fails when the committed files differ.
set -eu
cd "$(dirname "$0")"
out=wasm
[ "${1:-}" = --check ] && out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
mkdir -p "$out"
# Loop strength reduction makes addresses that the instructions' own offsets can no longer express.
build() {
  name=$1; shift
  clang-19 --target=wasm32 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd -Wall -Wextra -Wno-pass-failed \
    -msimd128 -mbulk-memory -matomics -mmutable-globals -mnontrapping-fptoint "$@" -nostdlib -fno-builtin-memset -fno-builtin-memcpy \
    -Wl,--no-entry -Wl,--import-memory -Wl,--shared-memory -Wl,--max-memory=4294967296 -Wl,--export=__stack_pointer -Wl,--export=__heap_base \
    -Wl,-z,stack-size=262144 -Wl,--strip-all -mllvm -disable-lsr -o "$out/$name.wasm" native/wasm.c
}
build simd128
build relaxed-simd -mrelaxed-simd
build simd256 -mrelaxed-simd -DSIMD256 -mllvm -force-vector-width=8 -mllvm -force-vector-interleave=1
# The sources' own hash shows an engine that is older than they are, without a compiler.
sources() {
  LC_ALL=C
  cat native/*.h native/wasm.c
}
{ (cd "$out" && sha256sum simd128.wasm relaxed-simd.wasm simd256.wasm); printf '%s  sources\n' "$(sources | sha256sum | cut -d' ' -f1)"; } > "$out/engine.hash"
if [ "$out" != wasm ]; then
  diff "$out/engine.hash" wasm/engine.hash && echo 'The committed WebAssembly is what the sources give.'
fi
