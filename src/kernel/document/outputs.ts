import { type Message } from '../wire/message.js';
import { asLines, type CodeCell, type Output } from './notebook.js';

/** Displays by their id, of all cells: a later cell may update what an earlier one showed. */
export type Displays = Map<string, Extract<Output, { data: object }>[]>;

/** Turns the messages a kernel publishes about a cell into the cell's outputs. */
export class OutputCollector {
  /** An error the cell reported, also one that came after its end. */
  error: { ename: string; evalue: string } | undefined;
  private clearing = false;

  constructor(
    private readonly cell: CodeCell,
    private readonly displays: Displays,
  ) {
    cell.outputs = [];
  }

  receive({ header, content }: Message): void {
    switch (header.msg_type) {
      case 'execute_input':
        this.cell.execution_count = content.execution_count as number;
        break;
      case 'stream':
        this.print(content.name as string, content.text as string);
        break;
      case 'display_data':
      case 'execute_result':
        this.show(header.msg_type, content);
        break;
      case 'update_display_data':
        for (const output of this.displays.get(displayId(content) ?? '') ?? []) output.data = content.data as Record<string, unknown>;
        break;
      case 'error':
        this.fail(content as { ename: string; evalue: string; traceback: string[] });
        break;
      case 'clear_output':
        if (content.wait === true) this.clearing = true;
        else this.cell.outputs = [];
    }
  }

  fail({ ename, evalue, traceback }: { ename: string; evalue: string; traceback: string[] }): void {
    this.error = { ename, evalue };
    this.add({ output_type: 'error', ename, evalue, traceback });
  }

  /** Stores text as notebooks do. Call it when the cell has ended. */
  finish(): void {
    for (const output of this.cell.outputs) {
      if (output.output_type === 'stream') output.text = asLines(asSeen(typeof output.text === 'string' ? output.text : output.text.join('')));
    }
  }

  private print(name: string, text: string): void {
    const last = this.clearing ? undefined : this.cell.outputs.at(-1);
    if (last?.output_type === 'stream' && last.name === name) last.text = (typeof last.text === 'string' ? last.text : last.text.join('')) + text;
    else this.add({ output_type: 'stream', name, text });
  }

  private show(output_type: 'display_data' | 'execute_result', content: Record<string, unknown>): void {
    const shown = { data: content.data as Record<string, unknown>, metadata: (content.metadata as object | undefined) ?? {} };
    const output: Extract<Output, { data: object }> = output_type === 'display_data' ? { output_type, ...shown } : { output_type, ...shown, execution_count: content.execution_count as number };
    const id = displayId(content);
    if (id !== undefined) this.displays.set(id, [...(this.displays.get(id) ?? []), output]);
    this.add(output);
  }

  private add(output: Output): void {
    if (this.clearing) this.cell.outputs = [];
    this.clearing = false;
    this.cell.outputs.push(output);
  }
}

const displayId = (content: Record<string, unknown>) => (content.transient as { display_id?: string } | undefined)?.display_id;

/** Of text that returns to the start of a line to overwrite it, what a terminal shows in the end. */
export function asSeen(text: string): string {
  return text.replace(/[^\n]*\r(?=[^\n\r])/g, '').replace(/\r+(?=\n|$)/g, '');
}
