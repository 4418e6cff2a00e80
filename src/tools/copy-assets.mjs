// Copies what the compiler does not: built WebAssembly, schemas and other files that the library reads beside its code.
import { chmodSync, cpSync, readdirSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';

const kept = new Set(['.wasm', '.json', '.svg', '.css', '.html', '.mjs', '.node', '.hash', '.py']);

function copy(from, to) {
  for (const name of readdirSync(from)) {
    const source = join(from, name);
    if (statSync(source).isDirectory()) copy(source, join(to, name));
    else if (kept.has(extname(name))) cpSync(source, join(to, name));
  }
}

copy('src', 'dist');

// npm links the command before the first build has made it, so it cannot set the mode itself.
chmodSync('dist/cli/main.js', 0o755);
