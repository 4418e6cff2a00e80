/** What was entered in this session. Kept in memory: notebooks are the record, and secrets stay off the disk. */
export class History {
  private readonly entries: { line: number; input: string }[] = [];

  add(line: number, input: string): void {
    this.entries.push({ line, input });
  }

  /** Answers a `history_request`: `[session, line, input]` each, the oldest first. */
  answer(content: Record<string, unknown>): { status: 'ok'; history: [number, number, string][] } {
    const { hist_access_type: access, n, start, stop, pattern, unique } = content;
    let found = this.entries;
    if (access === 'range') {
      const from = typeof start === 'number' ? start : 0;
      const to = typeof stop === 'number' ? stop : Infinity;
      found = found.filter(({ line }) => line >= from && line < to);
    } else if (access === 'search') {
      const glob = new RegExp(`^${String(pattern ?? '*').replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^]*').replaceAll('?', '[^]')}$`);
      found = found.filter(({ input }) => glob.test(input));
      if (unique === true) found = found.filter(({ input }, i) => found.findLastIndex((entry) => entry.input === input) === i);
    }
    if (access !== 'range' && typeof n === 'number') found = found.slice(-n);
    return { status: 'ok', history: found.map(({ line, input }) => [0, line, input]) };
  }
}
