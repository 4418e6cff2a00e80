import { createRequire } from 'node:module';
import { ambient } from './ambient.js';
import { cellOf, lastProgram, openConverter, ts, type Converter } from './compiler.js';
import { emitCell } from './emit.js';
import { withoutExports } from './exports.js';
import { declaredNames } from './names-of.js';
import { declaration, mentioned, preloads } from './preloads.js';

const { isCompleteCode } = createRequire(import.meta.url)('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js');
const { printQuickInfo } = createRequire(import.meta.url)('tslab/dist/inspect.js') as typeof import('tslab/dist/inspect.js');

/** A type or syntax error. Lines and columns count from 1. */
export interface Problem {
  code: number;
  message: string;
  line: number;
  column: number;
  /** Characters underlined, all on `line`. */
  length: number;
}

/** A cell that may run, or what is wrong with it. */
export type Checked =
  | { problems: Problem[] }
  | {
      js: string;
      map: string;
      /** Preloads the cell mentions and that must be there when it starts. */
      preloads: string[];
    };

export interface Completion {
  /** Range of the cell, in UTF-16 units, that a match replaces. */
  start: number;
  end: number;
  matches: string[];
}

/**
 * Checks the cells of one notebook in the order they run, strictly, remembering what each declares. A later declaration
 * replaces an earlier one of the same name, whatever its type.
 */
export class CellChecker {
  private readonly converter: Converter;
  private declarations = '';
  /** Namespaces by name. The converter forgets them one cell later, so they are kept here. */
  private readonly namespaces = new Map<string, string>();
  private readonly declaredPreloads = new Set<string>();

  /** `cwd`: the notebook's folder, from where its imports are resolved. */
  constructor(cwd: string) {
    this.converter = openConverter(cwd);
  }

  /** Checks and compiles a cell. `name` is what stack traces call it. */
  check(source: string, name: string): Checked {
    const code = withoutExports(source);
    const used = this.declarePreloads(code);
    const { diagnostics, declOutput } = this.converter.convert(this.before, code);
    const errors = diagnostics.filter(({ category }) => category === ts.DiagnosticCategory.Error);
    const unchecked = /^\s*\/\/\s*@ts-nocheck\b/.test(source);
    if (errors.length > 0 && !unchecked) return { problems: asProblems(errors, source) };

    const typeOnly = errors.length > 0 ? new Set<string>() : typeOnlyImports();
    const { js, map } = emitCell(code, typeOnly, `${name}.ts`);
    this.remember(code, declOutput ?? this.declarations + untyped(code));
    return { js, map, preloads: used.filter((name) => !preloads.get(name)!.typeOnly) };
  }

  /** Checks a cell that is not going to run. One with errors still declares its names, so that later cells can be judged. */
  review(source: string): Problem[] {
    const checked = this.check(source, 'cell');
    if (!('problems' in checked)) return [];
    this.remember(source, this.declarations + untyped(withoutExports(source)));
    return checked.problems;
  }

  /** Names that fit at `position`, best first. */
  complete(source: string, position: number): Completion {
    const code = withoutExports(source);
    this.declarePreloads(code);
    const { start, end, candidates } = this.converter.complete(this.before + pending(this.declaredPreloads), code, position);
    return { start, end, matches: candidates.filter((name) => !name.startsWith('__tslab')) };
  }

  /** Signature and documentation of what stands at `position`. */
  inspect(source: string, position: number): string | undefined {
    const code = withoutExports(source);
    this.declarePreloads(code);
    const info = this.converter.inspect(this.before, code, position) as ReturnType<Converter['inspect']> | undefined;
    return info && printQuickInfo(info);
  }

  close(): void {
    this.converter.close();
  }

  /** All declarations that a cell sees. */
  private get before(): string {
    return ambient + [...this.namespaces.values()].join('\n') + this.declarations;
  }

  private remember(code: string, declarations: string): void {
    for (const name of declaredNames(code)) this.namespaces.delete(name);
    const file = ts.createSourceFile('before.d.ts', declarations, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
    const namespaces = file.statements.filter((statement) => ts.isModuleDeclaration(statement) && ts.isIdentifier(statement.name));
    for (const namespace of namespaces as import('@tslab/typescript-for-tslab').ModuleDeclaration[]) {
      this.namespaces.set(namespace.name.text, (this.namespaces.get(namespace.name.text) ?? '') + namespace.getText(file));
    }
    this.declarations = namespaces.reduceRight((text, { pos, end }) => text.slice(0, pos) + text.slice(end), declarations);
  }

  private declarePreloads(code: string): string[] {
    const used = mentioned(code);
    for (const name of used) {
      if (this.declaredPreloads.has(name)) continue;
      this.declaredPreloads.add(name);
      this.declarations += declaration(name);
    }
    return used;
  }
}

/** Preload names not yet declared, so that they are offered before their first use, without the cost of their types. */
function pending(declared: ReadonlySet<string>): string {
  return [...preloads.keys()].filter((name) => !declared.has(name)).map((name) => `declare const ${name}: unknown;\n`).join('');
}

export type Completeness = { status: 'complete' } | { status: 'incomplete'; indent: string } | { status: 'invalid' };

/** Whether a console should run `source` when Enter is pressed. */
export function completeness(source: string): Completeness {
  const { completed, indent } = isCompleteCode(source);
  if (!completed) return { status: 'incomplete', indent: indent ?? '' };
  const file = ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ESNext, false, ts.ScriptKind.TS) as { parseDiagnostics?: unknown[] };
  return { status: file.parseDiagnostics?.length ? 'invalid' : 'complete' };
}

function asProblems(diagnostics: ReturnType<Converter['convert']>['diagnostics'], source: string): Problem[] {
  const lines = source.split('\n');
  const problems = new Map<string, Problem>();
  for (const { start, end, code, messageText } of diagnostics) {
    const key = `${start.offset}-${end.offset}`;
    const known = problems.get(key);
    // An explanation comes as further diagnostics at the same place.
    if (known) known.message += `\n  ${messageText}`;
    else {
      const rest = (lines[start.line]?.length ?? 0) - start.character;
      const length = start.line === end.line ? end.character - start.character : rest;
      problems.set(key, { code, message: messageText, line: start.line + 1, column: start.character + 1, length: Math.max(1, length) });
    }
  }
  return [...problems.values()];
}

/** Imported names of the cell just checked that are types alone, and so do not exist when it runs. */
function typeOnlyImports(): Set<string> {
  const program = lastProgram();
  const checker = program.getTypeChecker();
  const names = new Set<string>();
  for (const statement of cellOf(program).statements) {
    if (!ts.isImportDeclaration(statement) || !statement.importClause) continue;
    const { name, namedBindings } = statement.importClause;
    const imported = [...(name ? [name] : []), ...(namedBindings && ts.isNamedImports(namedBindings) ? namedBindings.elements.map((element) => element.name) : [])];
    for (const identifier of imported) {
      const symbol = checker.getSymbolAtLocation(identifier);
      if (!symbol || !(symbol.flags & ts.SymbolFlags.Alias)) continue;
      const target = checker.getAliasedSymbol(symbol);
      if (target.escapedName !== 'unknown' && !(target.flags & ts.SymbolFlags.Value)) names.add(identifier.text);
    }
  }
  return names;
}

/** Declarations of a cell that has errors and yet counts: its names exist, as `any`. */
function untyped(code: string): string {
  return [...declaredNames(code)].map((name) => `declare let ${name}: any;\n`).join('');
}
