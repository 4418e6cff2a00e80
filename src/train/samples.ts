import { contactSheet, encodePng, resize, type Rgb, type RgbImage } from '../core/images.js';
import { writeAtomically } from '../core/safetensors.js';
import { pairAt } from '../data/captions.js';
import { loadImage } from '../data/images.js';
import type { Pair } from '../data/types.js';
import { latentSize, type DreamConfig } from '../dreamllm/config.js';
import { draw, namedSampler } from '../dreamllm/create.js';
import { residentModel, type DreamParams } from '../dreamllm/model.js';
import { QueryAttention } from '../dreamllm/query-attention.js';
import type { Tokenizer } from '../text/tokenizer.js';

const count = 6;
const longestCaption = 40; // characters
/** Few steps with little guidance: enough to see what is learned, and a second of time. */
const [steps, guidanceScale] = [10, 2];
/** More columns could not be told apart; the paper shows eight of its 64. */
const shownQueries = 16;

/**
 * Draws the same held-out captions with the same noise whenever it is called, so that two sheets differ by the model alone. Writes `NAME.png` (true pictures above,
 * drawn ones below) and `NAME-attention.png`: beside each drawn picture where the U-Net looks at each dream query, brightest where it looks most.
 */
export async function drawSamples(params: DreamParams, config: DreamConfig, tokenizer: Tokenizer, name: string): Promise<void> {
  const pairs = prompts();
  const seeds = pairs.map((_, i) => i);
  const attention = new QueryAttention(count, latentSize(config));
  try {
    const options = { steps, guidanceScale, sampler: namedSampler(config, 'ddim', steps), observer: attention.observer };
    const drawn = await draw(residentModel(params, config), tokenizer, pairs.map(({ caption }) => caption), seeds, options);
    const maps = await attention.maps();
    const { imageSize: side } = config;
    const scale = Math.max(1, Math.round(160 / side));
    const truth = pairs.map(({ image }): RgbImage => ({ width: side, height: side, data: loadImage(image, side) }));
    await write(`${name}.png`, [...truth, ...drawn], { columns: count, scale, labels: [...pairs.map(({ caption }) => caption), ...pairs.map(() => 'drawn')] });
    const queries = Math.min(shownQueries, config.numDreamQueries);
    const rows = drawn.flatMap((picture, i) => {
      const shown = maps[i].slice(0, queries);
      const most = Math.max(...shown.flat(2));
      return [picture, ...shown.map((map) => heatMap(map, most, side))];
    });
    const labels = drawn.flatMap(() => ['drawn', ...Array.from({ length: queries }, (_, query) => `query ${query}`)]);
    await write(`${name}-attention.png`, rows, { columns: 1 + queries, scale: Math.max(1, Math.round(56 / side)), labels });
  } finally {
    attention.dispose();
  }
}

/** The first held-out captions that are short enough for every model. */
function prompts(): Pair[] {
  const pairs: Pair[] = [];
  for (let index = 0; pairs.length < count; index++) {
    const pair = pairAt(0, index, { split: 'val' });
    if (pair.caption.length <= longestCaption) pairs.push(pair);
  }
  return pairs;
}

async function write(file: string, pictures: readonly RgbImage[], options: Parameters<typeof contactSheet>[1]): Promise<void> {
  const png = await encodePng(contactSheet(pictures, options));
  writeAtomically(file, (put) => put(png));
}

/** Black over violet and orange to light yellow, by brightness, so that it reads in grey as well. */
const ramp: readonly Rgb[] = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** A map [height][width] of values from 0 to `most`, in colours, `side` pixels large. */
function heatMap(map: readonly (readonly number[])[], most: number, side: number): RgbImage {
  const data = map.flatMap((row) => row.flatMap((value) => colourAt(value / most)));
  return resize({ width: map[0].length, height: map.length, data: Uint8Array.from(data) }, side, side, 'nearest');
}

function colourAt(share: number): number[] {
  const place = Math.max(0, Math.min(1, share)) * (ramp.length - 1);
  const i = Math.min(ramp.length - 2, Math.floor(place));
  return ramp[i].map((from, channel) => Math.round(from + (ramp[i + 1][channel] - from) * (place - i)));
}
