import process from 'node:process';
import { siblingModule } from './start-worker.js';

/** What front ends call the kernel, and the kernelspec's folder. */
export const kernelName = 'dreamllm';
export const displayName = 'DreamLLM (TypeScript)';

/** What front ends and converters are told of the language of cells. */
export const languageInfo = { name: 'typescript', file_extension: '.ts', mimetype: 'text/typescript', pygments_lexer: 'typescript' };

/**
 * The command that starts the kernel, with absolute paths, so that it works from any folder and needs no PATH. Jupyter
 * puts the connection file's path where `{connection_file}` stands.
 */
export function kernelCommand(connectionFile = '{connection_file}'): string[] {
  const script = siblingModule(import.meta.url, './main');
  const loader = script.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : [];
  // An interrupt may cut through Node's own frames. With its checks on, Node would end the process at the next callback.
  return [process.execPath, '--no-force-async-hooks-checks', '--no-warnings', ...loader, script, '--connection-file', connectionFile];
}
