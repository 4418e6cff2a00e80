/** The parsed text of a Hugging Face configuration file. */
export type HuggingFaceJson = Readonly<Record<string, unknown>>;

/**
 * Reads settings of a configuration file with their types checked. Absent or null settings take `fallback`; without one they are an error.
 * Every message names the file and the setting.
 */
export function reader(json: HuggingFaceJson, file: string) {
  const complain = (key: string, expected: string): never => {
    throw new Error(`${file}: ${key} is ${JSON.stringify(json[key])}. Expected ${expected}.`);
  };
  const or = <T>(key: string, fallback: T | undefined, expected: string, holds: (value: unknown) => boolean): T => {
    const value = json[key] ?? fallback;
    return value !== undefined && holds(value) ? (value as T) : complain(key, expected);
  };
  const isNumbers = (value: unknown) => Array.isArray(value) && value.every((x) => typeof x === 'number');

  return {
    number: (key: string, fallback?: number): number => or(key, fallback, 'a number', (x) => typeof x === 'number'),
    flag: (key: string, fallback?: boolean): boolean => or(key, fallback, 'true or false', (x) => typeof x === 'boolean'),
    text: (key: string, fallback?: string): string => or(key, fallback, 'a text', (x) => typeof x === 'string'),
    numbers: (key: string, fallback?: number[]): number[] => or(key, fallback, 'a list of numbers', isNumbers),
    choice: <T extends string | number>(key: string, choices: readonly T[], fallback?: T): T =>
      or(key, fallback, `one of ${choices.join(', ')}`, (x) => choices.includes(x as T)),
    /** A list with an entry of `choices` for each of `count` levels. */
    choices: <T extends string>(key: string, choices: readonly T[], count: number): T[] =>
      or<T[]>(key, undefined, `a list of ${count} of ${choices.join(', ')}`, (x) => Array.isArray(x) && x.length === count && x.every((e) => choices.includes(e))),
    /** A list of `count` numbers, or one number for all. */
    perLevel: (key: string, count: number): number[] => {
      const value = json[key];
      if (typeof value === 'number') return Array<number>(count).fill(value);
      return isNumbers(value) && (value as number[]).length === count ? (value as number[]) : complain(key, `a number or a list of ${count} numbers`);
    },
    /** Refuses any value but `value`: the setting exists in the reference and is not supported here. Absent means `value`. */
    only: (key: string, value: string | number | boolean | null): void => {
      if (json[key] !== undefined && json[key] !== null && json[key] !== value) complain(key, `${JSON.stringify(value)}: other values are not supported`);
    },
  };
}
