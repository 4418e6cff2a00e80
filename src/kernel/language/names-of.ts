import type * as TypeScript from '@tslab/typescript-for-tslab';
import { ts } from './compiler.js';

const parse = (source: string) => ts.createSourceFile('cell.ts', source, ts.ScriptTarget.ESNext, true, ts.ScriptKind.TS);

/** Names of values and types that a cell declares at its top level. */
export function declaredNames(source: string): Set<string> {
  const names = new Set<string>();
  const addBinding = (name: TypeScript.BindingName): void => {
    if (ts.isIdentifier(name)) names.add(name.text);
    else for (const element of name.elements) if (ts.isBindingElement(element)) addBinding(element.name);
  };
  for (const statement of parse(source).statements) {
    if (ts.isVariableStatement(statement)) for (const { name } of statement.declarationList.declarations) addBinding(name);
    else if (ts.isImportDeclaration(statement)) {
      const { name, namedBindings } = statement.importClause ?? {};
      if (name) names.add(name.text);
      if (namedBindings && ts.isNamespaceImport(namedBindings)) names.add(namedBindings.name.text);
      else for (const element of namedBindings?.elements ?? []) names.add(element.name.text);
    } else if ('name' in statement && statement.name && ts.isIdentifier(statement.name as TypeScript.Node)) names.add((statement.name as TypeScript.Identifier).text);
  }
  return names;
}

/** Every identifier of a cell, whatever it stands for: more than the names it uses, never less. */
export function usedNames(source: string): Set<string> {
  const names = new Set<string>();
  const visit = (node: TypeScript.Node): void => {
    if (ts.isIdentifier(node)) names.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(parse(source));
  return names;
}
