import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fit, hashFile, type Fit, type LoadOptions } from '../core/checkpoint.js';
import { countParameters, specEntries, type Spec } from '../core/params.js';
import { elementCount, elementSize, type TensorSource } from '../core/safetensors.js';
import { dreamLoadOptions, openDream } from '../dreamllm/checkpoint.js';
import { readDreamConfig } from '../dreamllm/config.js';
import { dreamSpec } from '../dreamllm/model.js';
import { nanoClip, preset, presetNames } from '../dreamllm/presets.js';
import { clipConfig, clipSpec, clipTextConfig, clipTextSpec, clipVisionConfig, clipVisionSpec } from '../models/clip/index.js';
import { currentVaeKey, unetConfig, unetSpec, vaeConfig, vaeSpec } from '../models/diffusion/index.js';
import { llamaConfig, llamaSpec } from '../models/llama/index.js';
import { UsageError, type Command } from './command.js';

/** A model that a checkpoint may be of. */
interface Candidate {
  name: string;
  spec: Spec;
  options?: LoadOptions;
}

const buffers: LoadOptions = { ignore: dreamLoadOptions.ignore };
const vaeOptions: LoadOptions = { rename: currentVaeKey };

/** The presets whole and in the parts that are saved alone. */
function presetCandidates(names: readonly string[]): Candidate[] {
  return names.flatMap((name) => {
    const config = preset(name);
    const spec = dreamSpec(config);
    const { dream_embedding, clip_vision_embedding } = spec.model;
    const { vae, unet } = spec.stable_diffusion_head;
    const foundation = Math.min(...Object.values(config.tokens).filter((id) => id > config.tokens.eos));
    return [
      { name, spec, options: dreamLoadOptions },
      { name: `${name}: language model`, spec: llamaSpec(config.language), options: buffers },
      { name: `${name}: language model without added tokens`, spec: llamaSpec({ ...config.language, vocabSize: foundation }), options: buffers },
      { name: `${name}: CLIP and visual projector (clip_vision_embedding)`, spec: clip_vision_embedding, options: buffers },
      { name: `${name}: CLIP vision`, spec: clip_vision_embedding.clip_vision_model, options: buffers },
      { name: `${name}: dream queries (dream_embedding)`, spec: dream_embedding },
      { name: `${name}: U-Net, autoencoder and condition projector (stable_diffusion_head)`, spec: spec.stable_diffusion_head, options: { rename: (key: string) => (key.startsWith('vae.') ? currentVaeKey(key) : key) } },
      { name: `${name}: U-Net`, spec: unet },
      { name: `${name}: autoencoder`, spec: vae, options: vaeOptions },
      ...(name === 'nano' ? [{ name: 'nano: CLIP, both towers', spec: clipSpec(nanoClip) }] : []),
    ];
  });
}

/** The model that the `config.json` beside a checkpoint describes. */
function configCandidates(path: string): Candidate[] {
  const folder = statSync(path).isDirectory() ? path : join(path, '..');
  const file = join(folder, 'config.json');
  if (!existsSync(file)) return [];
  const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const as = (what: string, spec: Spec, options: LoadOptions = buffers): Candidate[] => [{ name: `${what} of ${file}`, spec, options }];
  if (json._class_name === 'UNet2DConditionModel') return as('U-Net', unetSpec(unetConfig(json)));
  if (json._class_name === 'AutoencoderKL') return as('autoencoder', vaeSpec(vaeConfig(json)), vaeOptions);
  switch (json.model_type) {
    case 'dreamllm': return as('DreamLLM', dreamSpec(readDreamConfig(folder).config), dreamLoadOptions);
    case 'llama': return as('LLaMA', llamaSpec(llamaConfig(json)));
    case 'clip': return as('CLIP', clipSpec(clipConfig(json)));
    case 'clip_text_model': return as('CLIP text', clipTextSpec(clipTextConfig(json)));
    case 'clip_vision_model': return as('CLIP vision', clipVisionSpec(clipVisionConfig(json)));
    default: return [];
  }
}

interface Verdict extends Pick<Fit, 'missing' | 'unexpected' | 'mismatched'> {
  name: string;
  parameters: number;
  matched: number;
  fits: boolean;
}

function judge({ name, spec, options }: Candidate, source: TensorSource): Verdict {
  const { keys, missing, unexpected, mismatched } = fit(specEntries(spec), source, options);
  const matched = keys.size - mismatched.length;
  return { name, parameters: countParameters(spec), matched, missing, unexpected, mismatched, fits: !missing.length && !unexpected.length && !mismatched.length };
}

/** The candidate that disagrees least; among equals the first. */
export function bestFit(candidates: readonly Candidate[], source: TensorSource): Verdict | undefined {
  const score = ({ matched, missing, unexpected, mismatched }: Verdict) => matched - missing.length - unexpected.length - mismatched.length;
  const verdicts = candidates.map((candidate) => judge(candidate, source)).filter(({ matched }) => matched > 0);
  return verdicts.reduce<Verdict | undefined>((best, verdict) => (!best || score(verdict) > score(best) ? verdict : best), undefined);
}

const list = (what: string, keys: readonly string[], all: boolean): string[] =>
  keys.length ? [`  ${keys.length} ${what}`, ...(all ? keys : keys.slice(0, 10)).map((key) => `    ${key}`), ...(!all && keys.length > 10 ? [`    … ${keys.length - 10} more (--all)`] : [])] : [];

const command: Command = {
  name: 'inspect',
  summary: 'Shows what a checkpoint holds and which model it fits, without loading weights.',
  usage: 'CHECKPOINT [--preset P] [--all] [--hash] [--json]',
  options: {
    preset: { type: 'string', help: `compare with this preset alone: ${presetNames.join(', ')}` },
    all: { type: 'boolean', help: 'list every tensor and every missing or unexpected key' },
    hash: { type: 'boolean', help: 'print the SHA-256 of the file' },
    json: { type: 'boolean', help: 'print one JSON object' },
  },
  async run({ positionals, values }) {
    if (positionals.length !== 1) throw new UsageError(`inspect: expected one checkpoint file or folder, found ${positionals.length}.`);
    const [path] = positionals;
    if (!existsSync(path)) throw new UsageError(`inspect: ${path} does not exist.`);
    const wanted = values.preset === undefined ? undefined : [String(values.preset)];
    const source = openDream(path);
    try {
      const verdict = bestFit([...(wanted ? [] : configCandidates(path)), ...presetCandidates(wanted ?? presetNames)], source);
      const dtypes: Record<string, number> = {};
      let elements = 0;
      let bytes = 0;
      for (const { dtype, shape } of source.tensors.values()) {
        const count = elementCount(shape);
        dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
        elements += count;
        bytes += count * elementSize(dtype);
      }
      const hash = values.hash && !statSync(path).isDirectory() ? hashFile(path) : undefined;
      const tensors = [...source.tensors].map(([key, { dtype, shape }]) => ({ key, dtype, shape }));
      if (values.json) {
        console.log(JSON.stringify({ path, tensors, elements, bytes, dtypes, metadata: source.metadata, hash, fit: verdict ?? null }, null, 1));
      } else {
        const shown = values.all ? tensors : tensors.slice(0, 20);
        const width = Math.max(0, ...shown.map(({ key }) => key.length));
        for (const { key, dtype, shape } of shown) console.log(`${key.padEnd(width)}  ${dtype.padEnd(4)}  [${shape.join(', ')}]`);
        if (shown.length < tensors.length) console.log(`… ${tensors.length - shown.length} more (--all)`);
        const kinds = Object.entries(dtypes).map(([dtype, count]) => `${count} ${dtype}`).join(', ');
        console.log(`\n${basename(path)}: ${tensors.length} tensors (${kinds}), ${elements.toLocaleString('en')} values, ${(bytes / 1e6).toFixed(1)} MB`);
        for (const [key, value] of Object.entries(source.metadata)) console.log(`  ${key}: ${value.length > 200 ? `${value.slice(0, 200)} …` : value}`);
        if (hash) console.log(`SHA-256 ${hash}`);
        if (!verdict) console.log('It has no parameter in common with any model known here.');
        else if (verdict.fits) console.log(`It is ${verdict.name}: all ${verdict.matched} parameters (${verdict.parameters.toLocaleString('en')} values) are there, and nothing else.`);
        else {
          const total = verdict.matched + verdict.missing.length + verdict.mismatched.length;
          console.log(`It is closest to ${verdict.name}: ${verdict.matched} of ${total} parameters match.`);
          const lines = [...list('missing', verdict.missing, values.all === true), ...list('unexpected', verdict.unexpected, values.all === true), ...list('mismatched', verdict.mismatched, values.all === true)];
          console.log(lines.join('\n'));
        }
      }
      return verdict?.fits ? 0 : 1;
    } finally {
      source.close();
    }
  },
};

export default command;
