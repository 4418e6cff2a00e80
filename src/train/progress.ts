/** Shows how far a run is: one redrawn line on a terminal, now and then a plain line elsewhere. */
export interface Progress {
  /** `done` of the total, with a few words such as the loss. */
  update(done: number, note?: string): void;
  /** A line that stays. */
  say(line: string): void;
  end(): void;
}

const plainEverySeconds = 10;

export function progress(label: string, total: number, stream: NodeJS.WriteStream = process.stderr): Progress {
  const start = performance.now();
  let last = -Infinity;
  let from: number | undefined; // a resumed run does not start at 0
  const clear = () => {
    if (stream.isTTY) stream.write('\r\x1b[K');
  };
  return {
    update(done, note = '') {
      from ??= done - 1;
      const seconds = (performance.now() - start) / 1000;
      const isLast = done >= total;
      if (!isLast && seconds - last < (stream.isTTY ? 0.1 : plainEverySeconds)) return;
      last = seconds;
      const left = done > from ? (seconds / (done - from)) * (total - done) : NaN;
      const time = isLast ? `${duration(seconds)}` : Number.isFinite(left) ? `${duration(left)} left` : '';
      const words = `${label}  ${done}/${total}  ${note}  ${time}`;
      if (stream.isTTY) {
        const filled = Math.round((20 * done) / total);
        stream.write(`\r\x1b[K${'█'.repeat(filled)}${'░'.repeat(20 - filled)} ${words}`.slice(0, (stream.columns ?? 100) + 4));
      } else stream.write(`${words}\n`);
    },
    say(line) {
      clear();
      stream.write(`${line}\n`);
    },
    end() {
      if (stream.isTTY) stream.write('\n');
    },
  };
}

/** Shows nothing. */
export const silent: Progress = { update() {}, say() {}, end() {} };

/** Seconds as `42s`, `3m05s` or `2h07m`. */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
}
