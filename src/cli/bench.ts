import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describeBackend, useBackend } from '../core/backend.js';
import { packedFormats, type PackedFormat } from '../core/engine/dream-backend.js';
import { measureLarge } from './bench/large.js';
import { matmulSpeed, measure, peakSpeed, type Measurement } from './bench/measure.js';
import { clipEncoding, drawing, fidFeatures, stageTraining } from './bench/nano.js';
import { decoding, referenceTransformer, transformerTraining, type Workload } from './bench/transformer.js';
import { guidedSampling, unetTraining } from './bench/unet.js';
import { UsageError, type Command } from './command.js';

interface Benchmark {
  what: string;
  make: () => Workload;
  /** What one step holds of the unit that is reported. */
  units?: number;
  warmup?: number;
  /** Whether bench/torch_models.py has the same. */
  torch?: boolean;
}

const benchmarks: Record<string, Benchmark> = {
  transformer: { what: 'training step, 4 layers, width 256, 16 x 128 tokens', make: () => transformerTraining(referenceTransformer, 16, 128), torch: true },
  unet: { what: 'training step of a U-Net, 8 latents of 32 x 32 x 4', make: () => unetTraining(8, false), torch: true },
  frozen: { what: 'gradient through the frozen U-Net to its conditioning', make: () => unetTraining(8, true), torch: true },
  guided: { what: 'guided denoising step of one image', make: () => guidedSampling(10), units: 10, torch: true },
  decode: { what: 'token after a prompt of 64, with cache (prompt included)', make: () => decoding(referenceTransformer, 64, 64), units: 64, torch: true },
  'stage-ii': { what: 'whole step of nano, 16 documents and pairs', make: () => stageTraining('i-gpt'), warmup: 6 },
  drawing: { what: 'picture of nano, 20 guided steps, decoded, 16 at a time', make: () => drawing(16, 20), units: 16 },
  fid: { what: 'picture through Inception to mixed5 at 96 x 96, 16 at a time', make: () => fidFeatures(16), units: 16 },
  clip: { what: "picture through nano's CLIP, 64 at a time", make: () => clipEncoding(64), units: 64 },
};

/** Training steps of the transformer along one size at a time. */
function scaling(): Record<string, Benchmark> {
  const rows: Record<string, Benchmark> = {};
  const add = (batch: number, tokens: number, width: number) => {
    const sizes = { ...referenceTransformer, hiddenSize: width, mlpSize: Math.round((width * 11) / 4) };
    rows[`batch ${batch}, tokens ${tokens}, width ${width}`] = { what: 'training step', make: () => transformerTraining(sizes, batch, tokens) };
  };
  for (const batch of [1, 4, 16]) add(batch, 128, 256);
  for (const tokens of [32, 128, 512]) add(4, tokens, 256);
  for (const width of [64, 128, 256, 512]) add(4, 128, width);
  return rows;
}

const command: Command = {
  name: 'bench',
  summary: 'Times training, sampling and decoding, and compares with PyTorch where it is installed.',
  usage: `[${Object.keys(benchmarks).join('] [')}] [--torch] [--scaling] [--large FORMAT] [--repetitions N] [--json]`,
  options: {
    torch: { type: 'boolean', help: 'time the same models in PyTorch too, in the same run (python3 with torch)' },
    scaling: { type: 'boolean', help: 'time the transformer over batch, sequence length and width instead' },
    large: { type: 'string', help: `time a language model of 7 billion parameters with ${packedFormats.join(', ')} weights instead` },
    layers: { type: 'string', help: 'with --large: only so many of its 32 layers' },
    repetitions: { type: 'string', help: 'steps to time each (default 9)' },
    json: { type: 'boolean', help: 'print one JSON object a line' },
  },
  async run({ positionals, values }, signal) {
    const repetitions = Number(values.repetitions ?? 9);
    if (!Number.isInteger(repetitions) || repetitions < 1) throw new UsageError(`--repetitions: expected a whole number from 1, found "${values.repetitions}".`);
    const table = values.scaling ? scaling() : benchmarks;
    for (const name of positionals) if (!(name in table)) throw new UsageError(`Unknown benchmark "${name}". There are: ${Object.keys(table).join(', ')}.`);
    const { threads } = await useBackend();
    const print = (row: object, text: string) => console.log(values.json ? JSON.stringify(row) : text);

    const machine = describeBackend();
    print(machine, `${machine.engine}, ${threads} threads, node ${machine.node}, ${machine.processor}`);
    if (values.large !== undefined) {
      const format = values.large as PackedFormat;
      if (!packedFormats.includes(format)) throw new UsageError(`--large: expected one of ${packedFormats.join(', ')}, found "${values.large}".`);
      const found = measureLarge(format, 128, repetitions, values.layers === undefined ? undefined : Number(values.layers));
      const { parameters, promptTokens, prefillSeconds, secondsPerToken, residentGiB } = found;
      print(found, `${(parameters / 1e9).toFixed(2)}e9 parameters as ${format}: prompt of ${promptTokens} tokens ${prefillSeconds.toFixed(1)} s, then ${secondsPerToken.toFixed(2)} s a token, ${residentGiB.toFixed(1)} GiB resident`);
      return;
    }
    const peak = peakSpeed();
    if (peak) print({ name: 'peak', gflops: peak }, `peak         ${peak.toFixed(0)} GFLOP/s of multiply-adds on vectors${String(machine.engine).endsWith('AMX)') ? '; products run on the matrix unit, which has more' : ''}`);
    const torch = values.torch ? new Torch(threads) : undefined;
    if (torch) print({ name: 'torch', ...torch.settings }, `PyTorch      ${Object.entries(torch.settings).map(([key, value]) => `${key} ${value}`).join(', ')}`);
    if (positionals.length === 0 && !values.scaling) products(print, peak, torch);
    for (const [name, { what, make, units = 1, warmup, torch: isThere = false }] of Object.entries(table)) {
      signal.throwIfAborted();
      if (positionals.length > 0 && !positionals.includes(name)) continue;
      const ours = await measure(name, make, { repetitions, units, warmup, peak });
      const referenceMs = torch && isThere ? torch.time(name, repetitions) / units : undefined;
      print({ ...ours, ...(referenceMs ? { referenceMs, ratio: ours.ms / referenceMs } : {}) }, row(what, ours, referenceMs));
    }
  },
};
export default command;

/** Matrix products beside the machine's limit. */
function products(print: (row: object, text: string) => void, peak: number | undefined, torch: Torch | undefined): void {
  for (const size of [256, 512, 1024, 2048]) {
    const gflops = matmulSpeed(size);
    const ms = (2 * size ** 3) / gflops / 1e6;
    const referenceMs = torch?.time(`matmul-${size}`, 10);
    const share = peak && gflops / peak;
    const text = `matmul ${String(size).padEnd(5)} ${gflops.toFixed(0)} GFLOP/s${share ? `, ${percent(share)} of peak` : ''}`;
    print({ name: `matmul ${size}`, ms, gflops, share, ...(referenceMs ? { referenceMs, ratio: ms / referenceMs } : {}) }, text + versus(ms, referenceMs));
  }
}

const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
const time = (ms: number) => `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
const versus = (ms: number, referenceMs: number | undefined) => (referenceMs ? `; PyTorch ${time(referenceMs)}, ratio ${(ms / referenceMs).toFixed(2)}` : '');

function row(what: string, { name, ms, best, gflops, share, outside }: Measurement, referenceMs?: number): string {
  const shares = `${share === undefined ? '' : `, ${percent(share)} of peak`}${outside === undefined ? '' : `, ${percent(outside)} outside kernels`}`;
  return `${name.padEnd(12)} ${time(ms)} (best ${time(best)}), ${gflops.toFixed(0)} GFLOP/s${shares}${versus(ms, referenceMs)} — ${what}`;
}

/** The same workloads in PyTorch, set up as fast as it gets here. */
class Torch {
  readonly settings: Record<string, string>;
  readonly #python: string;
  readonly #environment: NodeJS.ProcessEnv;

  /** Throws, with the remedy, where there is no PyTorch. */
  constructor(readonly threads: number) {
    // Waits are passive: with the default PyTorch's own threads fight for few cores.
    const passive = { ...process.env, OMP_WAIT_POLICY: 'passive' };
    this.#python = findTorch();
    // OpenBLAS takes the kernels of a processor of 2004 where it does not know the processor: the faster of its choice and ours counts.
    const kernels = process.env.OPENBLAS_CORETYPE ? [process.env.OPENBLAS_CORETYPE] : ['', 'SkylakeX', 'Haswell'];
    const speeds = kernels.flatMap((kind) => {
      const environment = { ...passive, ...(kind ? { OPENBLAS_CORETYPE: kind } : {}) };
      const found = this.#run('matmul-1024', 5, environment);
      return found ? [{ kind, environment, ...found }] : [];
    });
    if (speeds.length === 0) throw new Error(`PyTorch in ${this.#python} multiplies no matrices. Debian: apt-get install python3-torch libopenblas0-pthread.`);
    const best = speeds.reduce((a, b) => (b.median < a.median ? b : a));
    this.#environment = best.environment;
    this.settings = { version: best.torch, threads: String(threads), waits: 'passive', blas: best.kind || 'its own choice' };
  }

  /** Median milliseconds of a step. */
  time(name: string, repetitions: number): number {
    const found = this.#run(name, repetitions, this.#environment);
    if (!found) throw new Error(`PyTorch could not run ${name}: ${this.#error}`);
    return found.median;
  }

  #error = '';

  #run(name: string, repetitions: number, env: NodeJS.ProcessEnv): { median: number; torch: string } | undefined {
    try {
      return JSON.parse(execFileSync(this.#python, [script, name, String(repetitions), String(this.threads)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env }));
    } catch (error) {
      this.#error = lastLine(error);
      return undefined; // the caller says so
    }
  }
}

const script = fileURLToPath(new URL('./bench/torch_models.py', import.meta.url));
const lastLine = (error: unknown) => (error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? (error as Error).message;

/** A Python with PyTorch. One of one's own often hides the system's, for which Debian has it. */
function findTorch(): string {
  const errors: string[] = [];
  for (const python of ['python3', '/usr/bin/python3']) {
    try {
      execFileSync(python, ['-c', 'import torch'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      return python;
    } catch (error) {
      errors.push(`${python}: ${lastLine(error)}`);
    }
  }
  throw new Error(`No PyTorch was found (${errors.join('; ')}). Debian: apt-get install python3-torch libopenblas0-pthread.`);
}
