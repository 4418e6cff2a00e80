import { useBackend } from '../core/backend.js';
import { trainStage, type TrainStageOptions } from './train-stage.js';

/** The process that tests kill while it trains a stage: `node stage.process.js OPTIONS`, the options of `trainStage` as JSON. */
await useBackend();
await trainStage(JSON.parse(process.argv[2]) as TrainStageOptions);
process.exit(0);
