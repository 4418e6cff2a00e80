import { escapeHtml } from '../display/html.js';
import { ts } from './compiler.js';

/** TypeScript as HTML with spans of class `k` (keyword), `s` (string), `n` (number) and `c` (comment). */
export function highlight(source: string): string {
  const scanner = ts.createScanner(ts.ScriptTarget.ESNext, false, ts.LanguageVariant.Standard, source);
  const { SyntaxKind } = ts;
  const templates: boolean[] = []; // for each open brace, whether it belongs to a template literal
  let html = '';
  for (let kind = scanner.scan(); kind !== SyntaxKind.EndOfFileToken; kind = scanner.scan()) {
    if (kind === SyntaxKind.OpenBraceToken) templates.push(false);
    else if (kind === SyntaxKind.TemplateHead) templates.push(true);
    else if (kind === SyntaxKind.CloseBraceToken && templates.pop()) {
      kind = scanner.reScanTemplateToken(false);
      if (kind === SyntaxKind.TemplateMiddle) templates.push(true);
    }
    const name = classOf(kind);
    const text = escapeHtml(scanner.getTokenText());
    html += name ? `<span class="${name}">${text}</span>` : text;
  }
  return html;

  function classOf(kind: import('@tslab/typescript-for-tslab').SyntaxKind): string | undefined {
    if (kind === SyntaxKind.SingleLineCommentTrivia || kind === SyntaxKind.MultiLineCommentTrivia) return 'c';
    if (kind === SyntaxKind.StringLiteral || kind === SyntaxKind.RegularExpressionLiteral || (kind >= SyntaxKind.FirstTemplateToken && kind <= SyntaxKind.LastTemplateToken)) return 's';
    if (kind === SyntaxKind.NumericLiteral || kind === SyntaxKind.BigIntLiteral) return 'n';
    return kind >= SyntaxKind.FirstKeyword && kind <= SyntaxKind.LastFutureReservedWord ? 'k' : undefined;
  }
}
