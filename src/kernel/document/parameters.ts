import { asLines, BadNotebook, hasTag, isCode, newId, sourceOf, type CodeCell, type Notebook } from './notebook.js';

/** Reads `key=value`. A value that is JSON is taken as such, anything else as text. */
export function parseParameter(text: string): [string, unknown] {
  const at = text.indexOf('=');
  const key = text.slice(0, at);
  if (at < 1 || !/^[A-Za-z_$][\w$]*$/.test(key)) throw new BadNotebook(`Parameter "${text}": expected key=value with an identifier as key.`);
  const value = text.slice(at + 1);
  try {
    return [key, JSON.parse(value)];
  } catch {
    return [key, value];
  }
}

/**
 * Puts a cell with the given values after the cell tagged `parameters`, in place of one from an earlier run. Each must be
 * declared in the tagged cell, which holds the defaults.
 */
export function injectParameters(notebook: Notebook, values: Record<string, unknown>, file: string): void {
  const names = Object.keys(values);
  notebook.cells = notebook.cells.filter((cell) => !hasTag(cell, 'injected-parameters'));
  if (names.length === 0) return;
  const at = notebook.cells.findIndex((cell) => isCode(cell) && hasTag(cell, 'parameters'));
  if (at < 0) throw new BadNotebook(`${file} takes no parameters: it has no code cell with the tag "parameters", so ${names.join(', ')} cannot be set.`);
  const declared = [...sourceOf(notebook.cells[at]).matchAll(/\b(?:const|let|var)\s+([\w$]+)/g)].map(([, name]) => name);
  const unknown = names.filter((name) => !declared.includes(name));
  if (unknown.length > 0) throw new BadNotebook(`${file} has no parameter ${unknown.join(', ')}. Its parameters are: ${declared.join(', ') || 'none'}.`);

  const source = ['// Parameters of this run', ...names.map((name) => `${declaredKind(sourceOf(notebook.cells[at]), name)} ${name} = ${JSON.stringify(values[name])};`)].join('\n');
  const id = newId(`injected ${source}`, new Set(notebook.cells.map((cell) => cell.id)));
  const cell: CodeCell = { cell_type: 'code', id, metadata: { tags: ['injected-parameters'] }, source: asLines(source), outputs: [], execution_count: null };
  notebook.cells.splice(at + 1, 0, cell);
}

/** Parameters that the notebook reassigns stay variable. */
function declaredKind(source: string, name: string): string {
  return new RegExp(`\\bconst\\s+${name.replaceAll('$', '\\$')}\\b`).test(source) ? 'const' : 'let';
}
