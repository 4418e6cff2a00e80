import { outOfTime, work, type WorkerOrder } from './worker.js';

// A worker that its driver started. When the driver dies, the channel closes and the worker stops within the step at hand.
const order = JSON.parse(process.argv[2]) as WorkerOrder;
const controller = new AbortController();
process.on('disconnect', () => process.exit(4));
process.on('SIGTERM', () => controller.abort(new Error('Told to stop.')));
// The clock is asked and no signal waited for: batch systems differ in which they send, and when.
let isOutOfTime = false;
if (order.seconds !== undefined) {
  const timer = setTimeout(() => {
    isOutOfTime = true;
    controller.abort(new Error(`${order.seconds} s are over; a checkpoint was made where a training was under way.`));
  }, 1000 * order.seconds);
  timer.unref();
}

work(order, controller.signal).then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error((error as Error).stack ?? String(error));
    process.exit(isOutOfTime ? outOfTime : controller.signal.aborted ? 4 : 1);
  },
);
