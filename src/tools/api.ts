import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as TypeScript from '@tslab/typescript-for-tslab';

/**
 * `npm run api`: the reference under docs/api, one file for each folder of src, from the exported declarations and the first sentences of their doc
 * comments. Nothing is compiled or type-checked: what is written is what stands in the source.
 */
const requireTslab = createRequire(createRequire(import.meta.url).resolve('tslab/dist/converter.js'));
const ts: typeof TypeScript = requireTslab('@tslab/typescript-for-tslab');

const root = fileURLToPath(new URL('../..', import.meta.url));
export const apiFolder = join(root, 'docs', 'api');
const folders = ['core', 'text', 'nn', 'models', 'dreamllm', 'data', 'train', 'eval', 'lab', 'kernel'];

interface Entry {
  name: string;
  signature: string;
  doc: string;
}

/** The reference as Markdown, by file name. */
export function apiReference(): Map<string, string> {
  const pages = new Map<string, string>();
  const counts: string[] = [];
  for (const folder of folders) {
    const files = [...sources(join(root, 'src', folder))].map((path) => ({ file: relative(root, path), entries: exportsOf(path) })).filter(({ entries }) => entries.length);
    const page = [`# ${folder}`, '', 'Made by `npm run api` from the doc comments in the sources; do not edit.'];
    for (const { file, entries } of files) {
      page.push('', `## [${file}](../../${file})`, '', ...entries.map(({ signature, doc }) => `- \`${signature}\`${doc ? ` – ${doc}` : ''}`));
    }
    pages.set(`${folder}.md`, `${page.join('\n')}\n`);
    counts.push(`| [${folder}](${folder}.md) | ${files.length} | ${files.reduce((sum, { entries }) => sum + entries.length, 0)} |`);
  }
  const head = ['# API reference', '', 'Exported functions, classes, types and constants, folder by folder, in the order of the layers. Made by `npm run api`; do not edit.', ''];
  pages.set('README.md', [...head, '| folder | files | exports |', '| --- | --- | --- |', ...counts, ''].join('\n'));
  return pages;
}

/** Writes the reference; pages of folders that are no more are removed. */
export function writeApiReference(): void {
  rmSync(apiFolder, { recursive: true, force: true });
  mkdirSync(apiFolder, { recursive: true });
  for (const [name, text] of apiReference()) writeFileSync(join(apiFolder, name), text);
}

function* sources(folder: string): Generator<string> {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (name.endsWith('.ts') && !/\.(test|d)\.ts$/.test(name)) yield path;
  }
}

function exportsOf(path: string): Entry[] {
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022, true);
  return file.statements.flatMap((statement): Entry[] => {
    const isExported = ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    const doc = docOf(statement);
    if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map((each) => ({ name: each.name.getText(), signature: shortened(constant(each)), doc }));
    const named = statement as TypeScript.DeclarationStatement;
    return [{ name: named.name?.getText() ?? 'default', signature: shortened(heading(statement)), doc }];
  });
}

/** A function without its body, a type with its fields' names, a class with its public methods' names. */
function heading(node: TypeScript.Statement): string {
  if (ts.isFunctionDeclaration(node)) return withoutModifiers(node.getText().slice(0, (node.body?.getStart() ?? node.getEnd()) - node.getStart()));
  const names = (members: TypeScript.NodeArray<TypeScript.ClassElement | TypeScript.TypeElement>) =>
    members
      .filter((member) => !(ts.canHaveModifiers(member) && ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)))
      .flatMap((member) => (member.name && !ts.isPrivateIdentifier(member.name) ? [member.name.getText()] : []));
  if (ts.isClassDeclaration(node)) return `class ${node.name!.text} { ${names(node.members).join(', ')} }`;
  if (ts.isInterfaceDeclaration(node)) return `interface ${node.name.text} { ${names(node.members).join(', ')} }`;
  return withoutModifiers(node.getText());
}

/** `name(parameters): result` of an arrow function, `name: type` or the name of anything else. */
function constant({ name, type, initializer }: TypeScript.VariableDeclaration): string {
  if (initializer && ts.isArrowFunction(initializer)) {
    const result = initializer.type ? `: ${initializer.type.getText()}` : '';
    const types = initializer.typeParameters ? `<${initializer.typeParameters.map((each) => each.getText()).join(', ')}>` : '';
    return `${name.getText()}${types}(${initializer.parameters.map((parameter) => parameter.getText()).join(', ')})${result}`;
  }
  return type ? `${name.getText()}: ${type.getText()}` : name.getText();
}

const withoutModifiers = (text: string): string => text.replace(/^export (default )?(async )?(function\*? )?/, '').trim();

const shortened = (text: string): string => {
  const line = text.replaceAll(/\/\*\*?[^]*?\*\//g, '').replaceAll(/\/\/.*$/gm, '').replaceAll(/\s+/g, ' ').replaceAll('`', "'").trim();
  return line.length > 180 ? `${line.slice(0, 177)}…` : line;
};

/** The first sentence of the doc comment; the source has the rest. */
function docOf(node: TypeScript.Node): string {
  // The parser hangs comments on nodes; the published types do not say so.
  const comments = (node as { jsDoc?: TypeScript.JSDoc[] }).jsDoc;
  const text = ts.getTextOfJSDocComment(comments?.at(-1)?.comment) ?? '';
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return /^.*?[.!?](?= [A-Z`[]|$)/.exec(line)?.[0] ?? line;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeApiReference();
