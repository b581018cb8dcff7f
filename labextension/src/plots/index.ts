export * from './contract';
export { attach, type IAttached } from './attach';
export { Emitter } from './emitter';
export { type IDocked, ListDock } from './listDock';
export { livePlots } from './livePlots';
export { LATENCY_SCALES, type LatencyScale, SharedScales } from './valueScale';
export { Slowest, type ISlowestOptions } from './slowest';
