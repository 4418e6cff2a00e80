// Builds the native engine into build/engine at the package's root. With --optional (on installation) a missing compiler is one line, not an error.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const sources = join(here, 'native');
const target = resolve(here, '../../../build/engine');
const optional = process.argv.includes('--optional');

function stop(reason) {
  console.log(`dreamllm: no native engine (${reason}); the WebAssembly engine will run. For more speed: npm run build:native.`);
  process.exit(optional ? 0 : 1);
}

/** Node's own headers: beside the binary, where the system's package puts them, or where npm was told. */
function headers() {
  const folders = [resolve(dirname(process.execPath), '../include/node'), '/usr/include/node', '/usr/local/include/node'];
  const told = process.env.npm_config_nodedir;
  if (told) folders.unshift(join(told, 'include/node'));
  return folders.find((folder) => existsSync(join(folder, 'node_api.h')));
}

/** Changes when a source or the flags do. */
function fingerprint(flags) {
  const hash = createHash('sha256').update(flags.join(' '));
  for (const name of readdirSync(sources, { recursive: true }).filter((path) => /\.[ch]$/.test(path)).sort()) hash.update(name).update(readFileSync(join(sources, name)));
  return hash.digest('hex');
}

if (process.platform === 'win32') stop('Windows is not supported');
const include = headers();
if (!include) stop("Node's headers node_api.h were not found");
const compiler = [process.env.CC, 'cc', 'gcc', 'clang'].find((name) => name && spawnSync(name, ['--version']).status === 0);
if (!compiler) stop('no C compiler: cc, gcc or clang');

const flags = [
  '-O3', '-std=gnu11', '-fno-math-errno', '-fno-trapping-math', '-ffp-contract=fast', '-fopenmp-simd', '-fPIC', '-fvisibility=hidden', '-pthread',
  process.arch === 'x64' ? '-march=native' : '-mcpu=native',
  ...(process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared']),
];
// Without this GCC keeps to 256-bit vectors on processors with 512.
if (process.arch === 'x64') flags.push('-mprefer-vector-width=512');

const stamp = { processor: cpus()[0].model, node: process.version, compiler, fingerprint: fingerprint(flags) };
const stampFile = join(target, 'engine.json');
if (existsSync(stampFile) && existsSync(join(target, 'engine.node'))) {
  const built = JSON.parse(readFileSync(stampFile, 'utf8'));
  if (built.processor === stamp.processor && built.fingerprint === stamp.fingerprint) process.exit(0);
}

mkdirSync(target, { recursive: true });
// Built beside and moved: a process that has the old one loaded keeps it.
const fresh = join(target, `engine.${process.pid}.node`);
const { status, stderr } = spawnSync(compiler, [...flags, `-I${include}`, '-o', fresh, join(sources, 'addon.c'), '-lm'], { encoding: 'utf8' });
if (status !== 0) {
  rmSync(fresh, { force: true });
  if (!optional) console.error(stderr);
  stop(`${compiler} failed`);
}
renameSync(fresh, join(target, 'engine.node'));
writeFileSync(stampFile, `${JSON.stringify(stamp, null, 2)}\n`);
console.log(`dreamllm: built the native engine for ${stamp.processor}.`);
