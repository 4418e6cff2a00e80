import { clipModelKind, clipTextKind, clipVisionKind } from './clip.js';
import type { Fixture } from './fixture.js';
import { llamaKind } from './llama.js';
import { metricsKind } from './metrics.js';
import { optimizerKind } from './optimizer.js';
import type { Report } from './report.js';

/** A kind of fixture: how it is recognised by its files, and what computes its outputs. */
export interface Kind {
  name: string;
  matches(fixture: Fixture): boolean;
  /** Computes every stored output and hands it to `report.compare`. Tensors left over are disposed afterwards; variables are not. */
  run(fixture: Fixture, report: Report): Promise<void>;
}

export const kinds: readonly Kind[] = [llamaKind, clipVisionKind, clipTextKind, clipModelKind, optimizerKind, metricsKind];
