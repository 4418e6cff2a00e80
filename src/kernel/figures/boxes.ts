import { svgPathProperties } from 'svg-path-properties';
import { type FontMetrics } from './font-metrics.js';

/** A rectangle in user units, y downwards. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What is read of an SVG element. jsdom's elements satisfy it; the project does not compile against the DOM. */
export interface SvgElement {
  readonly tagName: string;
  readonly textContent: string | null;
  readonly parentNode: SvgElement | null;
  readonly children: ArrayLike<SvgElement>;
  readonly childNodes: ArrayLike<SvgElement & { readonly nodeType: number }>;
  getAttribute(name: string): string | null;
}

export interface Fonts {
  regular: FontMetrics;
  bold: FontMetrics;
}

const textNode = 3;

/** A presentation attribute or style, inherited from the nearest ancestor that has it. */
function inherited(element: SvgElement, property: string): string | undefined {
  for (let node: SvgElement | null = element; node?.getAttribute; node = node.parentNode) {
    const style = new RegExp(`(?:^|;)\\s*${property}\\s*:\\s*([^;]+)`).exec(node.getAttribute('style') ?? '');
    const value = style?.[1] ?? node.getAttribute(property);
    if (value && value !== 'inherit') return value.trim();
  }
  return undefined;
}

function fontSize(element: SvgElement): number {
  const size = inherited(element, 'font-size') ?? '12px';
  if (!/(%|em)$/.test(size)) return parseFloat(size);
  // Plotly writes sub- and superscripts as a tspan at 70 % of its parent.
  const scale = parseFloat(size) / (size.endsWith('%') ? 100 : 1);
  let owner: SvgElement | null = element;
  while (owner && !new RegExp(`font-size\\s*:\\s*${size.replace('.', '\\.')}`).test(owner.getAttribute('style') ?? '')) owner = owner.parentNode;
  return scale * (owner?.parentNode ? fontSize(owner.parentNode) : 12);
}

/** Width of all text inside `element` as one line. */
export function textWidth(element: SvgElement, fonts: Fonts): number {
  let width = 0;
  for (const child of Array.from(element.childNodes)) {
    if (child.nodeType !== textNode) {
      width += textWidth(child, fonts);
      continue;
    }
    const weight = inherited(element, 'font-weight') ?? 'normal';
    const font = weight === 'bold' || Number(weight) >= 600 ? fonts.bold : fonts.regular;
    width += font.width(child.textContent ?? '', fontSize(element));
  }
  return width;
}

function textBox(element: SvgElement, fonts: Fonts): Box {
  const lines = Array.from(element.children).filter((child) => /\bline\b/.test(child.getAttribute('class') ?? ''));
  const widths = lines.length > 0 ? lines.map((line) => textWidth(line, fonts)) : [textWidth(element, fonts)];
  const size = fontSize(element);
  const width = Math.max(0, ...widths);
  const anchor = inherited(element, 'text-anchor');
  const left = Number(element.getAttribute('x') ?? 0) - (anchor === 'middle' ? width / 2 : anchor === 'end' ? width : 0);
  const ascent = fonts.regular.ascent(size);
  const lineHeight = 1.3 * size; // Plotly's LINE_SPACING
  const height = element.textContent ? ascent + fonts.regular.descent(size) + (widths.length - 1) * lineHeight : 0;
  return { x: left, y: Number(element.getAttribute('y') ?? 0) - ascent, width, height };
}

function pathBox(d: string): Box | undefined {
  if (!d) return undefined;
  const path = new svgPathProperties(d);
  const length = path.getTotalLength();
  const points = path.getParts().flatMap(({ start, end }) => [start, end]);
  // Curves bulge beyond their end points, so points along the way are taken too.
  for (let i = 0; i <= 32; i++) points.push(path.getPointAtLength((length * i) / 32));
  const finite = points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  return finite.length > 0 ? around(finite) : undefined;
}

function around(points: { x: number; y: number }[]): Box {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}

/** A point through an SVG `transform` of translations and rotations, the last of which acts first. */
function transformed(point: { x: number; y: number }, transform: string): { x: number; y: number } {
  const steps = [...transform.matchAll(/(translate|rotate)\(([^)]*)\)/g)].reverse();
  return steps.reduce(({ x, y }, [, kind, list]) => {
    const [a = 0, b = 0, c = 0] = list.split(/[\s,]+/).filter(Boolean).map(Number);
    if (kind === 'translate') return { x: x + (a || 0), y: y + (b || 0) };
    const [sin, cos] = [Math.sin((a * Math.PI) / 180), Math.cos((a * Math.PI) / 180)];
    return { x: b + (x - b) * cos - (y - c) * sin, y: c + (x - b) * sin + (y - c) * cos };
  }, point);
}

/** The box a browser's `getBBox` would give, in the element's own coordinates. Of its children's transforms it follows translations and rotations. */
export function boundingBox(element: SvgElement, fonts: Fonts): Box {
  const number = (name: string) => Number(element.getAttribute(name) ?? 0) || 0;
  switch (element.tagName.toLowerCase()) {
    case 'text':
    case 'tspan':
      return textBox(element, fonts);
    case 'rect':
    case 'image':
      return { x: number('x'), y: number('y'), width: number('width'), height: number('height') };
    case 'circle':
      return { x: number('cx') - number('r'), y: number('cy') - number('r'), width: 2 * number('r'), height: 2 * number('r') };
    case 'line':
      return around([{ x: number('x1'), y: number('y1') }, { x: number('x2'), y: number('y2') }]);
    case 'path':
      return pathBox(element.getAttribute('d') ?? '') ?? { x: 0, y: 0, width: 0, height: 0 };
    default: {
      const corners = Array.from(element.children).flatMap((child) => {
        const box = boundingBox(child, fonts);
        if (box.width === 0 && box.height === 0) return [];
        const [right, bottom] = [box.x + box.width, box.y + box.height];
        const transform = child.getAttribute('transform') ?? '';
        return [{ x: box.x, y: box.y }, { x: right, y: box.y }, { x: box.x, y: bottom }, { x: right, y: bottom }].map((corner) => transformed(corner, transform));
      });
      return corners.length > 0 ? around(corners) : { x: 0, y: 0, width: 0, height: 0 };
    }
  }
}
