import { ts } from './compiler.js';

/**
 * Removes `export` from a cell: everything at the top level of a cell is visible to later cells anyway, but a cell copied
 * from a module should run as it is. Positions stay: the words are replaced by blanks. `export … from` becomes nothing.
 */
export function withoutExports(source: string): string {
  if (!/\bexport\b/.test(source)) return source;
  const file = ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);
  let result = source;
  const blank = (start: number, end: number, lead = '') => {
    const blanks = result.slice(start, end).replace(/[^\n]/g, ' ');
    result = result.slice(0, start) + lead + blanks.slice(lead.length) + result.slice(end);
  };
  for (const statement of file.statements) {
    const start = statement.getStart(file);
    if (ts.isExportDeclaration(statement)) blank(start, statement.end);
    else if (ts.isExportAssignment(statement)) blank(start, statement.expression.getStart(file), 'void ');
    else if (ts.canHaveModifiers(statement)) {
      const modifiers = ts.getModifiers(statement) ?? [];
      for (const modifier of modifiers) {
        if (modifier.kind === ts.SyntaxKind.ExportKeyword) blank(modifier.getStart(file), modifier.end);
        if (modifier.kind !== ts.SyntaxKind.DefaultKeyword) continue;
        const named = (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) && statement.name;
        blank(modifier.getStart(file), modifier.end, named ? '' : 'void ');
      }
    }
  }
  return result;
}
