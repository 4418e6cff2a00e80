import { clipModelKind, clipTextKind, clipVisionKind } from './clip.js';
import { dreamKind } from './dreamllm.js';
import type { Fixture } from './fixture.js';
import { imageProcessingKind } from './image-processing.js';
import { llamaKind } from './llama.js';
import { metricsKind } from './metrics.js';
import { optimizerKind } from './optimizer.js';
import type { Report } from './report.js';
import { safetensorsKind } from './safetensors-format.js';
import { schedulersKind } from './schedulers.js';
import { unetKind } from './unet.js';
import { vaeKind } from './vae.js';

/** A kind of fixture: how it is recognised by its files, and what computes its outputs. */
export interface Kind {
  name: string;
  matches(fixture: Fixture): boolean;
  /** Computes every stored output and hands it to `report.compare`. Tensors left over are disposed afterwards; variables are not. */
  run(fixture: Fixture, report: Report): Promise<void>;
}

/** In order: the first that recognises a folder runs it. */
export const kinds: readonly Kind[] = [
  llamaKind,
  clipVisionKind,
  clipTextKind,
  clipModelKind,
  optimizerKind,
  metricsKind,
  unetKind,
  vaeKind,
  schedulersKind,
  imageProcessingKind,
  dreamKind,
  safetensorsKind,
];
