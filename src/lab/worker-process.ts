import { work, type WorkerOrder } from './worker.js';

// A worker that its driver started. When the driver dies, the channel closes and the worker stops within the step at hand.
const order = JSON.parse(process.argv[2]) as WorkerOrder;
const controller = new AbortController();
process.on('disconnect', () => process.exit(4));
process.on('SIGTERM', () => controller.abort(new Error('Told to stop.')));

work(order, controller.signal).then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error((error as Error).stack ?? String(error));
    process.exit(controller.signal.aborted ? 4 : 1);
  },
);
