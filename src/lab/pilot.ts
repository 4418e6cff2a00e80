import { detectableDifference, powerSentence, seedsNeeded, standardDeviation } from '../eval/statistics.js';
import { type Selection, groupsOf, pairedValues } from './records.js';
import type { TrialRecord } from './trial.js';

export interface PilotOptions extends Selection {
  /** Setting whose values are compared. */
  by: string;
  /** Its value that the others are compared with. Default: the first in the records. */
  against?: string;
  /** Seeds that the sweep plans. */
  seeds: number;
  /** A difference worth seeing, in the metric's unit. */
  difference?: number;
}

/**
 * What the planned seeds can show, judged from a pilot: the spread of the differences paired by seed, the smallest difference that the seeds are
 * likely to show, and how many seeds the wanted one takes. One sentence a comparison.
 */
export function planSeeds(records: readonly TrialRecord[], { by, against, seeds, difference, ...selection }: PilotOptions): string[] {
  const groups = groupsOf(records, [by], selection);
  const reference = against === undefined ? groups[0] : groups.find(({ settings }) => String(settings[by]) === against);
  if (!reference || groups.length < 2) {
    throw new Error(`A pilot needs two values of "${by}" at least${against === undefined ? '' : `, one of them "${against}"`}; found ${groups.map(({ settings }) => String(settings[by])).join(', ')}.`);
  }
  return groups
    .filter((group) => group !== reference)
    .map((group) => {
      const { a, b } = pairedValues(reference, group);
      const name = `${selection.metric}, ${by} ${String(group.settings[by])} against ${String(reference.settings[by])}`;
      if (a.length < 2) throw new Error(`${name}: the pilot has ${a.length} seed; a spread needs two at least.`);
      const settings = { std: standardDeviation(b.map((value, i) => value - a[i])), design: 'paired' as const };
      if (settings.std === 0) throw new Error(`${name}: all differences of the pilot are equal, so nothing can be said about their spread. Did the seeds reach the training?`);
      const doubt = a.length < 5 ? ` The spread itself is a guess from ${a.length} pairs.` : '';
      const seen = detectableDifference(seeds, settings);
      const wanted = difference === undefined || Math.abs(difference) >= seen ? '' : ` A difference of ${difference} takes ${seedsNeeded(difference, settings)}.`;
      return `${name}: ${powerSentence(seeds, settings)}${wanted}${doubt}`;
    });
}
