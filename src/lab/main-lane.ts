import { runLane } from './lanes.js';
import { mainTasks } from './main-tasks.js';

// A process that runs one part of the main job.
void runLane(mainTasks);
