import type * as TypeScript from '@tslab/typescript-for-tslab';
import { ts } from './compiler.js';
import { interruptName, runtimeName } from './names.js';

/** A cell as JavaScript for V8's REPL mode. */
export interface Emitted {
  js: string;
  /** Source map, as JSON, from `js` to the cell. */
  map: string;
}

/**
 * Compiles a cell. REPL mode gives cells a shared scope with top-level await, but lets only `let` and `class` be declared
 * again, knows no import statements, and cannot be stopped between two awaits without leaving Node's timers torn. So:
 *
 * - every top-level declaration becomes `let`; functions move to the top, as hoisting would have it;
 * - imports become awaited calls, moved to the top as well. `typeOnly` names exist for the checker alone;
 * - loops, functions and awaits ask whether the cell was interrupted and throw if so, which runs `finally` blocks;
 * - the value of a last expression is handed to the kernel.
 */
export function emitCell(source: string, typeOnly: ReadonlySet<string>, fileName: string): Emitted {
  const { outputText, sourceMapText } = ts.transpileModule(source, {
    fileName,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      isolatedModules: true,
      experimentalDecorators: true,
      alwaysStrict: true,
      sourceMap: true,
    },
    transformers: { after: [(context) => (file) => rewrite(file, context, typeOnly)] },
  });
  return { js: outputText.replace(/\n\/\/# sourceMappingURL=.*$/m, ''), map: sourceMapText ?? '' };
}

function rewrite(file: TypeScript.SourceFile, context: TypeScript.TransformationContext, typeOnly: ReadonlySet<string>): TypeScript.SourceFile {
  const f = context.factory;
  const runtime = (method: string, args: readonly TypeScript.Expression[]) =>
    f.createCallExpression(f.createPropertyAccessExpression(f.createIdentifier(runtimeName), method), undefined, args);
  const letStatement = (declarations: readonly TypeScript.VariableDeclaration[]) =>
    f.createVariableStatement(undefined, f.createVariableDeclarationList(declarations, ts.NodeFlags.Let));

  const functions: TypeScript.Statement[] = [];
  const imports: TypeScript.Statement[] = [];
  const body: TypeScript.Statement[] = [];
  const nestedVariables = new Set<string>();

  /** Rewrites what may stand anywhere in the cell. `inFunction`: `var` there is none of the cell's business. */
  const visitor = (inFunction: boolean) => {
    const visit = (node: TypeScript.Node): TypeScript.Node => {
      if (ts.isFunctionLike(node) || ts.isClassStaticBlockDeclaration(node)) return withEntryCheck(ts.visitEachChild(node, visitor(true), context));
      if (!inFunction) {
        if (ts.isVariableStatement(node)) {
          const assignment = asAssignment(node.declarationList);
          if (assignment === 'nothing') return f.createEmptyStatement();
          if (assignment) return ts.visitEachChild(f.createExpressionStatement(assignment), visit, context);
        }
        if (ts.isForStatement(node) && node.initializer && ts.isVariableDeclarationList(node.initializer)) {
          const assignment = asAssignment(node.initializer);
          if (assignment) node = f.updateForStatement(node, assignment === 'nothing' ? undefined : assignment, node.condition, node.incrementor, node.statement);
        } else if ((ts.isForOfStatement(node) || ts.isForInStatement(node)) && ts.isVariableDeclarationList(node.initializer) && isVar(node.initializer)) {
          const [{ name }] = node.initializer.declarations as unknown as [TypeScript.VariableDeclaration];
          if (ts.isIdentifier(name)) {
            nestedVariables.add(name.text);
            node = ts.isForOfStatement(node) ? f.updateForOfStatement(node, node.awaitModifier, name, node.expression, node.statement) : f.updateForInStatement(node, name, node.expression, node.statement);
          }
        }
      }
      if (ts.isAwaitExpression(node)) return runtime('resume', [ts.visitEachChild(node, visit, context)]);
      if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
        return runtime('import', node.arguments.map((argument) => ts.visitNode(argument, visit) as TypeScript.Expression));
      }
      if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword) return f.createPropertyAccessExpression(f.createIdentifier(runtimeName), 'meta');
      if (ts.isIterationStatement(node, false)) return withInterruptCheck(ts.visitEachChild(node, visit, context) as TypeScript.IterationStatement);
      return ts.visitEachChild(node, visit, context);
    };
    return visit;
  };

  const isVar = (list: TypeScript.VariableDeclarationList) => (list.flags & ts.NodeFlags.BlockScoped) === 0;

  /** A `var` inside a block belongs to the cell: it is declared at the top, and here assigned. Patterns stay as they are. */
  const asAssignment = (list: TypeScript.VariableDeclarationList): TypeScript.Expression | 'nothing' | undefined => {
    if (!isVar(list) || !list.declarations.every(({ name }) => ts.isIdentifier(name))) return undefined;
    for (const { name } of list.declarations) nestedVariables.add((name as TypeScript.Identifier).text);
    const assigned = list.declarations.filter(({ initializer }) => initializer);
    if (assigned.length === 0) return 'nothing';
    return assigned
      .map(({ name, initializer }): TypeScript.Expression => f.createAssignment(name as TypeScript.Identifier, initializer!))
      .reduce((left, right) => f.createComma(left, right));
  };

  const isInterrupted = () => f.createElementAccessExpression(f.createIdentifier(interruptName), 0);
  const interruptCheck = () => f.createIfStatement(isInterrupted(), f.createExpressionStatement(runtime('stop', [])));

  /** A recursion needs no loop to go on for ever. */
  const withEntryCheck = (node: TypeScript.Node): TypeScript.Node => {
    const checked = (body: TypeScript.Block) => f.updateBlock(body, [interruptCheck(), ...body.statements]);
    if (ts.isArrowFunction(node)) {
      const { modifiers, parameters, equalsGreaterThanToken: arrow, body } = node;
      const checkedBody = ts.isBlock(body) ? checked(body) : f.createParenthesizedExpression(f.createComma(f.createLogicalAnd(isInterrupted(), runtime('stop', [])), body));
      return f.updateArrowFunction(node, modifiers, undefined, parameters, undefined, arrow, checkedBody);
    }
    if (!(ts.isFunctionExpression(node) || ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) || !node.body) return node;
    const { modifiers, asteriskToken: star, parameters, body } = node;
    if (ts.isFunctionExpression(node)) return f.updateFunctionExpression(node, modifiers as TypeScript.NodeArray<TypeScript.Modifier>, star, node.name, undefined, parameters, undefined, checked(body));
    if (ts.isFunctionDeclaration(node)) return f.updateFunctionDeclaration(node, modifiers, star, node.name, undefined, parameters, undefined, checked(body));
    return f.updateMethodDeclaration(node, modifiers, star, node.name, undefined, undefined, parameters, undefined, checked(body));
  };

  const withInterruptCheck = (loop: TypeScript.IterationStatement): TypeScript.Node => {
    const asynchronous = ts.isForOfStatement(loop) && loop.awaitModifier;
    const check = asynchronous ? f.createExpressionStatement(runtime('resume', [])) : interruptCheck();
    const inner = ts.isBlock(loop.statement) ? loop.statement.statements : [loop.statement];
    const statement = f.createBlock([check, ...inner], true);
    if (ts.isForStatement(loop)) return f.updateForStatement(loop, loop.initializer, loop.condition, loop.incrementor, statement);
    if (ts.isForInStatement(loop)) return f.updateForInStatement(loop, loop.initializer, loop.expression, statement);
    if (ts.isForOfStatement(loop)) return f.updateForOfStatement(loop, loop.awaitModifier, loop.initializer, loop.expression, statement);
    if (ts.isWhileStatement(loop)) return f.updateWhileStatement(loop, loop.expression, statement);
    return f.updateDoStatement(loop as TypeScript.DoStatement, statement, (loop as TypeScript.DoStatement).expression);
  };

  const visit = visitor(false);
  const last = file.statements.at(-1);
  for (const statement of file.statements) {
    if (ts.isImportDeclaration(statement)) {
      imports.push(...importStatements(statement));
    } else if (ts.isExportDeclaration(statement) || isUseStrict(statement)) {
      continue; // an empty export marks a module, and the directive is written below
    } else if (ts.isFunctionDeclaration(statement) && statement.name && statement.body) {
      const { modifiers, asteriskToken, parameters } = statement;
      const expression = f.createFunctionExpression(modifiers?.filter(ts.isModifier), asteriskToken, undefined, undefined, parameters, undefined, statement.body);
      // Anonymous, so that the name inside means the shared variable: a redefined function calls its new self.
      const declaration = f.createVariableDeclaration(statement.name, undefined, undefined, visit(expression) as TypeScript.Expression);
      functions.push(ts.setTextRange(letStatement([declaration]), statement));
    } else if (ts.isVariableStatement(statement) && !isHelper(statement)) {
      const declarations = ts.visitNodes(statement.declarationList.declarations, visit) as TypeScript.NodeArray<TypeScript.VariableDeclaration>;
      body.push(ts.setTextRange(letStatement(declarations), statement));
    } else if (statement === last && ts.isExpressionStatement(statement) && isShown(statement.expression)) {
      body.push(ts.setTextRange(f.createExpressionStatement(runtime('result', [visit(statement.expression) as TypeScript.Expression])), statement));
    } else {
      body.push(visit(statement) as TypeScript.Statement);
    }
  }
  const useStrict = f.createExpressionStatement(f.createStringLiteral('use strict'));
  const hoisted = nestedVariables.size > 0 ? [letStatement([...nestedVariables].map((name) => f.createVariableDeclaration(name)))] : [];
  return f.updateSourceFile(file, [useStrict, ...hoisted, ...functions, ...imports, ...body]);

  function importStatements(statement: TypeScript.ImportDeclaration): TypeScript.Statement[] {
    const clause = statement.importClause;
    if (clause?.isTypeOnly) return [];
    const named = clause?.namedBindings;
    const elements: TypeScript.BindingElement[] = [];
    if (clause?.name && !typeOnly.has(clause.name.text)) elements.push(f.createBindingElement(undefined, 'default', clause.name));
    if (named && ts.isNamedImports(named)) {
      for (const { name, propertyName, isTypeOnly } of named.elements) {
        if (!isTypeOnly && !typeOnly.has(name.text)) elements.push(f.createBindingElement(undefined, propertyName ?? name, name));
      }
    }
    if (clause && elements.length === 0 && !(named && ts.isNamespaceImport(named))) return []; // all of it was types
    const names = elements.map(({ propertyName }) => f.createStringLiteral(ts.isStringLiteral(propertyName!) ? propertyName.text : (propertyName as TypeScript.Identifier).text));
    const loaded = f.createAwaitExpression(runtime('import', [statement.moduleSpecifier, ...(names.length > 0 ? [f.createArrayLiteralExpression(names)] : [])]));
    if (!clause) return [f.createExpressionStatement(loaded)];
    const statements: TypeScript.Statement[] = [];
    if (named && ts.isNamespaceImport(named)) statements.push(letStatement([f.createVariableDeclaration(named.name, undefined, undefined, loaded)]));
    if (elements.length > 0) statements.push(letStatement([f.createVariableDeclaration(f.createObjectBindingPattern(elements), undefined, undefined, loaded)]));
    return statements.map((made) => ts.setTextRange(made, statement));
  }
}

const isUseStrict = (statement: TypeScript.Statement) =>
  ts.isExpressionStatement(statement) && ts.isStringLiteral(statement.expression) && statement.expression.text === 'use strict';

/** Helpers that TypeScript itself adds stay `var`: each cell that needs them may declare them again. */
function isHelper(statement: TypeScript.VariableStatement): boolean {
  const helper = /^__(decorate|metadata|param|rest)$/;
  return statement.declarationList.declarations.every(({ name, initializer }) => ts.isIdentifier(name) && helper.test(name.text) && initializer !== undefined);
}

/** An assignment is a statement to the reader, so its value is not shown. */
function isShown(expression: TypeScript.Expression): boolean {
  while (ts.isParenthesizedExpression(expression)) expression = expression.expression;
  return !(ts.isBinaryExpression(expression) && expression.operatorToken.kind >= ts.SyntaxKind.FirstAssignment && expression.operatorToken.kind <= ts.SyntaxKind.LastAssignment);
}
