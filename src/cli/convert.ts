import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeValues, elementCount, elementSize, isFloat, reusedScratch, writeAtomically, writeSafetensors, type Dtype, type TensorSource, type TensorToWrite } from '../core/safetensors.js';
import { openDream } from '../dreamllm/checkpoint.js';
import { UsageError, type Command } from './command.js';

const dtypeNames: Record<string, Dtype | undefined> = { keep: undefined, f32: 'F32', f16: 'F16', bf16: 'BF16' };

/** Values that are converted at a time. */
const partSize = 1 << 22;

export interface ConvertOptions {
  /** Floats are rounded to it; other dtypes stay. Default: as in the source. */
  dtype?: Dtype;
  /** Largest file, in bytes; a folder gets shards and an index where one is not enough. Default: one file. */
  shardBytes?: number;
  signal?: AbortSignal;
  onTensor?(done: number, total: number): void;
}

/**
 * Writes a checkpoint as safetensors: memory holds the bytes of one tensor and a few million values of it at a time. `target` is a .safetensors file, or a
 * folder. Returns the files written.
 */
export function convertCheckpoint(source: TensorSource, target: string, { dtype, shardBytes = Infinity, signal, onTensor }: ConvertOptions = {}): string[] {
  const isFile = target.endsWith('.safetensors');
  let done = 0;
  const scratch = reusedScratch();
  const entries = [...source.tensors].map(([key, info]): [string, TensorToWrite] => {
    const stored = dtype && isFloat(info.dtype) ? dtype : info.dtype;
    const values = function* () {
      signal?.throwIfAborted();
      const raw = source.readRaw?.(key, scratch);
      if (raw) {
        const partBytes = partSize * elementSize(raw.dtype);
        for (let at = 0; at < raw.bytes.length; at += partBytes) yield decodeValues(raw.dtype, raw.bytes.slice(at, at + partBytes));
      } else yield source.read(key).values;
      onTensor?.(++done, source.tensors.size);
    };
    return [key, { dtype: stored, shape: info.shape, values }];
  });
  const metadata = { ...source.metadata, format: 'pt' }; // what transformers asks for before it reads a file
  const shards = split(entries, isFile ? Infinity : shardBytes);
  if (isFile || shards.length === 1) {
    const file = isFile ? target : join(target, 'model.safetensors');
    writeSafetensors(file, new Map(entries), metadata);
    return [file];
  }
  const name = (i: number) => `model-${String(i + 1).padStart(5, '0')}-of-${String(shards.length).padStart(5, '0')}.safetensors`;
  shards.forEach((shard, i) => writeSafetensors(join(target, name(i)), new Map(shard), metadata));
  const index = {
    metadata: { total_size: entries.reduce((sum, [, tensor]) => sum + size(tensor), 0) },
    weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map(([key]) => [key, name(i)]))),
  };
  const indexFile = join(target, 'model.safetensors.index.json');
  writeAtomically(indexFile, (write) => write(Buffer.from(`${JSON.stringify(index, null, 2)}\n`)));
  return [...shards.map((_, i) => join(target, name(i))), indexFile];
}

const size = ({ dtype, shape }: TensorToWrite): number => elementCount(shape) * elementSize(dtype);

/** Groups of tensors in their order, none above `limit` bytes unless one tensor alone is. */
function split(entries: [string, TensorToWrite][], limit: number): [string, TensorToWrite][][] {
  const shards: [string, TensorToWrite][][] = [[]];
  let used = 0;
  for (const entry of entries) {
    const bytes = size(entry[1]);
    if (used > 0 && used + bytes > limit) {
      shards.push([]);
      used = 0;
    }
    shards.at(-1)!.push(entry);
    used += bytes;
  }
  return shards;
}

/** Reads sizes such as `5GB`, `500MB`. */
function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(GB|MB|KB)$/i.exec(text);
  if (!match) throw new UsageError(`--shard: expected a size such as 5GB or 500MB, found "${text}".`);
  return Number(match[1]) * { GB: 1e9, MB: 1e6, KB: 1e3 }[match[2].toUpperCase() as 'GB' | 'MB' | 'KB'];
}

/** Small files that make a folder usable: configurations and tokenizers. */
function companions(folder: string): string[] {
  return readdirSync(folder).filter((name) => (/\.json$|^tokenizer\.model$/.test(name) && !name.endsWith('.index.json')) && statSync(join(folder, name)).isFile());
}

const command: Command = {
  name: 'convert',
  summary: 'Writes a checkpoint (safetensors, shards, torch .bin, a DreamLLM release) as safetensors, tensor by tensor.',
  usage: 'SOURCE TARGET [--dtype keep|f32|f16|bf16] [--shard SIZE]',
  options: {
    dtype: { type: 'string', help: 'dtype of floats: keep (default), f32, f16, bf16; rounded to nearest, ties to even' },
    shard: { type: 'string', help: 'largest file of a target folder, such as 5GB' },
  },
  async run({ positionals, values }, signal) {
    if (positionals.length !== 2) throw new UsageError(`convert: expected SOURCE and TARGET, found ${positionals.length} arguments.`);
    const [from, to] = positionals;
    if (!existsSync(from)) throw new UsageError(`convert: ${from} does not exist.`);
    const dtypeName = String(values.dtype ?? 'keep');
    if (!(dtypeName in dtypeNames)) throw new UsageError(`--dtype: expected one of ${Object.keys(dtypeNames).join(', ')}, found "${dtypeName}".`);
    const shardBytes = values.shard === undefined ? undefined : parseBytes(String(values.shard));
    const isFile = to.endsWith('.safetensors');
    if (isFile ? existsSync(to) : existsSync(to) && companions(to).length + readdirSync(to).length > 0) throw new UsageError(`convert: ${to} exists and is not overwritten. Remove it or name another target.`);
    const start = performance.now();
    const source = openDream(from);
    try {
      let shown = 0;
      const files = convertCheckpoint(source, to, {
        dtype: dtypeNames[dtypeName], shardBytes, signal,
        onTensor(done, total) {
          if (!process.stderr.isTTY || performance.now() - shown < 200) return;
          shown = performance.now();
          process.stderr.write(`\r${done} of ${total} tensors`);
        },
      });
      if (process.stderr.isTTY) process.stderr.write('\r');
      if (!isFile && statSync(from).isDirectory()) {
        mkdirSync(to, { recursive: true });
        for (const name of companions(from)) copyFileSync(join(from, name), join(to, name));
      }
      const seconds = (performance.now() - start) / 1000;
      console.log(`${source.tensors.size} tensors to ${files.join(', ')} in ${seconds.toFixed(1)} s, at most ${(process.resourceUsage().maxRSS / 1e6).toFixed(2)} GB of memory.`);
    } finally {
      source.close();
    }
  },
};

export default command;
