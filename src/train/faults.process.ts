import { useBackend } from '../core/backend.js';
import { trainFourStages } from './four-stages.js';

/** The process that fault tests kill: `node faults.process.js ROOT [key=value…]`. */
const [root, ...changes] = process.argv.slice(2);
await useBackend();
await trainFourStages(root, changes).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
process.exit(0);
