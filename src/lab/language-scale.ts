import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fetchValues, hashFile, saveParams } from '../core/checkpoint.js';
import { flatten } from '../core/params.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import { nano } from '../dreamllm/presets.js';
import type { LlamaConfig } from '../models/llama/index.js';
import { foundationLanguage } from '../train/foundation/build.js';
import { languageModelPart } from '../train/foundation/language-model.js';
import { foundationSettings } from '../train/foundation/settings.js';
import { train } from '../train/loop.js';
import { provenance } from '../train/provenance.js';
import { RunFolder } from '../train/run-folder.js';
import { codeVersion, contentHash } from './content-hash.js';
import { readJson } from './files.js';
import { onceForAll } from './once.js';

/** A language model of another size than nano's, pretrained on the foundation's texts for so many steps. */
export interface LanguageScale {
  /** Factor on width, heads and layers alike; 1 is nano's own size. */
  scale: number;
  steps: number;
}

/** Width and depth times `scale`, with heads of the same size. */
export function scaledLanguage(language: LlamaConfig, scale: number): LlamaConfig {
  const headDim = language.hiddenSize / language.numHeads;
  const numHeads = Math.max(1, Math.round(language.numHeads * scale));
  return {
    ...language, numHeads, numKvHeads: numHeads, hiddenSize: numHeads * headDim,
    intermediateSize: 8 * Math.max(1, Math.round((language.intermediateSize * scale) / 8)), numLayers: Math.max(1, Math.round(language.numLayers * scale)),
  };
}

export interface ScaledFoundation {
  /** Folder of a foundation with this language model and the other three parts as they are. */
  folder: string;
  parameters: number;
  steps: number;
  valPerplexity: number;
}

/**
 * Pretrains a language model and puts it beside the other parts of a foundation, once for all who ask: named by its size, its settings, the other parts and
 * the code. Settings are the foundation's own but for the number of steps, so that sizes are compared at equal steps, not with the committed model, which had more.
 */
export async function scaledFoundation(
  { scale, steps }: LanguageScale, { folder, base, signal, log }: { folder: string; base: string; signal?: AbortSignal; log?(message: string): void },
): Promise<ScaledFoundation> {
  const language = scaledLanguage(foundationLanguage, scale);
  const settings = { ...foundationSettings.lm, steps, checkpointEvery: Math.max(1, Math.ceil(steps / 4)) };
  const others = ['clip', 'vae', 'unet'].map((name) => `${name}.safetensors`);
  const out = join(folder, `language-${contentHash({ language, settings, others: others.map((name) => hashFile(join(base, name))), code: codeVersion() })}`);
  mkdirSync(folder, { recursive: true });
  await onceForAll(out, { signal }, async () => {
    const resume = existsSync(join(out, 'config.json'));
    const run = resume ? RunFolder.resume(out, settings) : RunFolder.create(out, { settings, provenance: provenance() });
    const part = languageModelPart(language, nanoTokenizer(), nano.template, settings);
    try {
      log?.(`Pretraining a language model of ${language.numLayers} layers, width ${language.hiddenSize}, for ${steps} steps.`);
      const training = await train(part.task, { ...settings, accumulation: 1, keepLast: 2 }, { folder: run, resume, signal });
      training.dispose();
      const results = await part.evaluate();
      await fetchValues(part.params);
      saveParams(join(out, 'lm.safetensors'), part.params, { dtype: 'f16', metadata: { part: 'lm', scale: String(scale) } });
      for (const name of others) copyFileSync(join(base, name), join(out, name));
      run.finish({ steps, parameters: [...flatten(part.params).values()].reduce((sum, { size }) => sum + size, 0), ...results });
    } finally {
      part.dispose();
      run.close();
    }
  });
  return { folder: out, ...readJson<Omit<ScaledFoundation, 'folder'>>(join(out, 'result.json'))! };
}
