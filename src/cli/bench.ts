import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describeBackend, useBackend } from '../core/backend.js';
import { packedFormats, type PackedFormat } from '../core/engine/dream-backend.js';
import { measureLarge } from './bench/large.js';
import { matmulSpeed, measure, peakSpeed, type Measurement } from './bench/measure.js';
import { decoding, referenceTransformer, transformerTraining, type Workload } from './bench/transformer.js';
import { guidedSampling, unetTraining } from './bench/unet.js';
import { UsageError, type Command } from './command.js';

interface Benchmark {
  what: string;
  make: () => Workload;
  /** What one step holds of the unit that is reported. */
  units?: number;
  /** Whether bench/torch.py has the same. */
  torch: boolean;
}

const benchmarks: Record<string, Benchmark> = {
  transformer: { what: 'training step, 4 layers, width 256, 16 x 128 tokens', make: () => transformerTraining(referenceTransformer, 16, 128), torch: true },
  unet: { what: 'training step of a U-Net, 8 latents of 32 x 32 x 4', make: () => unetTraining(8, false), torch: true },
  frozen: { what: 'gradient through the frozen U-Net to its conditioning', make: () => unetTraining(8, true), torch: true },
  guided: { what: 'guided denoising step of one image', make: () => guidedSampling(10), units: 10, torch: true },
  decode: { what: 'token after a prompt of 64, with cache (prompt included)', make: () => decoding(referenceTransformer, 64, 64), units: 64, torch: true },
};

/** Training steps of the transformer along one size at a time. */
function scaling(): Record<string, Benchmark> {
  const rows: Record<string, Benchmark> = {};
  const add = (batch: number, tokens: number, width: number) => {
    const sizes = { ...referenceTransformer, hiddenSize: width, mlpSize: Math.round((width * 11) / 4) };
    rows[`batch ${batch}, tokens ${tokens}, width ${width}`] = { what: 'training step', make: () => transformerTraining(sizes, batch, tokens), torch: false };
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
    if (positionals.length === 0 && !values.scaling) speed(print);
    for (const [name, { what, make, units = 1, torch }] of Object.entries(table)) {
      signal.throwIfAborted();
      if (positionals.length > 0 && !positionals.includes(name)) continue;
      const ours = measure(name, make, repetitions, units);
      const theirs = values.torch && torch ? torchTime(name, repetitions, threads, units) : undefined;
      const ratio = theirs && ours.median / theirs;
      print({ ...ours, ...(theirs ? { torchMedian: theirs, ratio } : {}) }, row(name, what, ours, theirs));
    }
  },
};
export default command;

/** Matrix products beside the machine's limit. */
function speed(print: (row: object, text: string) => void): void {
  const peak = peakSpeed();
  if (peak) print({ name: 'peak', gflops: peak }, `peak         ${peak.toFixed(0)} GFLOP/s of multiply-adds on registers`);
  for (const size of [256, 512, 1024, 2048]) {
    const gflops = matmulSpeed(size);
    print({ name: `matmul ${size}`, gflops, share: peak && gflops / peak }, `matmul ${String(size).padEnd(5)} ${gflops.toFixed(0)} GFLOP/s${peak ? `, ${((100 * gflops) / peak).toFixed(0)} % of peak` : ''}`);
  }
}

function row(name: string, what: string, { median, best, gflops, outside }: Measurement, theirs?: number): string {
  const share = outside === undefined ? '' : `, ${(100 * outside).toFixed(0)} % outside kernels`;
  const versus = theirs ? `; PyTorch ${theirs.toFixed(1)} ms, ratio ${(median / theirs).toFixed(2)}` : '';
  return `${name.padEnd(12)} ${median.toFixed(1)} ms (best ${best.toFixed(1)}), ${gflops.toFixed(0)} GFLOP/s${share}${versus} — ${what}`;
}

/** Median milliseconds of the same workload in PyTorch. Waits are passive: with the default PyTorch's own threads fight for few cores. */
function torchTime(name: string, repetitions: number, threads: number, units: number): number {
  const script = fileURLToPath(new URL('./bench/torch_models.py', import.meta.url));
  const errors: string[] = [];
  // A python3 of one's own often hides the system's, for which Debian has PyTorch.
  for (const python of ['python3', '/usr/bin/python3']) {
    try {
      const output = execFileSync(python, [script, name, String(repetitions), String(threads)], {
        encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, OMP_WAIT_POLICY: 'passive' },
      });
      return (JSON.parse(output) as { median: number }).median / units;
    } catch (error) {
      errors.push(`${python}: ${(error as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? (error as Error).message}`);
    }
  }
  throw new Error(`PyTorch could not run ${name} (${errors.join('; ')}). Debian: apt-get install python3-torch.`);
}
