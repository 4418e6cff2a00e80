import { SourceMap, type SourceMapPayload } from 'node:module';
import { isAbsolute, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is kept of a cell to explain its errors. */
interface CellSource {
  source: string;
  map: SourceMap;
}

/**
 * Makes `error.stack` speak of cells: lines and columns of the cell as written, not as compiled; files relative to the
 * notebook's folder; no frames of the kernel or of Node. It holds for printed errors as well as for failing cells.
 */
export class CellTraces {
  private readonly cells = new Map<string, CellSource>();

  constructor(private readonly cwd: string) {
    Error.prepareStackTrace = (error, frames) => {
      const described = frames.map((frame) => this.describe(frame)).filter((line) => line !== undefined);
      return [headline(error), ...described.map((line) => `    at ${line}`)].join('\n');
    };
  }

  add(name: string, source: string, map: string): void {
    this.cells.set(name, { source, map: new SourceMap(JSON.parse(map) as SourceMapPayload) });
  }

  /** The line of a cell that an error's stack first mentions, as `{ cell, line, column }` counting from 1. */
  locate(stack: string): { cell: string; line: number; column: number } | undefined {
    const found = /(In\[\d+\]):(\d+):(\d+)/.exec(stack);
    return found ? { cell: found[1]!, line: Number(found[2]), column: Number(found[3]) } : undefined;
  }

  sourceOf(cell: string): string | undefined {
    return this.cells.get(cell)?.source;
  }

  private describe(frame: NodeJS.CallSite): string | undefined {
    const script = frame.getScriptNameOrSourceURL() ?? frame.getEvalOrigin();
    if (!script || isOurs(script)) return undefined;
    const name = frame.getFunctionName();
    const place = this.place(script, frame.getLineNumber() ?? 1, frame.getColumnNumber() ?? 1);
    if (!name) return frame.isAsync() ? `async ${place}` : place;
    const receiver = frame.isConstructor() ? 'new ' : frame.getTypeName() && frame.getMethodName() && !frame.isToplevel() ? `${frame.getTypeName()}.` : '';
    return `${frame.isAsync() ? 'async ' : ''}${name.includes('.') ? '' : receiver}${name} (${place})`;
  }

  private place(script: string, line: number, column: number): string {
    const cell = this.cells.get(script);
    if (cell) {
      const entry = cell.map.findEntry(line - 1, column - 1);
      return 'originalLine' in entry ? `${script}:${entry.originalLine + 1}:${entry.originalColumn + 1}` : script;
    }
    const path = script.startsWith('file:') ? fileURLToPath(script.replace(/\?.*$/, '')) : script;
    const inPackage = /node_modules\/((?:@[^/]+\/)?[^/]+\/.*)$/.exec(path);
    const shown = inPackage ? inPackage[1]! : isAbsolute(path) ? relative(this.cwd, path) : path;
    return `${shown}:${line}:${column}`;
  }
}

const ownFolder = new URL('..', import.meta.url).href;
const isOurs = (script: string) => script.startsWith('node:') || script.startsWith(ownFolder) || script.startsWith('internal/') || script === 'evalmachine.<anonymous>';

function headline(error: Error): string {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return 'Error';
  }
}
