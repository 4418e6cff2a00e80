import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import Papa from 'papaparse';

/** One row of a file, and where it stands, for errors. */
export interface FileRow {
  readonly where: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Reads a file whole as text; an empty one is refused. */
export function readText(file: string): string {
  const text = readFileSync(file, 'utf8').replace(/^\ufeff/, '');
  if (text.trim() === '') throw new Error(`${file} is empty.`);
  return text;
}

export function readJson(file: string): unknown {
  try {
    return JSON.parse(readText(file));
  } catch (error) {
    throw error instanceof SyntaxError ? new Error(`${file}: not JSON: ${error.message}.`) : error;
  }
}

/** Rows of a `.json` list, `.jsonl`, `.tsv` or `.csv` file. Errors name the line or row, counted from 1 with the header line. */
export function readRows(file: string): FileRow[] {
  const extension = extname(file).toLowerCase();
  if (extension === '.json') {
    const list = readJson(file);
    if (!Array.isArray(list)) throw new Error(`${file}: expected a list of objects, found ${list === null ? 'null' : typeof list}.`);
    return list.map((fields, i) => asRow(fields, `${file}, entry ${i}`));
  }
  const text = readText(file);
  if (extension === '.jsonl') {
    return text.split(/\r?\n/).map((line, i) => ({ line, i })).filter(({ line }) => line.trim() !== '').map(({ line, i }) => {
      const where = `${file}, line ${i + 1}`;
      try {
        return asRow(JSON.parse(line), where);
      } catch (error) {
        throw error instanceof SyntaxError ? new Error(`${where}: not JSON: ${error.message}.`) : error;
      }
    });
  }
  if (extension !== '.tsv' && extension !== '.csv') throw new Error(`${file}: expected .json, .jsonl, .tsv or .csv.`);
  const { data, errors, meta } = Papa.parse<Record<string, string>>(text, { header: true, delimiter: extension === '.tsv' ? '\t' : ',', skipEmptyLines: 'greedy' });
  if (errors.length > 0) throw new Error(`${file}, row ${(errors[0].row ?? 0) + 1}: ${errors[0].message}.`);
  if (data.length === 0) throw new Error(`${file}: has a header (${meta.fields?.join(', ')}) but no rows.`);
  return data.map((fields, i) => ({ where: `${file}, row ${i + 1}`, fields }));
}

function asRow(fields: unknown, where: string): FileRow {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw new Error(`${where}: expected an object, found ${JSON.stringify(fields)?.slice(0, 60)}.`);
  return { where, fields: fields as Record<string, unknown> };
}

/** A field as text; numbers count. Absent, or empty where `allowEmpty` is not set, is an error. */
export function textField({ where, fields }: FileRow, names: string | readonly string[], allowEmpty = false): string {
  const found = optionalText({ where, fields }, names);
  if (found === undefined || (found === '' && !allowEmpty)) {
    throw new Error(`${where}: expected text in "${[names].flat().join('" or "')}", found ${found === '' ? 'nothing' : `the fields ${Object.keys(fields).join(', ')}`}.`);
  }
  return found;
}

/** A field as text under the first of its names that is there. */
export function optionalText({ where, fields }: FileRow, names: string | readonly string[]): string | undefined {
  const name = [names].flat().find((name) => fields[name] !== undefined && fields[name] !== null);
  if (name === undefined) return undefined;
  const value = fields[name];
  if (typeof value !== 'string' && typeof value !== 'number') throw new Error(`${where}: expected text in "${name}", found ${JSON.stringify(value)?.slice(0, 60)}.`);
  return String(value);
}

/** A whole number of 0 or more. */
export function indexField(row: FileRow, name: string): number {
  const text = textField(row, name);
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || text.trim() === '') throw new Error(`${row.where}: expected a whole number in "${name}", found "${text}".`);
  return value;
}

/** Values by key; the same key twice is an error that names both rows. */
export function uniqueBy<T>(rows: readonly FileRow[], key: (row: FileRow) => string, value: (row: FileRow) => T): Map<string, T> {
  const found = new Map<string, T>();
  const first = new Map<string, string>();
  for (const row of rows) {
    const name = key(row);
    if (found.has(name)) throw new Error(`${row.where}: "${name}" was already given in ${first.get(name)}.`);
    found.set(name, value(row));
    first.set(name, row.where);
  }
  return found;
}

/** Fails when the two files do not speak of the same items, naming the first on either side. */
export function checkSame(expected: Iterable<string>, found: ReadonlyMap<string, unknown>, what: string, file: string): void {
  const wanted = new Set(expected);
  const missing = [...wanted].filter((key) => !found.has(key));
  if (missing.length > 0) throw new Error(`${file} lacks ${missing.length} of ${wanted.size} ${what}, first "${missing[0]}".`);
  for (const key of found.keys()) if (!wanted.has(key)) throw new Error(`${file}: ${what} "${key}" is not among the ${wanted.size} that are asked for.`);
}
