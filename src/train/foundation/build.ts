import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashFile, loadParams, openCheckpoint } from '../../core/checkpoint.js';
import { nanoTokenizer } from '../../data/tokenizer.js';
import { nano, nanoClip } from '../../dreamllm/presets.js';
import { clipSpec } from '../../models/clip/index.js';
import { vaeSpec } from '../../models/diffusion/index.js';
import { llamaSpec } from '../../models/llama/index.js';
import { clipPart } from './clip.js';
import { clipReadingPart } from './clip-reading.js';
import { clipVisionPart } from './clip-vision.js';
import { languageModelPart } from './language-model.js';
import { fileNames, type Part, type PartName, type PartSettings } from './part.js';
import { unetPart } from './unet.js';
import { vaePart } from './vae.js';

/** The language model of the foundation: nano's without the tokens that DreamLLM adds, as Vicuna is without them. */
export const foundationLanguage = { ...nano.language, vocabSize: Math.min(...Object.values(nano.tokens).filter((id) => id > nano.tokens.eos)) };

/** Makes a part with random weights (`vision`: with those of `clip`), reading from `out` the parts that it is trained on. `parents`: their hashes. */
export function buildPart(name: PartName, settings: PartSettings, out: string): { part: Part; parents: Record<string, string> } {
  const tokenizer = nanoTokenizer();
  switch (name) {
    case 'vae':
      return { part: vaePart(nano.vae, nano.imageSize, settings), parents: {} };
    case 'clip':
      return { part: clipPart(nanoClip, tokenizer, settings), parents: {} };
    case 'lm':
      return { part: languageModelPart(foundationLanguage, tokenizer, nano.template, settings), parents: {} };
    case 'vision': {
      const file = clipOf('clip', name, out);
      return { part: clipVisionPart(loadParams(clipSpec(nanoClip), file), nanoClip, tokenizer, settings), parents: { clip: hashFile(file) } };
    }
    case 'reading': {
      const [file, lmFile] = [clipOf('vision', name, out), fileOf('lm', out)];
      const reader = { params: loadParams(llamaSpec(foundationLanguage), lmFile), config: foundationLanguage };
      const part = clipReadingPart(loadParams(clipSpec(nanoClip), file), nanoClip, reader, tokenizer, settings);
      return { part, parents: { vision: hashFile(file), lm: hashFile(lmFile) } };
    }
    case 'unet': {
      const [clipFile, vaeFile] = [fileOf('clip', out), fileOf('vae', out)];
      const clip = { params: loadParams(clipSpec(nanoClip), clipFile), config: nanoClip };
      const vae = { params: loadParams(vaeSpec(nano.vae), vaeFile), config: nano.vae };
      return { part: unetPart(nano.unet, { clip, vae, tokenizer }, settings), parents: { clip: hashFile(clipFile), vae: hashFile(vaeFile) } };
    }
  }
}

/** CLIP's file, if it is as the part `wanted` left it. */
function clipOf(wanted: PartName, by: PartName, out: string): string {
  const file = fileOf(wanted, out);
  const { part } = openCheckpoint(file).metadata;
  if (part !== wanted) throw new Error(`${file} holds the part "${part}", and "${by}" starts from "${wanted}". Train that again first: dreamllm foundation train --only ${wanted}.`);
  return file;
}

function fileOf(name: PartName, out: string): string {
  const file = join(out, fileNames[name]);
  if (!existsSync(file)) throw new Error(`${file} is missing, and this part is trained on it. Train it first: dreamllm foundation train --only ${name}.`);
  return file;
}
