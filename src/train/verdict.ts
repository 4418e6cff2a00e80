import type { Event } from './run-folder.js';

export interface Verdict {
  isLearning: boolean;
  /** Change of the validation loss from the first to the last evaluation, relative to the first, in each stretch of time steps by its first one. */
  changes: Record<string, number>;
  /** One sentence. */
  text: string;
}

/**
 * Whether the image loss is being learned, from evaluations on fixed pictures, noise and time steps. Such values differ by the model alone, so small
 * changes count: it is learning when the loss fell in most stretches of time steps and by more than 0.2 % on average. Undefined with fewer than
 * two evaluations.
 */
export function diffusionVerdict(events: readonly Event[]): Verdict | undefined {
  const evaluations = events.filter(({ type, valDiffusion }) => type === 'evaluation' && typeof valDiffusion === 'number');
  if (evaluations.length < 2) return undefined;
  const [first, last] = [evaluations[0], evaluations.at(-1)!];
  const stretches = Object.keys(first).filter((key) => /^valDiffusion\d+$/.test(key));
  const change = (key: string) => ((last[key] as number) - (first[key] as number)) / (first[key] as number);
  const changes = Object.fromEntries(stretches.map((key) => [key.slice('valDiffusion'.length), change(key)]));
  const overall = change('valDiffusion');
  const fell = Object.values(changes).filter((x) => x < 0).length;
  const isLearning = overall < -0.002 && fell > stretches.length / 2;
  const after = ({ step, before }: Event) => (before ? 0 : step! + 1);
  const percent = (x: number) => `${x > 0 ? '+' : ''}${(100 * x).toFixed(1)} %`;
  return {
    isLearning,
    changes,
    text:
      `The image loss is ${isLearning ? '' : 'not '}learning: ${percent(overall)} between step ${after(first)} and ${after(last)} ` +
      `(${Object.entries(changes).map(([from, x]) => `from time step ${from} ${percent(x)}`).join(', ')}).`,
  };
}
