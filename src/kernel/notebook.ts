/**
 * What cells of a notebook have at hand: showing values, progress, live charts, questions to the reader, runs. Outside of a
 * notebook the same calls print text, so a cell's code runs as a script too.
 */
export { clearOutput, display, html, latex, md, svg, type Display, type Markup } from './display/display.js';
export { ask } from './display/ask.js';
export { progress, type Progress, type ProgressOptions } from './display/progress.js';
export { liveChart, type LiveChart } from './display/live-chart.js';
export { attachRun, startRun, type AttachedRun, type RunEvent } from './runs.js';
