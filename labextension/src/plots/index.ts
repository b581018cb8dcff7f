export * from './contract';
export { attach, type IAttached } from './attach';
export { Emitter } from './event';
export { livePlots } from './live';
export { Slowest, type ISlowestOptions } from './slowest';
