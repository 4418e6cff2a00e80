import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Version of the TypeScript that cells are checked with, without loading it. */
export function typescriptVersion(): string {
  const requireTslab = createRequire(createRequire(import.meta.url).resolve('tslab/dist/converter.js'));
  return (JSON.parse(readFileSync(requireTslab.resolve('@tslab/typescript-for-tslab/package.json'), 'utf8')) as { version: string }).version;
}
