import { readdirSync } from 'node:fs';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../core/floats.js';
import { openSafetensors, openShards, readSafetensors } from '../../core/safetensors.js';
import type { Kind } from './kinds.js';

/** Files of the safetensors format itself: every dtype, shards, rounding, and files to refuse. Everything must be exact. */
export const safetensorsKind: Kind = {
  name: 'safetensors format',
  matches: (fixture) => fixture.has('dtypes.safetensors') && fixture.has('rounding.json'),
  async run(fixture, report) {
    const stored = readSafetensors(fixture.path('dtypes.safetensors'));
    const { tensors, metadata } = fixture.json('dtypes.json') as { tensors: Record<string, { dtype: string; shape: number[]; values: unknown[] }>; metadata: object };
    report.claim('metadata', JSON.stringify(stored.metadata) === JSON.stringify(metadata));
    report.claim('keys', same([...stored.tensors.keys()].sort(), Object.keys(tensors).sort()));
    for (const [key, { dtype, shape, values }] of Object.entries(tensors)) {
      const found = stored.tensors.get(key);
      report.claim(key, found !== undefined && found.dtype === dtype && same(found.shape, shape) && same([...(found.values as Iterable<number | bigint>)].map(String), values.map(asText)));
    }

    const shards = openShards(fixture.path('model.safetensors.index.json'));
    for (const [key, { shape, sum, first, last }] of Object.entries(fixture.json('shards.json') as Record<string, { shape: number[]; sum: number; first: number; last: number }>)) {
      const found = shards.read(key);
      const values = Array.from(found.values as Float32Array);
      const isRight = same(found.shape, shape) && values[0] === first && values.at(-1) === last;
      report.claim(`shards: ${key}`, isRight);
      // The order of a sum is free, so its last digits are.
      report.check(`shards: sum of ${key}`, Math.abs(values.reduce((a, b) => a + b, 0) - sum), 1e-5);
    }
    shards.close();

    const rounding = fixture.json('rounding.json') as Record<'float32' | 'to_bf16' | 'to_f16' | 'bf16_bits' | 'f16_bits', unknown[]>;
    const values = Float32Array.from(rounding.float32, (x) => Number(asText(x)));
    const [brain, half] = [float32ToBfloat16(values), float32ToFloat16(values)];
    report.claim('float32 to bfloat16', same([...bfloat16ToFloat32(brain)].map(String), rounding.to_bf16.map(asText)) && same([...brain], rounding.bf16_bits));
    report.claim('float32 to float16', same([...float16ToFloat32(half)].map(String), rounding.to_f16.map(asText)) && same([...half], rounding.f16_bits));

    for (const file of readdirSync(fixture.path('invalid'))) {
      let message = '';
      try {
        openSafetensors(fixture.path(`invalid/${file}`)).close();
      } catch (error) {
        message = (error as Error).message;
      }
      report.claim(`refuses ${file}`, message !== '', message || 'it was read without an error');
    }
  },
};

/** Numbers as texts, so that NaN equals itself; -0 and 0 are the same text, as in JSON. */
const asText = (value: unknown): string => (value === 'nan' ? 'NaN' : value === 'inf' ? 'Infinity' : value === '-inf' ? '-Infinity' : String(value));
const same = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
