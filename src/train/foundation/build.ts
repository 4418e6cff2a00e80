import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashFile, loadParams, openCheckpoint } from '../../core/checkpoint.js';
import { nanoTokenizer } from '../../data/tokenizer.js';
import { nano, nanoClip } from '../../dreamllm/presets.js';
import { clipSpec } from '../../models/clip/index.js';
import { vaeSpec } from '../../models/diffusion/index.js';
import { clipPart } from './clip.js';
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
      const file = fileOf('clip', out);
      const { part } = openCheckpoint(file).metadata;
      if (part !== 'clip') throw new Error(`${file} holds the part "${part}", and "vision" starts from "clip". Train that again first: dreamllm foundation train --only clip.`);
      return { part: clipVisionPart(loadParams(clipSpec(nanoClip), file), nanoClip, tokenizer, settings), parents: { clip: hashFile(file) } };
    }
    case 'unet': {
      const [clipFile, vaeFile] = [fileOf('clip', out), fileOf('vae', out)];
      const clip = { params: loadParams(clipSpec(nanoClip), clipFile), config: nanoClip };
      const vae = { params: loadParams(vaeSpec(nano.vae), vaeFile), config: nano.vae };
      return { part: unetPart(nano.unet, { clip, vae, tokenizer }, settings), parents: { clip: hashFile(clipFile), vae: hashFile(vaeFile) } };
    }
  }
}

function fileOf(name: PartName, out: string): string {
  const file = join(out, fileNames[name]);
  if (!existsSync(file)) throw new Error(`${file} is missing, and this part is trained on it. Train it first: dreamllm foundation train --only ${name}.`);
  return file;
}
