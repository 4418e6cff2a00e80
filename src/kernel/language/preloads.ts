/** A name that cells may use without importing it. It is loaded, and its types are read, when a cell first mentions it. */
export interface Preload {
  /** Module the name comes from. */
  module: string;
  /** The export, or all of the module. */
  export: string | '*';
  typeOnly?: boolean;
}

const fromNotebook = (...names: string[]): [string, Preload][] => names.map((name) => [name, { module: 'dreamllm/notebook', export: name }]);

export const preloads = new Map<string, Preload>([
  ['dreamllm', { module: 'dreamllm', export: '*' }],
  ['tf', { module: '@tensorflow/tfjs', export: '*' }],
  ['aq', { module: 'arquero', export: '*' }],
  ['dfd', { module: 'danfojs-node', export: '*' }],
  ['Plotly', { module: 'plotly.js', export: '*', typeOnly: true }],
  ...fromNotebook('display', 'html', 'md', 'svg', 'latex', 'clearOutput', 'ask', 'progress', 'liveChart', 'attachRun', 'startRun'),
]);

/** The preloads that `source` mentions as a word of their own, not as a property. */
export function mentioned(source: string): string[] {
  return [...preloads.keys()].filter((name) => new RegExp(`(?<![\\w$.])${name}(?![\\w$])`).test(source));
}

/** Declares a preload to the checker. */
export function declaration(name: string): string {
  const { module, export: from, typeOnly } = preloads.get(name)!;
  const type = typeOnly ? 'type ' : '';
  return from === '*' ? `import ${type}* as ${name} from ${JSON.stringify(module)};\n` : `import ${type}{ ${from} } from ${JSON.stringify(module)};\n`;
}
